"""How an attempt ended, and whether its job is tried again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from jobs.hygiene.sanitizer import sanitize_text
from jobs.models import Job
from jobs.queue.backoff import REMOTE_POLICY, RetryPolicy
from jobs.queue.claim import Lease
from jobs.queue.handlers import find_handler
from jobs.rollups.errors import digest_of

MESSAGE_MAX_CHARS = 10_000
TRACEBACK_MAX_CHARS = 8_000
CUT = " … (cut)"
# jsonb keeps neither a NUL nor half of a surrogate pair.
UNSTORABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one attempt ended.

    `status` is completed, failed or cancelled, or queued for an attempt that failed and is tried again after
    `delay_seconds`. `was_lost` marks an attempt whose worker went away: the job runs alone from then on.
    """

    lease: Lease
    status: str
    result: Any = None
    error: dict[str, Any] | None = None
    delay_seconds: float = 0.0
    was_lost: bool = False


def make_error(code: str, message: str, *, traceback: str = "") -> dict[str, Any]:
    """The error of an attempt as it is stored: a stable code, a sentence, and where it happened.

    Both texts are whatever a handler or a worker says: base64 goes first, so that half of it is not left, and
    what can't be stored becomes U+FFFD, or an attempt that may be tried again would end its job for want of a
    place for its error.
    """
    message = sanitize_text(message)
    if len(message) > MESSAGE_MAX_CHARS:
        message = message[: MESSAGE_MAX_CHARS - len(CUT)] + CUT
    error = {"code": code, "message": UNSTORABLE.sub("\ufffd", message)}
    if traceback:
        error["traceback"] = UNSTORABLE.sub("\ufffd", sanitize_text(traceback)[-TRACEBACK_MAX_CHARS:])
    return error


def code_and_message(error: Any) -> dict[str, str] | None:
    """What may be said of a stored error, without its traceback, whatever has been stored in its place."""
    if not error:
        return None
    known = error if isinstance(error, dict) else {"message": error}
    return {name: _as_text(known.get(name)) for name in ("code", "message")}


def digest_of_error(error: Any) -> str | None:
    """What a stored error has in common with others of its cause; None where there is none."""
    known = code_and_message(error)
    return digest_of(known["code"], known["message"]) if known else None


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def policy_of(job: Any) -> RetryPolicy:
    """How `job` (anything with a `kind` and a `retry_policy`) is retried."""
    handler = find_handler(job.kind) if job.kind else None
    policy = handler.retry if handler else REMOTE_POLICY
    return policy.overridden_by(job.retry_policy)


def failed_or_retried(
    job: Any,
    lease: Lease,
    error: dict[str, Any],
    *,
    policy: RetryPolicy,
    is_retryable: bool = True,
    was_lost: bool = False,
) -> Outcome:
    """The outcome of a failed attempt of `job` (anything with `attempt` and `max_attempts`)."""
    if is_retryable and job.attempt < job.max_attempts:
        delay = policy.delay_after(job.attempt)
        return Outcome(
            lease=lease, status=Job.Status.QUEUED, error=error, delay_seconds=delay, was_lost=was_lost
        )
    return Outcome(lease=lease, status=Job.Status.FAILED, error=error, was_lost=was_lost)
