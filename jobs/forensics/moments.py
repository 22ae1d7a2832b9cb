"""A moment of a timeline, and how the floors tell of those that several of them know of. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

SOURCE_ROWS_MAX = 2_000  # what a source reads of one kind of record, the latest
TEXT_MAX = 500
TITLE_TEXT_MAX = 200  # of a message or a reason inside a title; `data` holds more of it
LEFT_OUT = "left_out"
_NEVER = datetime.min


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that happened: `type` for machines, `title` for people, `data` what else is known of it."""

    at: datetime
    type: str
    title: str
    duration_ms: int | None = None  # how long it had taken by then
    job_id: UUID | None = None
    step: str = ""
    attempt: int | None = None
    data: dict[str, Any] = field(default_factory=dict)


def millis(begin: datetime, end: datetime) -> int:
    """Milliseconds between two times; none where clocks disagree."""
    return max(int((end - begin) / timedelta(milliseconds=1)), 0)


def left_out(what: str, count: int, *, attempts: int = 0) -> Moment:
    """What a source says of the records that it does not tell of, and of how many attempts it knows by those."""
    return Moment(
        at=_NEVER, type=LEFT_OUT, title="", data={"what": what, "count": count, "attempts": attempts}
    )


def attempt_started(job_id: UUID, attempt: int, at: datetime, worker: str) -> Moment:
    """A worker has taken a job."""
    title = f"Attempt {attempt} began on {worker or 'a worker'}."
    data = {"worker": worker}
    return Moment(at=at, type="attempt_started", title=title, job_id=job_id, attempt=attempt, data=data)


def attempt_ended(
    job_id: UUID,
    attempt: int,
    at: datetime,
    *,
    began_at: datetime | None,
    outcome: str,
    worker: str,
    error: dict[str, str] | None,
) -> Moment:
    """An attempt has ended; its job may be tried again."""
    at = max(at, began_at) if began_at else at  # attestations know whole milliseconds
    return Moment(
        at=at,
        type="attempt_ended",
        title=f"Attempt {attempt} {outcome}{said(error)}.",
        duration_ms=millis(began_at, at) if began_at else None,
        job_id=job_id,
        attempt=attempt,
        data={"outcome": outcome, "worker": worker, "error": error},
    )


def step_ended(
    job_id: UUID, at: datetime, *, status: str, is_begun: bool, error: dict[str, str] | None
) -> Moment:
    """A job has ended while nobody was at it: before its first attempt, or where it waited for another."""
    return Moment(
        at=at,
        type="step_ended",
        title=f"The step {status} without {'another' if is_begun else 'an'} attempt{said(error)}.",
        job_id=job_id,
        data={"status": status, "error": error},
    )


def run_ended(run: int, at: datetime, status: str, error: dict[str, str] | None) -> Moment:
    """A run of the workflow has ended; `attempt` is the number of the run."""
    return Moment(
        at=at,
        type="run_ended",
        title=f"Run {run} {status}{said(error)}.",
        attempt=run,
        data={"status": status, "error": error},
    )


def error_of(error: Any) -> dict[str, str] | None:
    """As much of an error as a timeline shows, whatever is stored: its code and the beginning of its message."""
    if not isinstance(error, dict):
        return {"code": "", "message": short(error)} if error else None
    return {"code": short(error.get("code", "")), "message": short(error.get("message", ""))}


def said(error: dict[str, str] | None) -> str:
    """The end of a title: what an error says, without its full stop."""
    words = (error["message"] or error["code"]).rstrip(".") if error else ""
    return f": {short(words, TITLE_TEXT_MAX)}" if words else ""


def short(value: Any, most: int = TEXT_MAX) -> str:
    """The beginning of a text."""
    text = value if isinstance(value, str) else "" if value is None else str(value)
    return text if len(text) <= most else text[: most - 1] + "…"


def bounded(value: Any) -> Any:
    """A value as it is where it is small, else the beginning of it as a text: a client may have stored anything."""
    if isinstance(value, str):
        return short(value)
    if not isinstance(value, dict | list):
        return value
    text = json.dumps(value, ensure_ascii=False, default=str)
    return value if len(text) <= TEXT_MAX else short(text)
