"""The built-in kinds of the top floor."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db import transaction

from jobs.models import Event, Workflow
from jobs.queue.backoff import RetryPolicy
from jobs.queue.envelope import JobEnvelope
from jobs.queue.handlers import NoPayload, PermanentError, handler
from webhooks.services.matching import match_waiting_receipts
from webhooks.services.messages import tell_reminder
from webhooks.services.miniapp import call_back, find_told


@dataclass(frozen=True)
class Reminder:
    """Of which request: `requestId` is the `workflow_id` it was given."""

    requestId: str  # noqa: N815  the wire's own spelling


@handler("requests.reminder", payload=Reminder)
def remind(envelope: JobEnvelope[Reminder]) -> dict[str, str]:
    """Remind the tenant's endpoints of a workflow whose user has not been told yet.

    However often it runs for one job, that is recorded and told once. Raises PermanentError `workflow_not_found` where
    the job's tenant has no such workflow.
    """
    request_id = envelope.payload.requestId
    mine = Workflow.objects.filter(tenant=envelope.tenant_id, workflow_id=request_id)
    with transaction.atomic():
        # Locked, so that of two runs of one job the second sees what the first has recorded.
        workflow = mine.select_for_update(no_key=True).first()
        if workflow is None:
            raise PermanentError(f"There is no workflow {request_id!r}.", code="workflow_not_found")
        if workflow.notification_status == Workflow.NotificationStatus.TOLD:
            return {"requestId": request_id, "reminder": "not_needed"}
        _, is_new = Event.objects.get_or_create(
            tenant_id=workflow.tenant_id,
            job_id=envelope.job_id,
            workflow=workflow,
            type=Event.Type.REMINDER_DUE,
            defaults={"data": {"user_id": workflow.user_id}},
        )
        if is_new:
            tell_reminder(workflow, job_pk=envelope.job_id)
    return {"requestId": request_id, "reminder": "due"}


@handler("webhooks.match_receipts", payload=NoPayload, queue="webhooks", is_attested=False, is_internal=True)
def match_receipts(envelope: JobEnvelope[NoPayload]) -> dict[str, int]:
    """Let the calls take effect that came before the workflow they speak of."""
    return {"matched": match_waiting_receipts()}


@dataclass(frozen=True)
class CallBack:
    """Of which event: the receipt of what the stand-in for a client's app was told."""

    receipt_id: UUID


@handler(
    "miniapp.call_back",
    payload=CallBack,
    queue="webhooks",
    retry=RetryPolicy(delays=(1, 5, 15, 60)),
    timeout_seconds=60,
    is_attested=False,
    is_internal=True,
)
def call_back_for_miniapp(envelope: JobEnvelope[CallBack]) -> dict[str, int]:
    """Tell /api/user_notified what a client's app would; twice is the same call, and so a duplicate.

    Raises Refused where another attempt would be of no use.
    """
    told = find_told(envelope.tenant_id, envelope.payload.receipt_id)
    return {"status": call_back(told, trace_id=envelope.trace_id)}
