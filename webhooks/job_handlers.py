"""The built-in kinds of the top floor."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction

from jobs.models import Event, Workflow
from jobs.queue.envelope import JobEnvelope
from jobs.queue.handlers import PermanentError, handler


@dataclass(frozen=True)
class Reminder:
    """Of which request: `requestId` is the `workflow_id` it was given."""

    requestId: str  # noqa: N815  the wire's own spelling


@handler("requests.reminder", payload=Reminder)
def remind(envelope: JobEnvelope[Reminder]) -> dict[str, str]:
    """Record that the user of a workflow is due a reminder, unless the user has been told.

    However often it runs for one job, that is recorded once. Raises PermanentError `workflow_not_found` where
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
        Event.objects.get_or_create(
            tenant_id=workflow.tenant_id,
            job_id=envelope.job_id,
            workflow=workflow,
            type=Event.Type.REMINDER_DUE,
            defaults={"data": {"user_id": workflow.user_id}},
        )
    return {"requestId": request_id, "reminder": "due"}
