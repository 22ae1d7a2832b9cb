"""Ends attempts: outcome, retry, next step, attestations and announcements in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from jobs.hygiene.sanitizer import sanitize_base64
from jobs.models import Job, Workflow
from jobs.queue import wakeups
from jobs.queue.handlers import find_handler
from jobs.queue.outcomes import Outcome, digest_of_error, make_error
from jobs.rollups.attempts import count_attempts
from jobs.signals import FinishedAttempt, announce
from jobs.statements import AWAY, batch, run
from jobs.workflows.advance import Advance, advance_workflows

logger = logging.getLogger(__name__)

PUT_OFF = timedelta(minutes=1)
LARGE_BATCH = 10


def finish(outcomes: Sequence[Outcome]) -> set[UUID]:
    """Store outcomes whose lease is still live; the answer names the jobs whose outcome counted.

    The batch is one transaction. Where it fails, each outcome is tried by itself, and one that can't be stored
    ends its job as failed with `finish_failed`, so that it can't hold up the others for ever. Raises
    django.db.OperationalError or InterfaceError, with nothing stored, when the database is away.
    """
    try:
        return _finish(outcomes)
    except AWAY:
        raise  # the database is away or asks for another try: nothing is wrong with the outcomes
    except Exception:
        logger.exception("outcomes not stored together", extra={"jobs": len(outcomes)})
    return {job_id for outcome in outcomes for job_id in _finish_alone(outcome)}


def _finish_alone(outcome: Outcome) -> set[UUID]:
    """Store one outcome, or that it can't be stored; whatever is wrong with it stays with its job."""
    for attempt in (outcome, _unstorable(outcome)):
        try:
            return _finish([attempt])
        except AWAY:
            raise
        except Exception:
            logger.exception("outcome not stored", extra={"jobId": str(outcome.lease.job_id)})
    # Out of the sweep's sight for a while, so that it gets round to the others.
    mine = Job.objects.filter(pk=outcome.lease.job_id, lease_token=outcome.lease.token)
    mine.update(lease_expires_at=Now() + PUT_OFF)
    return set()


def _unstorable(outcome: Outcome) -> Outcome:
    error = make_error("finish_failed", "The outcome of this attempt could not be stored; the log says why.")
    status = Job.Status.FAILED if outcome.status == Job.Status.COMPLETED else outcome.status
    return replace(outcome, status=status, result=None, error=error)


def _finish(outcomes: Sequence[Outcome]) -> set[UUID]:
    with transaction.atomic():
        rows = run("finish", {"outcomes": batch([_row(outcome) for outcome in outcomes])})
        advance = advance_workflows(rows)
        count_attempts(rows, advance.stopped)
        _announce(rows, advance)
        wakeups.announce_on_commit(
            [
                (row.tenant_id, row.queue, bool(row.service_required))
                for row in rows
                if row.status == Job.Status.QUEUED
            ]
            + advance.lanes
        )
        _announce_changes([*rows, *advance.stopped])
    return {row.id for row in rows}


def _announce_changes(rows: Sequence[Any]) -> None:
    """Have those who watch look at jobs that have ended, or go back to the queue, and at their workflows.

    Of a large batch those are left out that are light and by themselves: telling of each would cost a full queue some
    of its speed, and whoever watches one of them looks once a second.
    """
    if len(rows) > LARGE_BATCH:
        rows = [row for row in rows if row.workflow_id or row.service_required]
    wakeups.announce_changes_on_commit([row.id for row in rows])
    wakeups.announce_changes_on_commit({row.workflow_id for row in rows})


def _row(outcome: Outcome) -> dict[str, Any]:
    """An outcome as finish.sql reads it."""
    return {
        "id": outcome.lease.job_id,
        "lease_token": outcome.lease.token,
        "status": outcome.status,
        "result": sanitize_base64(outcome.result),
        "error": outcome.error,
        "error_digest": digest_of_error(outcome.error),
        "delay_seconds": outcome.delay_seconds,
        "was_lost": outcome.was_lost,
    }


def _announce(rows: Sequence[Any], advance: Advance, *, is_attested: bool = True) -> None:
    """Tell the floors above of rows of finish.sql or end_jobs.sql, and of what they meant for workflows."""
    announce(
        [finished_attempt(row, advance.workflows, is_attested=is_attested) for row in rows]
        + [finished_attempt(row, advance.workflows, is_attested=False) for row in advance.stopped],
        advance.finished,
    )


def finished_attempt(row: Any, workflows: dict[UUID, Workflow], *, is_attested: bool) -> FinishedAttempt:
    """Describe a row of finish.sql or end_jobs.sql to the floors above."""
    handler = find_handler(row.kind) if row.kind else None
    is_retried = row.status == Job.Status.QUEUED
    workflow = workflows.get(row.workflow_id)
    return FinishedAttempt(
        job_id=row.id,
        tenant_id=row.tenant_id,
        kind=row.kind,
        service_required=row.service_required,
        payload=row.payload,
        ctx=row.ctx,
        attempt=row.attempt,
        worker=row.worker,
        outcome=Job.Status.FAILED.value if is_retried else row.status,
        is_final=not is_retried,
        is_attested=is_attested and (handler.is_attested if handler else True),
        is_told=handler.is_attested if handler else True,
        result=row.result,
        error=row.error,
        workflow_pk=row.workflow_id,
        workflow_id=workflow.workflow_id if workflow else "",
        user_id=workflow.user_id if workflow else "",
        trace_id=row.trace_id,
        request_id=row.request_id,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


def end_unstarted_jobs(jobs: Iterable[Job], status: str, error: dict[str, Any]) -> int:
    """End jobs that are waiting or queued (rows locked by the caller), and their workflows with them."""
    digest = digest_of_error(error)
    ends = [{"id": job.pk, "status": status, "error": error, "error_digest": digest} for job in jobs]
    rows = run("end_jobs", {"ends": batch(ends)})
    advance = advance_workflows(rows)
    count_attempts([], [*rows, *advance.stopped])
    _announce(rows, advance, is_attested=False)
    wakeups.announce_on_commit(advance.lanes)
    _announce_changes([*rows, *advance.stopped])
    return len(rows)
