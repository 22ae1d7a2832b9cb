"""The waterfall of a workflow or job: a row for each attempt, delivery and verdict on one axis of time. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from jobs.admin.displays import span
from jobs.admin.units.scale import Scale
from jobs.forensics.moments import Moment
from jobs.forensics.timeline import Forensics

ROWS_MAX = 80
# What an attempt or a delivery came to: the tone of its bar, its icon.
ENDS = {
    "completed": ("good", "check_circle"),
    "delivered": ("good", "check_circle"),
    "failed": ("bad", "error"),
    "cancelled": ("off", "cancel"),
    "unknown": ("warn", "question_mark"),
    "running": ("busy", "play_circle"),
    "waiting": ("soon", "schedule"),
}
POINTS = {
    "retried": ("Retried", "soon", "replay"),
    "user_notified": ("User told", "good", "how_to_reg"),
    "evaluated": ("Evaluated", "idle", "fact_check"),
}


@dataclass(frozen=True, slots=True)
class Span:
    """A time in a row, or a point where both ends are the same."""

    kind: str  # "queued" or a tone
    begin: datetime
    end: datetime
    says: str


@dataclass(slots=True)
class Row:
    """What is shown of one attempt, delivery or verdict."""

    label: str
    note: str
    outcome: str
    spans: list[Span] = field(default_factory=list)
    job_id: UUID | None = None
    is_first: bool = True  # of its group: an attempt that follows another of its job is not
    look: tuple[str, str] = ("idle", "circle")  # where there is no outcome


@dataclass(slots=True)
class _Attempt:
    number: int
    began_at: datetime | None = None
    waited: timedelta = timedelta()
    ended_at: datetime | None = None
    outcome: str = ""
    worker: str = ""
    error: str = ""


def waterfall_of(
    forensics: Forensics, *, url_of: Callable[[UUID], str], highlighted: UUID | None = None
) -> dict[str, Any]:
    """What templates/admin/parts/waterfall.html shows; `url_of` leads to the page of a job."""
    rows = list(_rows_of(forensics))
    shown = rows[:ROWS_MAX]
    spans = [each for row in shown for each in row.spans]
    busy = [(each.begin, each.end) for each in spans if each.kind != "queued" and each.end > each.begin]
    others = [at for each in spans for at in (each.begin, each.end)]
    scale = Scale(busy, others, begin=forensics.started_at)
    return {
        "rows": [_laid_out(row, scale, url_of, highlighted) for row in shown],
        "ticks": [{"left": f"{left:.2f}", "text": span(since)} for left, since in scale.ticks()],
        "breaks": [
            {"left": f"{each.left:.2f}", "width": f"{each.width:.2f}", "text": span(each.length)}
            for each in scale.breaks
        ],
        "left_out": len(rows) - len(shown),
    }


def _laid_out(
    row: Row, scale: Scale, url_of: Callable[[UUID], str], highlighted: UUID | None
) -> dict[str, Any]:
    tone, icon = ENDS.get(row.outcome, row.look)
    took = sum((each.end - each.begin for each in row.spans if each.kind != "queued"), timedelta())
    return {
        "label": row.label,
        "note": row.note,
        "url": url_of(row.job_id) if row.job_id and row.job_id != highlighted else "",
        "is_highlighted": highlighted is not None and row.job_id == highlighted,
        "is_first": row.is_first,
        "is_point": not row.outcome,
        "tone": tone,
        "icon": icon,
        "outcome": row.outcome,
        "took": span(took) if took else "",
        "bars": [_bar(each, scale) for each in row.spans],
    }


def _bar(each: Span, scale: Scale) -> dict[str, Any]:
    left, right = scale.place(each.begin), scale.place(each.end)
    return {
        "kind": each.kind,
        "left": f"{left:.2f}",
        "width": f"{right - left:.2f}",
        "is_point": each.begin == each.end,
        "is_late": left > 50,  # what is said of it opens to the left
        "says": each.says,
    }


def _rows_of(forensics: Forensics) -> Iterator[Row]:
    moments, now = forensics.moments, forensics.asked_at
    for job_id in dict.fromkeys(each.job_id for each in moments if each.type in _OF_STEPS and each.job_id):
        of_job = [each for each in moments if each.job_id == job_id]
        yield from _rows_of_job(job_id, of_job, now)
    yield from _rows_of_deliveries(moments, now)
    for type_, (label, tone, icon) in POINTS.items():
        points = [each for each in moments if each.type == type_]
        if points:
            spans = [Span(tone, each.at, each.at, f"{_clock(each.at)}: {each.title}") for each in points]
            often = f"{len(points)} times" if len(points) > 1 else ""
            yield Row(label, often, "", spans, look=(tone, icon))


_OF_STEPS = ("queued", "attempt_started", "attempt_ended")


def _rows_of_job(job_id: UUID, moments: Sequence[Moment], now: datetime) -> Iterator[Row]:
    """A row for each attempt, with how long it was waited for; one more for what is waited for, or never began."""
    name = next((each.step for each in moments if each.step), "") or "Job"
    attempts = _attempts_of(moments)
    for place, attempt in enumerate(attempts):
        note = f"attempt {attempt.number}" if len(attempts) > 1 or attempt.number > 1 else ""
        words = " · ".join(word for word in (note, attempt.worker) if word)
        yield Row(
            name if place == 0 else "",
            words,
            attempt.outcome or "running",
            list(_spans_of(attempt, now)),
            job_id,
            place == 0,
        )
    waits = next(
        (each for each in moments if each.type == "waiting" and each.data.get("status") == "queued"), None
    )
    ended = next((each for each in moments if each.type == "step_ended"), None)
    last = waits or ended
    if last is None:
        return
    since = [each.at for each in moments if each.type in ("queued", "attempt_ended", "retried")]
    begin = max((at for at in since if at <= last.at), default=last.at)
    outcome = "waiting" if waits else str(last.data.get("status", ""))
    says = f"{_range(begin, last.at)}: {last.title}"
    yield Row(
        "" if attempts else name,
        "waiting" if waits else "never begun again" if attempts else "never begun",
        outcome,
        [Span("queued", begin, last.at, says)],
        job_id,
        not attempts,
    )


def _attempts_of(moments: Sequence[Moment]) -> list[_Attempt]:
    attempts: dict[int, _Attempt] = {}
    for moment in moments:
        if moment.type not in ("attempt_started", "attempt_ended") or moment.attempt is None:
            continue
        attempt = attempts.setdefault(moment.attempt, _Attempt(moment.attempt))
        attempt.worker = attempt.worker or str(moment.data.get("worker") or "")
        if moment.type == "attempt_started":
            attempt.began_at = moment.at
            attempt.waited = timedelta(milliseconds=moment.data.get("waited_ms") or 0)
        else:
            attempt.ended_at, attempt.outcome = moment.at, str(moment.data.get("outcome") or "unknown")
            error = moment.data.get("error") or {}
            attempt.error = str(error.get("message") or error.get("code") or "")
    latest = max(attempts, default=0)
    for attempt in attempts.values():
        if not attempt.outcome and attempt.number < latest:
            attempt.outcome = "unknown"
    return [attempts[number] for number in sorted(attempts)]


def _spans_of(attempt: _Attempt, now: datetime) -> Iterator[Span]:
    tone, _ = ENDS.get(attempt.outcome or "running", ("idle", ""))
    began_at = attempt.began_at or attempt.ended_at
    if began_at is None:
        return
    if attempt.waited:
        since = began_at - attempt.waited
        yield Span("queued", since, began_at, f"Queued for {span(attempt.waited)}, {_range(since, began_at)}")
    end = attempt.ended_at or (now if not attempt.outcome else began_at)
    end = max(end, began_at)
    words = attempt.outcome or "running"
    error = f": {attempt.error}" if attempt.error else ""
    yield Span(
        tone,
        began_at,
        end,
        f"Attempt {attempt.number} {words} after {span(end - began_at)}, {_range(began_at, end)}{error}",
    )


def _rows_of_deliveries(moments: Sequence[Moment], now: datetime) -> Iterator[Row]:
    """A row for each delivery, with all its attempts and what it waits for."""
    rows: dict[str, Row] = {}
    for moment in moments:
        key = moment.data.get("delivery_id")
        if not key or moment.type not in _OF_DELIVERIES:
            continue
        of = moment.data
        row = rows.setdefault(key, Row(str(of.get("host", "")), str(of.get("message_type", "")), ""))
        if moment.type == "delivery_attempted":
            row.outcome = str(of.get("outcome", "unknown"))
            begin = moment.at - timedelta(milliseconds=moment.duration_ms or 0)
            tone, _ = ENDS.get(row.outcome, ("idle", ""))
            row.spans.append(Span(tone, begin, moment.at, f"{_range(begin, moment.at)}: {moment.title}"))
        elif moment.type == "delivery_waits":
            row.outcome = "waiting"
            begin = row.spans[-1].end if row.spans else moment.at
            row.spans.append(Span("queued", begin, max(moment.at, begin), f"{_clock(begin)}: {moment.title}"))
    return iter(row for row in rows.values() if row.spans)


_OF_DELIVERIES = ("delivery_attempted", "delivery_waits")


def _clock(at: datetime) -> str:
    return f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}"


def _range(begin: datetime, end: datetime) -> str:
    day = "" if begin.date() == end.date() else f"{end:%Y-%m-%d} "
    return f"{_clock(begin)} to {day}{_clock(end)} UTC"
