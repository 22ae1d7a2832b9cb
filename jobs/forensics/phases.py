"""Where the time of a workflow went: in which phase it was when, and when nothing happened. Pure."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

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


def find_spans(moments: Sequence[Moment], now: datetime, *, is_to_be_told: bool) -> list[Span]:
    """The phases from the first moment until now, without those that took no time.

    `moments` are in order. A run that failed is `stopped` where another followed; after the last one its user is
    being told, if anybody is to be.
    """
    if not moments:
        return []
    last_end = max((place for place, each in enumerate(moments) if each.type == "run_ended"), default=-1)
    begin, phase, awaited = moments[0].at, QUEUED, "the first step to be taken"
    spans = []
    for place, moment in enumerate(moments):
        is_last_end = place == last_end and not _goes_on(moments[place:])
        following = _phase_after(moment, phase, is_last_end=is_last_end, is_to_be_told=is_to_be_told)
        if following is None:
            continue
        if moment.at > begin:
            spans.append(Span(phase=phase, begin=begin, end=moment.at, awaited=awaited))
        begin, (phase, awaited) = moment.at, following
    if now > begin:
        spans.append(Span(phase=phase, begin=begin, end=now, awaited=awaited))
    return spans


def _goes_on(moments: Iterable[Moment]) -> bool:
    return any(moment.type in ("retried", "attempt_started") for moment in moments)


def _phase_after(
    moment: Moment, phase: str, *, is_last_end: bool, is_to_be_told: bool
) -> tuple[str, str] | None:
    """The phase that a moment begins, and what is awaited in it; None where it changes nothing."""
    step = moment.step or "the job"
    match moment.type:
        case "attempt_started":
            return (
                RUNNING,
                f"{moment.data.get('worker') or 'its worker'} at attempt {moment.attempt} of {step}",
            )
        case "attempt_ended" if moment.data.get("outcome") == "completed":
            return BETWEEN_STEPS, "the next step to be taken"
        case "attempt_ended":
            return RETRYING, f"the next attempt of {step}"
        case "run_ended" if not is_last_end:
            return STOPPED, "somebody to retry it"
        case "run_ended":
            return (TELLING, "its user to be told") if is_to_be_told else (OVER, "")
        case "retried":
            return QUEUED, f"{moment.step or 'the first step'} to be taken"
        case "user_notified" if phase == TELLING:
            return OVER, ""
    return None


def sum_up(spans: Iterable[Span]) -> dict[str, int]:
    """Milliseconds in each phase, as `<phase>_ms`."""
    sums = dict.fromkeys(COUNTED, timedelta(0))
    for span in spans:
        if span.phase in sums:
            sums[span.phase] += span.end - span.begin
    return {f"{phase}_ms": _millis(length) for phase, length in sums.items()}


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
    place = bisect.bisect_right([span.begin for span in spans], at) - 1
    return spans[place].awaited if place >= 0 else ""


def _millis(length: timedelta) -> int:
    return max(int(length / timedelta(milliseconds=1)), 0)
