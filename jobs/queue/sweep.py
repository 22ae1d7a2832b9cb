"""Puts right, once a second, what no process will end by itself: lapsed leases and expired jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Func, Q
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
    """Fail the jobs that nobody began before they expired, and the workflows they belong to."""
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
    for the workflow would be a deadlock. So nothing is waited for.
    """
    unbegun = Job.objects.filter(status__in=[Job.Status.WAITING, Job.Status.QUEUED], expires_at__lt=Now())
    found = dict(unbegun.order_by("id").values_list("pk", "workflow_id")[:BATCH])
    theirs = Workflow.objects.filter(pk__in=set(found.values()) - {None}).order_by("pk")
    free = {None, *theirs.select_for_update(skip_locked=True).values_list("pk", flat=True)}
    mine = unbegun.filter(pk__in=[key for key, workflow in found.items() if workflow in free])
    return list(mine.order_by("id").select_for_update(skip_locked=True, of=("self",)))


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
