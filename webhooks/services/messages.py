"""Messages: what happened, told to the endpoints that take it, in the transaction in which it happened."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from jobs.ids import uuid7
from jobs.models import Job, Workflow
from jobs.queue import wakeups
from jobs.queue.outcomes import code_and_message
from jobs.signals import FinishedAttempt, FinishedWorkflow
from jobs.statements import batch, run
from webhooks.models import Endpoint, Reason

SQL = Path(__file__).parent.parent / "sql"
TOPIC = "deliveries"  # announced when there is something to send
BODY_MAX_BYTES = 256 * 1024
DATA_MAX_BYTES = BODY_MAX_BYTES - 4_096  # what stands around the data is less


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something to be told: one body, whoever hears it. `only_to` names the one endpoint it is meant for."""

    tenant_id: UUID
    type: str
    data: dict[str, Any]
    at: datetime
    workflow_id: str = ""
    user_id: str = ""
    trace_id: str = ""
    request_id: str = ""
    job_pk: UUID | None = None
    workflow_pk: UUID | None = None
    workflow_run: int | None = None
    only_to: UUID | None = None
    id: UUID = field(default_factory=uuid7)

    @property
    def body(self) -> str:
        """The JSON text that is signed and sent, of BODY_MAX_BYTES at most."""
        whole = self._with(self.data)
        return whole if len(whole.encode()) <= DATA_MAX_BYTES else self._with(_fitted(self.data))

    def _with(self, data: dict[str, Any]) -> str:
        return _text(
            {
                "type": self.type,
                "timestamp": iso(self.at),
                "workflow_id": self.workflow_id or None,
                "user_id": self.user_id or None,
                "data": data,
            }
        )


def iso(moment: datetime | None) -> str | None:
    """A moment as RFC 3339 in UTC, to the millisecond."""
    return (
        moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None
    )


def tell_finished_work(attempts: Sequence[FinishedAttempt], workflows: Sequence[FinishedWorkflow]) -> None:
    """Write the messages of work that the transaction at hand has finished, and note which users are to be told.

    The number of statements does not grow with the batch.
    """
    ended = [attempt for attempt in attempts if attempt.is_final and attempt.is_told and attempt.tenant_id]
    tenants = {attempt.tenant_id for attempt in ended} | {workflow.tenant_id for workflow in workflows}
    takers = _takers({tenant for tenant in tenants if tenant})
    owed = [
        workflow.pk
        for workflow in workflows
        if workflow.user_id or takers.of(workflow.tenant_id, f"workflow.{workflow.status}")
    ]
    # Most work is told to nobody: only what somebody takes is put into words.
    events = [
        event_of_job(attempt) for attempt in ended if takers.of(attempt.tenant_id, f"job.{attempt.outcome}")
    ]
    events += [
        event_of_workflow(workflow)
        for workflow in workflows
        if takers.of(workflow.tenant_id, f"workflow.{workflow.status}")
    ]
    write_messages(events, takers)
    if owed:
        Workflow.objects.filter(pk__in=owed).update(notification_status=Workflow.NotificationStatus.OWED)


def tell_reminder(workflow: Workflow, *, job_pk: UUID) -> int:
    """Remind the endpoints of a workflow whose user has not been told; how many take it."""
    return write_messages(
        [
            Event(
                tenant_id=workflow.tenant_id,
                type="request.reminder",
                at=timezone.now(),
                workflow_id=workflow.workflow_id,
                user_id=workflow.user_id,
                trace_id=workflow.trace_id,
                request_id=workflow.request_id,
                job_pk=job_pk,
                workflow_pk=workflow.pk,
                data={
                    "workflow_id": workflow.workflow_id,
                    "status": workflow.status,
                    "notification_status": workflow.notification_status,
                    "outputs": workflow.outputs,
                    "trace_id": workflow.trace_id,
                    "request_id": workflow.request_id,
                },
            )
        ]
    )


