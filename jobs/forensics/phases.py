"""Where the time of a workflow went: in which phase it was when, and when nothing happened. Pure."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from jobs.forensics.moments import Moment

# Phases, one at a time, and what is waited for in each.
QUEUED = "queued"  # somebody to take the first step of a run
RUNNING = "running"  # an attempt
RETRYING = "retrying"  # another attempt after one that failed
BETWEEN_STEPS = "between_steps"  # somebody to take the next step
STOPPED = "stopped"  # a retry, after a run that failed
TELLING = "telling"  # the user to know
OVER = "over"
COUNTED = (QUEUED, RUNNING, RETRYING, BETWEEN_STEPS, STOPPED, TELLING)

SPREAD = ("log", "progress")  # moments that stand for many, over the time they took
OF_ATTEMPTS = ("log", "progress", "waiting")  # moments that show that an attempt was still running
CALLS = ("receipt", "delivery_attempted")
GAP_MIN = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A time in one phase."""

    phase: str
    begin: datetime
    end: datetime
    awaited: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A time in which nothing happened, between two titles, and what was awaited."""

    begin: datetime
    end: datetime
    after: str
    before: str
    awaited: str

    @property
    def ms(self) -> int:
        return _millis(self.end - self.begin)


def with_waits(moments: Iterable[Moment]) -> list[Moment]:
    """Each attempt with how long its job had waited for it: since it was queued, or since the attempt before."""
    since: datetime | None = None
    answer = []
    for moment in moments:
        if moment.type in ("requested", "queued", "attempt_ended", "retried"):
            since = moment.at
        elif moment.type == "attempt_started":
            if since is not None:
                moment = replace(moment, data={**moment.data, "waited_ms": _millis(moment.at - since)})
            since = None
        answer.append(moment)
    return answer


def find_told_at(moments: Sequence[Moment], run: int, *, by_delivery: bool) -> datetime | None:
    """When the end of a run was told, by what is still known of it; None where its end is not among the moments.

    A word of the user's app tells it, `by_delivery` also who takes its webhook. Where that is forgotten nobody was
    told later than the last call that is known.
    """
    ends = [place for place, each in enumerate(moments) if each.type == "run_ended" and each.attempt == run]
    if not ends:
        return None
    after = moments[ends[-1] :]
    for moment in after:
        if moment.type == "user_notified" or (by_delivery and _is_taken(moment, run)):
            return moment.at
    return max(moment.at for moment in after if moment.type in ("run_ended", *CALLS))


def _is_taken(moment: Moment, run: int) -> bool:
    of = moment.data
    return moment.type == "delivery_attempted" and of.get("outcome") == "delivered" and of.get("run") == run


def find_spans(
    moments: Sequence[Moment],
    *,
    since: datetime,
    now: datetime,
    has_ended: bool,
    told_until: datetime | None,
) -> list[Span]:
    """The phases from the request until now, without those that took no time.

    `moments` are in order. A run that failed is `stopped` until it goes on; after the end of the last one its user is
    being told until `told_until`, unless nobody is to be.
    """
    last_end = next((moment for moment in reversed(moments) if moment.type == "run_ended"), None)
    walk = _Walk(since=since, now=now)
    for moment in _with_ends(moments):
        is_over = has_ended and moment is last_end
        if is_over and told_until is not None:
            walk.go_on(moment.at, TELLING, "its user to be told")
            walk.go_on(told_until, OVER, "")
        elif is_over:
            walk.go_on(moment.at, OVER, "")
        else:
            walk.take(moment)
    walk.go_on(now, OVER, "")
    return walk.spans


def _with_ends(moments: Sequence[Moment]) -> Iterator[Moment]:
    """And for each attempt of which no end is known one at the last that is known of it."""
    ended = {(moment.job_id, moment.attempt) for moment in moments if moment.type == "attempt_ended"}
    last: dict[tuple[UUID | None, int | None], Moment] = {}
    for moment in moments:
        key = (moment.job_id, moment.attempt)
        is_begun = moment.type == "attempt_started" or (moment.type in OF_ATTEMPTS and key in last)
        if is_begun and key not in ended:
            last[key] = moment
    for moment in moments:
        yield moment
        if last.get((moment.job_id, moment.attempt)) is moment:
            yield replace(moment, type="attempt_ended", data={"outcome": "unknown"})


class _Walk:
    """Goes from phase to phase and notes how long each took; what clocks disagree about takes no time."""

    def __init__(self, *, since: datetime, now: datetime) -> None:
        self.spans: list[Span] = []
        self._begin, self._now = since, now
        self._phase, self._awaited = QUEUED, "the first step to be taken"
        self._live: Moment | None = None  # the start of the attempt that runs, also after the end of its run

    def go_on(self, at: datetime, phase: str, awaited: str) -> None:
        end = min(at, self._now)
        if end > self._begin:
            span = Span(phase=self._phase, begin=self._begin, end=end, awaited=self._awaited)
            self.spans.append(span)
            self._begin = end
        self._phase, self._awaited = phase, awaited

    def take(self, moment: Moment) -> None:
        """The phase that a moment begins, if it begins any; nothing happens to a workflow that is over."""
        following = None if self._phase == OVER else self._after(moment)
        if moment.type in ("attempt_started", "attempt_ended"):
            self._live = moment if moment.type == "attempt_started" else None
        if following:
            self.go_on(moment.at, *following)

    def _after(self, moment: Moment) -> tuple[str, str] | None:
        step = moment.step or "the job"
        match moment.type:
            case "attempt_started":
                return _running(moment)
            case "attempt_ended" if self._phase == STOPPED:
                return None  # it outlasted its run, of which it decides nothing any more
            case "attempt_ended" if moment.data.get("outcome") == "completed":
                return BETWEEN_STEPS, "the next step to be taken"
            case "attempt_ended":
                return RETRYING, f"the next attempt of {step}"
            case "run_ended":
                return STOPPED, "somebody to retry it"
            case "retried" if self._live:
                return _running(self._live)
            case "retried":
                return QUEUED, f"{moment.step or 'the first step'} to be taken"
        return None


def _running(start: Moment) -> tuple[str, str]:
    worker = start.data.get("worker") or "its worker"
    return RUNNING, f"{worker} at attempt {start.attempt} of {start.step or 'the job'}"


def sum_up(spans: Sequence[Span]) -> dict[str, int]:
    """Milliseconds in each phase, as `<phase>_ms`; what is rounded off is not lost to their sum."""
    sums = dict.fromkeys(COUNTED, 0)
    for span in spans:
        if span.phase in sums:
            origin = spans[0].begin
            sums[span.phase] += _millis(span.end - origin) - _millis(span.begin - origin)
    return {f"{phase}_ms": length for phase, length in sums.items()}


def find_gaps(moments: Sequence[Moment], spans: Sequence[Span]) -> list[Gap]:
    """The times in which nothing happened, the longest first; none below a second."""
    gaps: list[Gap] = []
    by_begin = sorted(moments, key=_begin_of)
    latest = by_begin[0] if by_begin else None
    for moment in by_begin:
        assert latest is not None
        begin = _begin_of(moment)
        if begin - latest.at >= GAP_MIN:
            awaited = _awaited_at(latest.at, spans)
            gap = Gap(begin=latest.at, end=begin, after=latest.title, before=moment.title, awaited=awaited)
            gaps.append(gap)
        if moment.at >= latest.at:
            latest = moment
    return sorted(gaps, key=lambda gap: gap.begin - gap.end)


def _begin_of(moment: Moment) -> datetime:
    """When it began to happen: log lines over a minute leave no gap of a minute."""
    if moment.type in SPREAD and moment.duration_ms:
        return moment.at - timedelta(milliseconds=moment.duration_ms)
    return moment.at


def _awaited_at(at: datetime, spans: Sequence[Span]) -> str:
    place = bisect.bisect_right(spans, at, key=lambda span: span.begin) - 1
    return spans[place].awaited if place >= 0 else ""


def _millis(length: timedelta) -> int:
    return max(int(length / timedelta(milliseconds=1)), 0)
