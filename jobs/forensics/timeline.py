"""One timeline of a workflow, or of a job outside workflows, from the request to the evaluation.

Each floor knows some of what happened and registers a source of it; what they tell is put into one order here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection

from jobs.forensics.moments import LEFT_OUT, Moment, millis, run_ended, step_ended
from jobs.forensics.phases import Gap, Span, find_gaps, find_spans, find_told_at, sum_up, with_waits
from jobs.forensics.sources import is_told
from jobs.models import Job, Workflow
from jobs.statements import batch, run

MOMENTS_MAX = 1_000
FIRST_KEPT = 250  # of too many moments the first are kept, and the last

# Where two things happened at the same time, what caused the other comes first. `queued` to `step_ended` are ordered
# step by step and attempt by attempt.
CAUSES_OF_STEPS = (
    "queued",
    "attempt_started",
    "progress",
    "log",
    "cancel_requested",
    "cancelled",
    "attempt_ended",
    "step_ended",
    "attempt_attested",
)
CAUSES_AFTER_STEPS = (
    "submitted",
    "reviewed",
    "transaction_signed",
    "transaction_ended",
    "run_ended",
    "publishing_skipped",
    "submission_ended",
    "run_attested",
    "retry_completed",
    "retried",
    "renotified",
    "message_written",
    "delivery_attempted",
    "delivery_failed",
    "delivery_held",
    "reminder_due",
    "receipt",
    "upstream_ended",
    "user_notified",
    "evaluated",
    "attestations_expired",
)
STILL_TO_COME = ("waiting", "delivery_waits")
_STEP_RANK = {type_: rank for rank, type_ in enumerate(CAUSES_OF_STEPS)}
_LATER_RANK = {type_: rank for rank, type_ in enumerate(CAUSES_AFTER_STEPS)}
# What two floors may tell of: the row of a job knows its last attempt alone, and its attestations are deleted in time.
_TOLD_TWICE = ("attempt_started", "attempt_ended", "run_ended")
_ENDS_OF_JOB = ("attempt_ended", "step_ended")
_SAME = timedelta(seconds=1)


TimelineSource = Callable[[Workflow], Iterable[Moment]]
JobTimelineSource = Callable[[Job], Iterable[Moment]]
sources: list[TimelineSource] = []
job_sources: list[JobTimelineSource] = []


def timeline_source(function: TimelineSource) -> TimelineSource:
    """Register a source; a second time changes nothing.

    It issues as many statements for one job or delivery as for many, and says with left_out() what it leaves out.
    """
    if function not in sources:
        sources.append(function)
    return function


def job_timeline_source(function: JobTimelineSource) -> JobTimelineSource:
    """Register a source that tells of jobs outside workflows, by the same rules."""
    if function not in job_sources:
        job_sources.append(function)
    return function


@dataclass(frozen=True, slots=True, kw_only=True)
class Forensics:
    """What happened to a workflow or job, in order, and where the time went."""

    unit: Workflow | Job
    asked_at: datetime
    moments: Sequence[Moment]
    durations: dict[str, int]  # milliseconds by phase
    gaps: Sequence[Gap]
    left_out: dict[str, int]  # how many of what are not shown

    @property
    def started_at(self) -> datetime:
        return self.unit.created_at

    @property
    def ended_at(self) -> datetime | None:
        return self.unit.ended_at

    @property
    def duration_ms(self) -> int:
        """From the request to the end, or so far."""
        return millis(self.started_at, self.ended_at or self.asked_at)


def forensics_of(workflow: Workflow, *, hidden: Collection[str] = ()) -> Forensics:
    """Everything that is known of a workflow, without the moments of the types `hidden`.

    At most MOMENTS_MAX moments; log lines and progress are summed up per job and attempt. The number of statements
    does not grow with what happened.
    """
    told = [moment for source in sources for moment in source(workflow)]
    of_events = {"workflow": workflow.pk}
    ordered, missing = _put_together(told, lambda starts: run("sum_events", {**of_events, "starts": starts}))
    now = _now()  # after all that has been read
    # Where the time went is the same for all who look at it.
    spans = find_spans(
        ordered,
        since=workflow.created_at,
        now=now,
        has_ended=workflow.ended_at is not None,
        told_until=_told_until(workflow, ordered, now),
    )
    return _forensics(workflow, ordered, spans, missing, now, hidden)


def forensics_of_job(job: Job, *, hidden: Collection[str] = ()) -> Forensics:
    """The same of a job outside workflows: of itself it is the only step."""
    told = [moment for source in job_sources for moment in source(job)]
    of_events = {"job": job.pk}
    ordered, missing = _put_together(
        told, lambda starts: run("sum_job_events", {**of_events, "starts": starts})
    )
    now = _now()
    spans = find_spans(
        _with_runs(job, ordered),
        since=job.created_at,
        now=now,
        has_ended=job.is_final,
        told_until=None,
    )
    return _forensics(job, ordered, spans, missing, now, hidden)


def _with_runs(job: Job, moments: Sequence[Moment]) -> list[Moment]:
    """The moments with the ends of what would be runs of a workflow: before each retry, and at the end of the job."""
    answer: list[Moment] = []
    for moment in moments:
        if moment.type == "retried":
            end = next((each.at for each in reversed(answer) if each.type in _ENDS_OF_JOB), moment.at)
            answer.append(run_ended(1, end, Job.Status.FAILED, None))
            answer.sort(key=lambda each: each.at)
        answer.append(moment)
    if job.ended_at:
        answer.append(run_ended(1, job.ended_at, job.status, None))
    return sorted(answer, key=lambda each: each.at)


def _put_together(
    told: Sequence[Moment], sum_up_events: Callable[[Any], list[Any]]
) -> tuple[list[Moment], Counter[str]]:
    """What the sources tell, each once and in order, with the sums of logs; and how many of what they left out."""
    known = _each_once([moment for moment in told if moment.type != LEFT_OUT])
    missing = _missing(told, known)
    return with_waits(_in_order(_with_steps(known + _sums(known, sum_up_events)))), missing


def _forensics(
    unit: Workflow | Job,
    ordered: Sequence[Moment],
    spans: Sequence[Span],
    missing: Counter[str],
    now: datetime,
    hidden: Collection[str],
) -> Forensics:
    seen = [moment for moment in ordered if moment.type not in hidden]
    shown = _bounded(seen)
    missing["moments"] += len(seen) - len(shown)
    return Forensics(
        unit=unit,
        asked_at=now,
        moments=shown,
        durations=sum_up(spans),
        gaps=find_gaps(seen, spans),
        left_out={what: count for what, count in missing.items() if count},
    )


def _now() -> datetime:
    """The database's clock, by which everything is timed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        now: datetime = cursor.fetchone()[0]
        return now


