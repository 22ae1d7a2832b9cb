"""Telling once more of work that has ended: the verbs. Nothing is run again and nothing attested."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from jobs.errors import DomainError, InvalidTransition
from jobs.models import Event, Job, Workflow
from jobs.models.evaluation import NOT_EVALUATED
from jobs.queue.finish import finished_attempt
from jobs.services.events import record_event
from jobs.signals import FinishedWorkflow
from webhooks.models import Delivery, Message
from webhooks.services import messages


class NobodyListens(DomainError):
    """No endpoint of the tenant takes events of this type."""

    code = "nobody_listens"


def renotify_workflow(workflow: Workflow, *, by: str, reason: str = "") -> Workflow:
    """Tell the endpoints once more how the last run of a workflow has ended: a new message, with the same data.

    What is on its way of an earlier message stays so. Raises InvalidTransition while it runs and when its user has
    been told, and NobodyListens.
    """
    with transaction.atomic():
        locked = Workflow.objects.select_for_update(no_key=True).get(pk=workflow.pk)
        if locked.status == Workflow.Status.RUNNING:
            raise InvalidTransition("The workflow is running; there is nothing to tell yet.")
        if locked.notification_status == Workflow.NotificationStatus.TOLD:
            raise InvalidTransition("The workflow's user has been told.")
        Workflow.objects.filter(pk=locked.pk).update(
            notification_status=Workflow.NotificationStatus.OWED, **NOT_EVALUATED
        )
        _tell_again(locked, messages.event_of_workflow(_last_run_of(locked)), by=by, reason=reason)
    workflow.refresh_from_db()
    return workflow


def renotify_job(job: Job, *, by: str, reason: str = "") -> Job:
    """Tell the endpoints once more how a job outside a workflow has ended: a new message, with the same data.

    Raises InvalidTransition for a step, for a job that has not ended, of which nobody is ever told or of whose end
    somebody has been told, and NobodyListens.
    """
    with transaction.atomic():
        locked = Job.objects.select_for_update(no_key=True, of=("self",)).get(pk=job.pk)
        if locked.workflow_id:
            raise InvalidTransition("The job is a step of a workflow; that is what its user is told of.")
        if not locked.is_final:
            raise InvalidTransition(f"The job is {locked.status}; there is nothing to tell yet.")
        last = finished_attempt(locked, {}, is_attested=False)
        if not (last.is_told and last.tenant_id):
            raise InvalidTransition("Nobody is told of jobs of this kind.")
        event = messages.event_of_job(last)
        if _has_been_delivered(event):
            raise InvalidTransition("An endpoint has taken the message of the job's end.")
        Job.objects.filter(pk=locked.pk).update(**NOT_EVALUATED)
        _tell_again(locked, event, by=by, reason=reason)
    job.refresh_from_db()
    return job


def _tell_again(subject: Workflow | Job, event: messages.Event, *, by: str, reason: str) -> None:
    if not messages.write_messages([event]):
        raise NobodyListens(f"No endpoint takes {event.type}: register one first.")
    record_event(subject, Event.Type.RENOTIFIED, {"by": by, "reason": reason, "message_id": str(event.id)})


def _last_run_of(workflow: Workflow) -> FinishedWorkflow:
    """The run that has ended last, as it was announced when it did."""
    assert workflow.ended_at
    return FinishedWorkflow(
        pk=workflow.pk,
        tenant_id=workflow.tenant_id,
        workflow_id=workflow.workflow_id,
        user_id=workflow.user_id,
        attempt=workflow.attempt,
        status=workflow.status,
        miniapp_req=workflow.miniapp_req,
        outputs=workflow.outputs,
        error=workflow.error,
        total_steps=workflow.total_steps,
        completed_steps=workflow.jobs.filter(status=Job.Status.COMPLETED).count(),
        trace_id=workflow.trace_id,
        request_id=workflow.request_id,
        ended_at=workflow.ended_at,
    )


def _has_been_delivered(event: messages.Event) -> bool:
    """Whether an endpoint has taken a message that says the same; those of an earlier attempt say something else."""
    delivered = Delivery.objects.filter(status=Delivery.Status.DELIVERED, message__job=event.job_pk)
    told = Message.objects.filter(job=event.job_pk, type=event.type, pk__in=delivered.values("message"))
    return any(_end_in(message.content) == event.data["ended_at"] for message in told)


def _end_in(content: Any) -> Any:
    return content["data"].get("ended_at")
