"""The ground floor's rule for what has ended: failed, timed out, expired, cancelled, or without its output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from jobs.evaluator.places import Place, retry_call
from jobs.evaluator.rules import Finding, Units
from jobs.models import Job, ProblemType
from jobs.queue.handlers import kinds_with_output
from jobs.statements import run

MESSAGE_CHARS = 500
CODE_CHARS = 100
INLINE = '"$removed"'  # what stands in a result where base64 was


def find_bad_outcomes(units: Units) -> Iterator[Finding]:
    """Units that have not made what they were to make."""
    name = "find_bad_jobs" if units.model is Job else "find_bad_workflows"
    for row in run(name, {"ids": list(units.ids), "with_output": kinds_with_output()}):
        problem = problem_of(row)
        missing, what_to_do = WORDS[problem](row)
        yield Finding(
            unit_id=row.id,
            problem_type=problem,
            missing=missing,
            where=Place(row).facts | _error(row),
            since=row.ended_at,
            what_to_do=what_to_do,
        )


def problem_of(row: Any) -> ProblemType:
    """What went wrong with an ended unit: a row of find_bad_jobs.sql or find_bad_workflows.sql."""
    if row.status == Job.Status.COMPLETED:
        return ProblemType.MISSING_OUTPUT
    if row.status == Job.Status.CANCELLED:
        return ProblemType.CANCELLED
    code = _said(row)["code"]
    if code == "timed_out":
        return ProblemType.TIMED_OUT
    if code == "expired" and _was_not_begun_in_time(row):
        return ProblemType.EXPIRED
    return ProblemType.WORKER_FAILED


def _has_overrun(row: Any) -> bool:
    """Whether it was the platform that ended the attempt: a worker may have time limits of its own."""
    return bool(row.started_at) and (row.ended_at - row.started_at).total_seconds() >= row.timeout_seconds


def _was_not_begun_in_time(row: Any) -> bool:
    """So it was where no attempt ended the job: none was begun, or it was queued again after the last."""
    is_over = bool(row.expires_at) and row.expires_at <= row.ended_at
    return is_over and (row.started_at is None or row.run_at > row.started_at)


def _said(row: Any) -> dict[str, str]:
    """The code and the message of the error, whatever is stored."""
    error = row.error if isinstance(row.error, dict) else {"message": row.error or ""}
    return {
        "code": str(error.get("code") or "unknown")[:CODE_CHARS],
        "message": str(error.get("message") or "")[:MESSAGE_CHARS],
    }


def _error(row: Any) -> dict[str, Any]:
    return {"error": _said(row)} if row.error and row.status != Job.Status.COMPLETED else {}


def _failed(row: Any) -> tuple[str, list[str]]:
    code, message = _said(row).values()
    where = Place(row)
    advice = ADVICE.get(
        code, f"Read the log of {where.worker} for the trace {row.trace_id} and mend the cause."
    )
    return f"{where.what} failed {where.in_attempt}: {code}: {message}", [advice, retry_call(row)]


def _timed_out(row: Any) -> tuple[str, list[str]]:
    where = Place(row)
    if not _has_overrun(row):
        return _failed(row)
    return f"{where.what} took longer than its {row.timeout_seconds} s {where.in_attempt}.", [
        f"Find out in the log of {where.worker} what it was at, or submit it with a larger timeout_seconds.",
        retry_call(row),
    ]


def _expired(row: Any) -> tuple[str, list[str]]:
    where = Place(row)
    which = f"attempt {row.attempt + 1} of {where.what_small}" if row.attempt else where.what_small
    return f"Nobody began {which} before {row.expires_at:%Y-%m-%d %H:%M:%S} UTC.", [
        f"Start {where.who_runs_it}, or give it more time by expires_in_seconds.",
        retry_call(row),
    ]


def _cancelled(row: Any) -> tuple[str, list[str]]:
    message = _said(row)["message"]
    missing = message or "It was cancelled."
    if row.cancelled_by and row.cancelled_by not in message:
        missing = f"Cancelled by {row.cancelled_by}." + (
            f" Its worker's last words: {message}" if message else ""
        )
    again = "submit it again" if row.workflow_id else "retry it"
    return missing, [f"Nothing, if that was meant; else {again}."]


def _without_output(row: Any) -> tuple[str, list[str]]:
    where = Place(row)
    if row.workflow_id is None and not (row.result and INLINE in row.result):
        return f"{where.what} completed, but its result holds nothing.", [
            f"Mend the handler of {row.kind}: it declares an output."
        ]
    if row.result and INLINE in row.result:
        return f"{where.what} gave its output inline as base64, which is not kept.", [
            "Have the worker store the file by PUT /api/jobs/ID/artifacts/NAME and give the URL as its result.",
        ]
    return (
        f"It completed, but the result of {where.what_small} names no output: there is no http(s) URL in it.",
        [
            f"Have {where.worker} give the URL of what it made as its result.",
            "Then submit the request again: a completed workflow is not run again.",
        ],
    )


WORDS: dict[ProblemType, Callable[[Any], tuple[str, list[str]]]] = {
    ProblemType.WORKER_FAILED: _failed,
    ProblemType.TIMED_OUT: _timed_out,
    ProblemType.EXPIRED: _expired,
    ProblemType.CANCELLED: _cancelled,
    ProblemType.MISSING_OUTPUT: _without_output,
}
# What to do about errors of the platform's own, by code.
ADVICE = {
    "poison": "Each attempt took its worker with it: look at the memory and the crash log of its host first.",
    "worker_lost": "Its worker went away: see whether its host is up.",
    "missing_input": "A step before it left out what it needs: mend that worker or the collection.",
    "finish_failed": "Its outcome could not be stored: the platform's log of that time says why.",
    "unknown_kind": "No running app registers its kind: deploy the handler.",
}