def _told_until(workflow: Workflow, moments: Sequence[Moment], now: datetime) -> datetime | None:
    """Until when somebody was being told of the end, which is now where nobody has been; None with nobody to tell."""
    if workflow.notification_status == Workflow.NotificationStatus.NONE:
        return None
    if is_told(workflow):
        return find_told_at(moments, workflow.attempt, by_delivery=not workflow.user_id)
    return now


def _each_once(moments: Iterable[Moment]) -> list[Moment]:
    """Of what two floors tell of, what the lower one says; but not where it has taken a later end for an attempt's.

    That was the end of the step, which had waited for another attempt.
    """
    once: dict[tuple[str, UUID | None, int | None], Moment] = {}
    others: list[Moment] = []
    for moment in moments:
        key = (moment.type, moment.job_id, moment.attempt)
        if moment.type not in _TOLD_TWICE:
            others.append(moment)
        elif key not in once:
            once[key] = moment
        elif _ended_sooner(moment, once[key]):
            others.append(_end_of_step(once[key]))
            once[key] = moment
    return [*once.values(), *others]


def _ended_sooner(moment: Moment, known: Moment) -> bool:
    """Whether an attempt had ended before what is taken for its end, and not before it began, as odd clocks say."""
    if moment.type != "attempt_ended":
        return False
    took = known.duration_ms
    is_possible = took is None or moment.at >= known.at - timedelta(
        milliseconds=took + 1
    )  # it was rounded down
    return is_possible and moment.at < known.at - _SAME


