"""Puts right, once a second, what no process will end by itself: lapsed leases and expired jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, Func, Q, QuerySet
from django.db.models.functions import Now

from jobs.models import Job, Workflow
from jobs.queue.claim import Lease
from jobs.queue.finish import PUT_OFF, end_unstarted_jobs, finish
from jobs.queue.outcomes import Outcome, failed_or_retried, make_error, policy_of
from jobs.statements import AWAY

logger = logging.getLogger(__name__)

BATCH = 500
SWEEP_LOCK = 0x5EEF  # advisory lock: one sweeper at a time over all hosts


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep did, in jobs."""

    lapsed: int = 0
    expired: int = 0


def sweep() -> Swept:
    """Take back lapsed leases and end expired jobs; does nothing while another process sweeps."""
    return Swept(lapsed=_unless_another_does(take_back_lapsed), expired=_unless_another_does(end_expired))


def _unless_another_does(part: Callable[[], int]) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        # A host that freezes in here must not hold the lock until TCP gives it up.
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '10s'")
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [SWEEP_LOCK])
        is_ours = cursor.fetchone()[0]
        return part() if is_ours else 0


def take_back_lapsed() -> int:
    """End the attempts whose lease has lapsed: back to the queue at once, or failed when none is left."""
    timeout = Func(F("timeout_seconds"), template="make_interval(secs => %(expressions)s)")
    lapsed = Job.objects.filter(status=Job.Status.RUNNING, lease_expires_at__lt=Now())
    overdue = lapsed.annotate(has_overrun=Q(started_at__lt=Now() - timeout)).order_by("lease_expires_at")
    outcomes = [_outcome_of(job) for job in overdue[:BATCH]]
    return len(finish(outcomes)) if outcomes else 0


def _outcome_of(job: Any) -> Outcome:
    lease = Lease(job.id, job.lease_token)
    if job.has_overrun:
        error = make_error("timed_out", f"The attempt ran longer than {job.timeout_seconds} s.")
        return failed_or_retried(job, lease, error, policy=policy_of(job), was_lost=True)
    if job.attempts_left:
        error = make_error("worker_lost", f"The worker {job.worker} stopped renewing its lease.")
        return Outcome(lease=lease, status=Job.Status.QUEUED, error=error, was_lost=True)
    error = make_error("poison", f"The last of {job.attempt} attempts took its worker {job.worker} with it.")
    return Outcome(lease=lease, status=Job.Status.FAILED, error=error, was_lost=True)


def end_expired() -> int:
    """Fail the jobs that nobody began before they expired, and the workflows they belong to; how many jobs."""
    with transaction.atomic():
        expired = _lock_expired()
        try:
            return _end_as_expired(expired) if expired else 0
        except AWAY:
            raise
        except Exception:
            logger.exception("expired jobs not ended together", extra={"jobs": len(expired)})
        return sum(_end_alone(job) for job in expired)


def _lock_expired() -> list[Job]:
    """Some of the expired jobs, each locked with its workflow; what somebody else is at is left for the next time.

    Whoever ends a step holds its workflow and may then want the one that waits behind it: to hold that one and wait
    for the workflow would be a deadlock. So nothing is waited for, and what is held is walked past.
    """
    locked: list[Job] = []
    after = UUID(int=0)
    while len(locked) < BATCH:
        found = dict(_expired().filter(pk__gt=after).order_by("id").values_list("pk", "workflow_id")[:BATCH])
        if not found:
            break
        locked += _lock_free(found)
        after = max(found)
    return locked


def _expired() -> QuerySet[Job]:
    return Job.objects.filter(status__in=[Job.Status.WAITING, Job.Status.QUEUED], expires_at__lt=Now())


def _lock_free(found: Mapping[UUID, UUID | None]) -> list[Job]:
    """Those of some jobs, by their workflow, that nobody is at and that are to end."""
    theirs = Workflow.objects.filter(pk__in=set(found.values()) - {None}).order_by("pk")
    free = dict(theirs.select_for_update(skip_locked=True).values_list("pk", "status"))
    mine = _expired().filter(
        pk__in=[key for key, workflow in found.items() if workflow is None or workflow in free]
    )
    jobs = list(mine.order_by("id").select_for_update(skip_locked=True, of=("self",)))
    spared = {job.pk for job in jobs if job.workflow_id and _is_spared(job, free[job.workflow_id])}
    Job.objects.filter(pk__in=spared).update(expires_at=None)
    return [job for job in jobs if job.pk not in spared]


def _is_spared(step: Job, workflow_status: str) -> bool:
    """Whether a step can't be late: its workflow has ended, and it waits for a retry, or ends with the one that runs."""
    is_over = workflow_status != Workflow.Status.RUNNING
    return step.status == Job.Status.WAITING and (is_over or step.cancel_requested_at is not None)


def _end_alone(job: Job) -> int:
    try:
        return _end_as_expired([job])
    except AWAY:
        raise
    except Exception:
        logger.exception("expired job not ended", extra={"jobId": str(job.pk)})
        # Out of the sweep's sight for a while, so that it gets round to the others.
        Job.objects.filter(pk=job.pk).update(expires_at=Now() + PUT_OFF)
        return 0


def _end_as_expired(jobs: list[Job]) -> int:
    error = make_error("expired", "Nobody began the job, or its next attempt, before it expired.")
    with transaction.atomic():
        return end_unstarted_jobs(jobs, Job.Status.FAILED, error)
