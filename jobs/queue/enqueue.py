"""Puts jobs into the queue, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings

from config.tracing import current_trace
from jobs.ids import uuid7
from jobs.models import Job
from jobs.queue import wakeups
from jobs.queue.backoff import REMOTE_POLICY
from jobs.queue.handlers import get_handler
from jobs.statements import batch, run


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A job to be added. Exactly one of `kind` and `service_required`; unset numbers come from the kind.

    `run_at` None means at once; `expires_in_seconds` counts from now; times are seconds. `retry` says
    otherwise than the kind's RetryPolicy: some of `delay_seconds`, `backoff`, `cap_seconds`, `jitter`, `delays`.
    """

    tenant_id: UUID | None
    payload: Any
    kind: str = ""
    service_required: str = ""
    queue: str = ""
    ctx: dict[str, Any] = field(default_factory=dict)
    priority: int = 50
    singleton_key: str = ""
    max_attempts: int | None = None
    retry: dict[str, Any] | None = None
    run_at: datetime | None = None
    expires_in_seconds: float | None = None
    timeout_seconds: int | None = None
    actor_id: str = ""
    trace_id: str = ""
    request_id: str = ""
    workflow_id: UUID | None = None
    step_index: int | None = None
    step_name: str = ""
    is_waiting: bool = False
    id: UUID = field(default_factory=uuid7)


def enqueue_job(
    kind: str, payload: dict[str, Any] | None = None, *, tenant_id: UUID | None = None, **options: Any
) -> UUID:
    """Add an in-house job of `kind` and return its id.

    Inside `transaction.atomic()` the job commits or rolls back with the caller's rows; outside, it is durable
    when this returns. `options` are the other fields of NewJob. Where a live job holds the same
    `singleton_key`, that one's id is returned. Raises InvalidInput for an unknown kind or a wrong payload.
    """
    return enqueue_jobs([NewJob(kind=kind, payload=payload or {}, tenant_id=tenant_id, **options)])[0]


def enqueue_jobs(new_jobs: Sequence[NewJob]) -> list[UUID]:
    """Add many jobs in one statement, all or none, and return their ids in the order given.

    Raises InvalidInput for the first job that is not acceptable.
    """
    added, holders = _add(new_jobs, [_row(new) for new in new_jobs])
    return [new.id if new.id in added else holders[new.id] for new in new_jobs]


def add_job(new: NewJob) -> Job:
    """Add one job and return it as it is stored, without reading it back. Raises InvalidInput."""
    row = _row(new)
    added, holders = _add([new], [row])
    if new.id in holders:
        return Job.objects.select_related("workflow").get(pk=holders[new.id])
    del row["expires_in_seconds"]
    job = Job(**(row | added[new.id]))
    job._state.adding = False
    return job


def _add(
    new_jobs: Sequence[NewJob], rows: list[dict[str, Any]]
) -> tuple[dict[UUID, dict[str, Any]], dict[UUID, UUID]]:
    """Store the rows that no live singleton stands in the way of.

    Returns what the database added to each by id, and for each of the others the id of the job in its way.
    """
    added, holders = _insert(new_jobs, rows), {}
    while refused := [new for new in new_jobs if new.id not in added and new.id not in holders]:
        for new in refused:
            if holder := _holder_of(new):
                holders[new.id] = holder
            else:  # it ended in between, so there is room now
                added |= _insert([new], [row for row in rows if row["id"] == new.id])
    return added, holders


def _insert(new_jobs: Sequence[NewJob], rows: list[dict[str, Any]]) -> dict[UUID, dict[str, Any]]:
    """Store the rows in one statement; what the database added to each, by id, for those it took."""
    stored = {row.id: row._asdict() for row in run("enqueue", {"jobs": batch(rows)})}
    wakeups.announce_on_commit(
        (new.tenant_id, row["queue"], bool(new.service_required))
        for new, row in zip(new_jobs, rows, strict=True)
        if new.id in stored and not new.is_waiting
    )
    return stored


def _row(new: NewJob) -> dict[str, Any]:
    """Fill in what the kind and the settings say; the keys are the parameters of enqueue.sql."""
    handler = get_handler(new.kind) if new.kind else None
    if handler and not new.is_waiting:  # a waiting step's payload is still a template
        handler.parse(new.payload)
    policy = (handler.retry if handler else REMOTE_POLICY).overridden_by(new.retry)
    max_attempts = new.max_attempts or policy.attempts or settings.WORKER_RETRY_LIMIT
    timeout = new.timeout_seconds or (handler.timeout_seconds if handler else None)
    trace = current_trace()
    return {
        "id": new.id,
        "tenant_id": new.tenant_id,
        "kind": new.kind,
        "service_required": new.service_required,
        "queue": new.queue or (handler.queue if handler else new.service_required),
        "payload": new.payload,
        "ctx": new.ctx,
        "priority": new.priority,
        "singleton_key": new.singleton_key,
        "status": Job.Status.WAITING if new.is_waiting else Job.Status.QUEUED,
        "max_attempts": max_attempts,
        "retry_policy": new.retry,
        "run_at": new.run_at,
        "expires_in_seconds": new.expires_in_seconds,
        "timeout_seconds": timeout or settings.JOB_TIMEOUT_SECONDS,
        # A job with a single attempt must not lose it to a neighbour that kills their process.
        "batch_size": handler.batch_size if handler and max_attempts > 1 else 1,
        "trace_id": new.trace_id or trace.trace_id,
        "request_id": new.request_id or trace.request_id,
        "actor_id": new.actor_id,
        "workflow_id": new.workflow_id,
        "step_index": new.step_index,
        "step_name": new.step_name,
    }


def _holder_of(new: NewJob) -> UUID | None:
    """The live job that stands in the way of `new`'s singleton key, unless it has just ended."""
    held = Job.objects.live().filter(
        tenant=new.tenant_id,
        kind=new.kind,
        service_required=new.service_required,
        singleton_key=new.singleton_key,
    )
    return held.values_list("id", flat=True).first()