def _end_of_step(end: Moment) -> Moment:
    assert end.job_id
    return step_ended(end.job_id, end.at, status=end.data["outcome"], is_begun=True, error=end.data["error"])


def _missing(told: Iterable[Moment], known: Iterable[Moment]) -> Counter[str]:
    """How many of what the sources do not tell of; an attempt that is left out with its attestation counts as that."""
    notes = [moment.data for moment in told if moment.type == LEFT_OUT]
    missing = Counter[str]()
    for note in notes:
        missing[note["what"]] += note["count"]
    missing["attempts"] += max(_unknown_attempts(known) - sum(note["attempts"] for note in notes), 0)
    return missing


def _unknown_attempts(moments: Iterable[Moment]) -> int:
    """Earlier attempts of which nothing is stored: not attested, or their attestations have expired."""
    known: dict[UUID, set[int]] = {}
    for moment in moments:
        if moment.type == "attempt_started" and moment.job_id and moment.attempt:
            known.setdefault(moment.job_id, set()).add(moment.attempt)
    return sum(max(attempts) - len(attempts) for attempts in known.values())


def _sums(moments: Iterable[Moment], sum_up_events: Callable[[Any], list[Any]]) -> list[Moment]:
    """A moment per job and attempt for its log, and one for its progress, at the time of the last line."""
    starts: dict[UUID, dict[int, datetime]] = {}
    for moment in moments:
        if moment.type == "attempt_started" and moment.job_id and moment.attempt:
            starts.setdefault(moment.job_id, {})[moment.attempt] = moment.at
    attempts = {job_id: sorted(known) for job_id, known in starts.items()}
    rows = sum_up_events(
        batch(
            [
                {"job_id": job_id, "starts": [known[number].isoformat() for number in sorted(known)]}
                for job_id, known in starts.items()
            ]
        )
    )
    return [_sum_of(row, attempts.get(row.job_id, [])) for row in rows]


def _sum_of(row: Any, attempts: Sequence[int]) -> Moment:
    if row.type == "log":
        title = f"{row.lines:,} {'line' if row.lines == 1 else 'lines'} of its log."
    else:
        title = f"{row.number:,} {'report' if row.number == 1 else 'reports'} of progress."
    return Moment(
        at=row.last_at,
        type=row.type,
        title=title,
        duration_ms=millis(row.first_at, row.last_at),
        job_id=row.job_id,
        attempt=attempts[row.place - 1] if row.place else None,
        data={"count": row.number, "first_at": row.first_at, "last_at": row.last_at}
        | ({"lines": row.lines} if row.type == "log" else {}),
    )


def _with_steps(moments: Sequence[Moment]) -> list[Moment]:
    """Each with the name of its step, which only some sources know."""
    names = {moment.job_id: moment.step for moment in moments if moment.job_id and moment.step}
    return [
        moment if moment.step or moment.job_id not in names else replace(moment, step=names[moment.job_id])
        for moment in moments
    ]


def _in_order(moments: Sequence[Moment]) -> list[Moment]:
    """By time; at the same time by cause. Steps come in the order in which the sources name them."""
    places: dict[UUID | None, int] = {}
    for moment in moments:
        if moment.type == "queued":
            places.setdefault(moment.job_id, len(places))

    def key(moment: Moment) -> tuple[datetime, int, int, int, int]:
        if moment.type in _STEP_RANK:
            place = places.get(moment.job_id, len(places))
            return moment.at, 1, place, moment.attempt or 0, _STEP_RANK[moment.type]
        group = 0 if moment.type == "requested" else 3 if moment.type in STILL_TO_COME else 2
        return moment.at, group, 0, 0, _LATER_RANK.get(moment.type, len(_LATER_RANK))

    return sorted(moments, key=key)


def _bounded(moments: list[Moment]) -> list[Moment]:
    if len(moments) <= MOMENTS_MAX:
        return moments
    return moments[:FIRST_KEPT] + moments[FIRST_KEPT - MOMENTS_MAX :]