class Takers:
    """Who hears what: the endpoints of some tenants, as they are now."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._by_tenant: dict[UUID, list[Endpoint]] = defaultdict(list)
        for endpoint in endpoints:
            self._by_tenant[endpoint.tenant_id].append(endpoint)

    def of(self, tenant_id: UUID | None, type_: str, *, only_to: UUID | None = None) -> list[Endpoint]:
        """The endpoints that take events of this type; the one it is meant for, whatever it takes."""
        mine = self._by_tenant.get(tenant_id, []) if tenant_id else []
        if only_to:
            return [endpoint for endpoint in mine if endpoint.pk == only_to]
        return [endpoint for endpoint in mine if not endpoint.event_types or type_ in endpoint.event_types]


def write_messages(events: Sequence[Event], takers: Takers | None = None) -> int:
    """Store a message for each event that some endpoint takes, and its deliveries; how many deliveries.

    Part of the caller's transaction: they are sent once it has committed, or never were.
    """
    takers = takers or _takers({event.tenant_id for event in events})
    told = [(event, takers.of(event.tenant_id, event.type, only_to=event.only_to)) for event in events]
    messages = [_message_row(event) for event, endpoints in told if endpoints]
    deliveries = [_delivery_row(event, endpoint) for event, endpoints in told for endpoint in endpoints]
    if messages:
        run("write_messages", {"messages": batch(messages), "deliveries": batch(deliveries)}, folder=SQL)
        announce_on_commit()
    return len(deliveries)


def is_heard(event: Event) -> bool:
    """Whether some endpoint takes events like this one."""
    return bool(_takers({event.tenant_id}).of(event.tenant_id, event.type, only_to=event.only_to))


def announce_on_commit() -> None:
    """Wake those who send, once the transaction at hand has committed."""
    transaction.on_commit(lambda: wakeups.announce([TOPIC]))


def _takers(tenants: set[UUID]) -> Takers:
    if not tenants:
        return Takers([])
    fields = ("tenant_id", "event_types", "paused_at", "disabled_at")
    return Takers(Endpoint.objects.kept().filter(tenant__in=tenants).order_by().only(*fields))


def _message_row(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "tenant_id": event.tenant_id,
        "type": event.type,
        "body": event.body,
        "job_id": event.job_pk,
        "workflow_id": event.workflow_pk,
        "workflow_run": event.workflow_run,
        "trace_id": event.trace_id,
        "request_id": event.request_id,
    }


def _delivery_row(event: Event, endpoint: Endpoint) -> dict[str, Any]:
    is_manual = event.only_to is not None
    held_for = Reason.DISABLED if endpoint.disabled_at else Reason.PAUSED if endpoint.paused_at else ""
    return {
        "id": uuid7(),
        "tenant_id": event.tenant_id,
        "message_id": event.id,
        "endpoint_id": endpoint.pk,
        "is_manual": is_manual,
        "held_for": "" if is_manual else held_for,
    }


def event_of_job(attempt: FinishedAttempt) -> Event:
    """What is told of a job that has ended."""
    assert attempt.tenant_id
    return Event(
        tenant_id=attempt.tenant_id,
        type=f"job.{attempt.outcome}",
        at=attempt.ended_at,
        workflow_id=attempt.workflow_id,
        user_id=attempt.user_id,
        trace_id=attempt.trace_id,
        request_id=attempt.request_id,
        job_pk=attempt.job_id,
        workflow_pk=attempt.workflow_pk,
        data={
            "job_id": str(attempt.job_id),
            "kind": attempt.kind,
            "service_required": attempt.service_required,
            "status": attempt.outcome,
            "attempt": attempt.attempt,
            "worker": attempt.worker,
            "result": attempt.result if attempt.outcome == Job.Status.COMPLETED else None,
            "error": code_and_message(attempt.error) if attempt.outcome != Job.Status.COMPLETED else None,
            "ended_at": iso(attempt.ended_at),
            "trace_id": attempt.trace_id,
            "request_id": attempt.request_id,
        },
    )


def event_of_workflow(workflow: FinishedWorkflow) -> Event:
    """What is told of a run of a workflow that has ended."""
    return Event(
        tenant_id=workflow.tenant_id,
        type=f"workflow.{workflow.status}",
        at=workflow.ended_at,
        workflow_id=workflow.workflow_id,
        user_id=workflow.user_id,
        trace_id=workflow.trace_id,
        request_id=workflow.request_id,
        workflow_pk=workflow.pk,
        workflow_run=workflow.attempt,
        data={
            "workflow_id": workflow.workflow_id,
            "status": workflow.status,
            "run": workflow.attempt,
            "outputs": workflow.outputs,
            "error": code_and_message(workflow.error),
            "total_steps": workflow.total_steps,
            "completed_steps": workflow.completed_steps,
            "ended_at": iso(workflow.ended_at),
            "trace_id": workflow.trace_id,
            "request_id": workflow.request_id,
        },
    )


def _fitted(data: dict[str, Any]) -> dict[str, Any]:
    """`data`, its largest values left out until it fits; what they were can be read by the API."""
    sizes = {name: len(_text(value).encode()) for name, value in data.items()}
    while sum(sizes.values()) > DATA_MAX_BYTES:
        largest = max(sizes, key=lambda name: sizes[name])
        data = {**data, largest: {"$truncated": {"bytes": sizes[largest]}}}
        sizes[largest] = len(_text(data[largest]))
    return data


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
