"""Forgets what the ground floor has kept long enough: work that is over, its events, and what is kept beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, Min, OuterRef, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone

from jobs.hygiene.retention import (
    BATCH,
    Old,
    Retention,
    delete_rows,
    forget_in_batches,
    old_of,
    workflow_holds,
)
from jobs.ids import first_id_of
from jobs.models import (
    AuditEntry,
    BulkOperation,
    ErrorGroup,
    EvaluationRun,
    Event,
    IdempotencyKey,
    Job,
    Rollup,
    Worker,
    Workflow,
)
from jobs.models.evaluations import OutputCheck
from jobs.services.idempotency import KEEP_FOR

WORKERS_KEPT_FOR = timedelta(days=1)
ERRORS_KEPT_FOR = timedelta(days=30)
OPERATIONS_KEPT_FOR = timedelta(days=90)
FINAL = (Job.Status.COMPLETED, Job.Status.FAILED, Job.Status.CANCELLED)


def _job_days() -> timedelta:
    return timedelta(days=settings.JOB_RETENTION_DAYS)


def _event_days() -> timedelta:
    return timedelta(days=settings.EVENT_RETENTION_DAYS)


# Work. Its artifacts stay: they are its tenant's.


def _over_since(rows: QuerySet[Any], cutoff: datetime) -> QuerySet[Any]:
    """Those of these jobs or workflows that ended before `cutoff` and have been evaluated since."""
    ended = Coalesce("completed_at", "failed_at", "cancelled_at")
    # Ids tell their time: what ended before was made before, and the primary key finds it.
    rows = rows.filter(pk__lt=first_id_of(cutoff), status__in=FINAL, is_cleanup_evaluated=True)
    rows = rows.annotate(ended=ended)
    return rows.filter(ended__lt=cutoff)


def _old_jobs() -> QuerySet[Job]:
    return _over_since(Job.objects.filter(workflow=None), timezone.now() - _job_days())


def _over_workflows() -> QuerySet[Workflow]:
    return _over_since(Workflow.objects.all(), timezone.now() - _job_days())


def _old_workflows() -> QuerySet[Workflow]:
    # Of one that was cancelled a step may still run, to hear of it at its worker's next word.
    busy = Job.objects.filter(workflow=OuterRef("pk"), status__in=[Job.Status.QUEUED, Job.Status.RUNNING])
    free = _over_workflows().exclude(Exists(busy))
    for hold in workflow_holds:
        free = free.exclude(Exists(hold))
    return free


def find_old_jobs() -> Old:
    return old_of(_old_jobs(), "ended")


def forget_jobs() -> int:
    """Delete jobs outside workflows that are over; how many."""
    return forget_in_batches(_old_jobs())


def find_old_workflows() -> Old:
    return old_of(_old_workflows(), "ended")


def forget_workflows() -> int:
    """Delete workflows that are over, with their jobs and what was seen of their outputs; how many workflows."""
    count, over, old = 0, _over_workflows().order_by("pk"), _old_workflows()
    page = over
    while keys := _that_fit(page.values_list("pk", "total_steps")[:BATCH]):
        count += _forget_together(keys, old)
        page = over.filter(pk__gt=keys[-1])
    return count


def _that_fit(rows: Iterable[tuple[UUID, int]]) -> list[UUID]:
    """The first of these workflows that make a batch together with their jobs; at least one."""
    sizes = accumulate(
        ((key, steps + 1) for key, steps in rows), lambda sum_, row: (row[0], sum_[1] + row[1])
    )
    return [key for place, (key, size) in enumerate(sizes) if place == 0 or size <= BATCH]


def _forget_together(keys: Sequence[UUID], old: QuerySet[Workflow]) -> int:
    """Delete those of these workflows that are still old and that nobody has a hand on, nor on a job of theirs."""
    with transaction.atomic():
        # Jobs first, in id order, as everybody locks them.
        jobs = Job.objects.filter(workflow__in=keys).order_by("pk")
        locked = Counter(jobs.select_for_update(skip_locked=True).values_list("workflow_id", flat=True))
        free = old.filter(pk__in=keys).select_for_update(skip_locked=True, of=("self",))
        workflows = set(free.values_list("pk", flat=True))
        whole = Counter(jobs.values_list("workflow_id", flat=True))
        gone = [key for key in workflows if locked[key] == whole[key]]
        delete_rows(OutputCheck, workflow__in=gone)
        delete_rows(Job, workflow__in=gone)
        return delete_rows(Workflow, pk__in=gone)


# Events.


def _old_events() -> QuerySet[Event]:
    running = Workflow.objects.filter(pk=OuterRef("workflow"), status=Workflow.Status.RUNNING)
    live = Job.objects.live().filter(pk=OuterRef("job"), workflow=None)
    old = Event.objects.filter(created_at__lt=timezone.now() - _event_days())
    return old.exclude(Exists(running)).exclude(Exists(live))


def find_old_events() -> Old:
    return old_of(_old_events(), "created_at")


def forget_events() -> int:
    """Delete the events of work that has ended; how many. Their ids grow with time, so no index of times is needed."""
    count, old, cutoff = 0, _old_events(), timezone.now() - _event_days()
    events = Event.objects.order_by("pk").values_list("pk", "created_at")
    window = list(events[:BATCH])
    while window and min(made for _, made in window) < cutoff:
        first, last = window[0][0], window[-1][0]
        count += forget_in_batches(old.filter(pk__gte=first, pk__lte=last))
        window = list(events.filter(pk__gt=last)[:BATCH])
    return count


# What is kept beside work.


def _old_runs() -> QuerySet[EvaluationRun]:
    return EvaluationRun.objects.filter(started_at__lt=timezone.now() - _job_days())


def _old_workers() -> QuerySet[Worker]:
    return Worker.objects.filter(last_seen_at__lt=timezone.now() - WORKERS_KEPT_FOR)


def _old_keys() -> QuerySet[IdempotencyKey]:
    return IdempotencyKey.objects.filter(created_at__lt=timezone.now() - KEEP_FOR)


# What the monitor reads.


def _audit_days() -> timedelta:
    return timedelta(days=settings.AUDIT_RETENTION_DAYS)


def _old_audit_entries() -> QuerySet[AuditEntry]:
    return AuditEntry.objects.filter(at__lt=timezone.now() - _audit_days())


def _old_operations() -> QuerySet[BulkOperation]:
    return BulkOperation.objects.filter(ended_at__lt=timezone.now() - OPERATIONS_KEPT_FOR)


def _old_errors() -> QuerySet[ErrorGroup]:
    return ErrorGroup.objects.filter(last_seen_at__lt=timezone.now() - ERRORS_KEPT_FOR)


def _rollups_of(name: str, *, grain: int, kept_for: timedelta) -> Retention:
    """The retention of one grain: the coarser, the longer."""

    def old() -> QuerySet[Rollup]:
        return Rollup.objects.filter(grain=grain, at__lt=timezone.now() - kept_for)

    def find_old() -> Old:  # a key of several columns can't be counted
        return Old(**old().aggregate(count=Count("*"), oldest=Min("at")))

    def forget() -> int:  # in lots of whole moments: nobody else has a hand on these
        count = 0
        while moments := old().order_by("at").values_list("at", flat=True)[:BATCH]:
            count += delete_rows(Rollup, grain=grain, at__lte=max(moments))
        return count

    return Retention(name=name, kept_for=lambda: kept_for, condition="", find_old=find_old, forget=forget)


def _rows_of(
    name: str,
    old: Callable[[], QuerySet[Any]],
    *,
    at: str,
    kept_for: Callable[[], timedelta],
    condition: str = "",
    along: str = "pk",
) -> Retention:
    """The retention of rows that nothing hangs on: `at` is when their time begins, `along` what they are taken in order of."""
    return Retention(
        name=name,
        kept_for=kept_for,
        condition=condition,
        find_old=lambda: old_of(old(), at),
        forget=lambda: forget_in_batches(old(), along=along),
    )


RETENTIONS = [
    Retention(
        name="jobs",
        kept_for=_job_days,
        condition="outside workflows, ended and evaluated",
        find_old=find_old_jobs,
        forget=forget_jobs,
    ),
    Retention(
        name="workflows",
        kept_for=_job_days,
        condition="with their jobs, ended and evaluated, their attestations gone",
        find_old=find_old_workflows,
        forget=forget_workflows,
    ),
    Retention(
        name="events",
        kept_for=_event_days,
        condition="of work that has ended",
        find_old=find_old_events,
        forget=forget_events,
    ),
    _rows_of("evaluation runs", _old_runs, at="started_at", kept_for=_job_days),
    _rows_of(
        "workers",
        _old_workers,
        at="last_seen_at",
        kept_for=lambda: WORKERS_KEPT_FOR,
        condition="not heard of since",
    ),
    _rows_of("idempotency keys", _old_keys, at="created_at", kept_for=lambda: KEEP_FOR, along="created_at"),
    _rows_of("audit log", _old_audit_entries, at="at", kept_for=_audit_days),
    _rows_of(
        "bulk operations",
        _old_operations,
        at="ended_at",
        kept_for=lambda: OPERATIONS_KEPT_FOR,
        condition="ended",
    ),
    _rows_of(
        "errors",
        _old_errors,
        at="last_seen_at",
        kept_for=lambda: ERRORS_KEPT_FOR,
        condition="not seen since",
        along="last_seen_at",
    ),
    _rollups_of("counts by 1 minute", grain=60, kept_for=timedelta(hours=6)),
    _rollups_of("counts by 10 minutes", grain=600, kept_for=timedelta(days=3)),
    _rollups_of("counts by 1 hour", grain=3_600, kept_for=timedelta(days=90)),
]
