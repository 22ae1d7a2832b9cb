"""Telling once more of work that has ended: the verbs. Nothing is run again and nothing attested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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

WAITING_MAX = 5
OPEN = {Delivery.Status.PENDING, Delivery.Status.SENDING, Delivery.Status.HELD}


class NobodyListens(DomainError):
    """No endpoint of the tenant takes events of this type."""

    code = "nobody_listens"


class TooManyWaiting(DomainError):
    """So many messages of one end are on their way that another would tell nobody anything."""

    code = "too_many_waiting"


def renotify_workflow(workflow: Workflow, *, by: str, reason: str = "") -> Workflow:
    """Tell the endpoints once more how the last run of a workflow has ended: a new message, with the same data.

    What is on its way of an earlier message stays so. Raises InvalidTransition while it runs, when its user has
    been told and where there is no user and an endpoint has taken it, TooManyWaiting and NobodyListens.
    """
    with transaction.atomic():
        locked = Workflow.objects.select_for_update(no_key=True).get(pk=workflow.pk)
        event = _event_of_workflow(locked)
        Workflow.objects.filter(pk=locked.pk).update(
            notification_status=Workflow.NotificationStatus.OWED, **NOT_EVALUATED
        )
        _tell_again(locked, event, by=by, reason=reason)
    workflow.refresh_from_db()
    return workflow


def renotify_job(job: Job, *, by: str, reason: str = "") -> Job:
    """Tell the endpoints once more how a job outside a workflow has ended: a new message, with the same data.

    Raises InvalidTransition for a step, for a job that has not ended, of which nobody is ever told or of whose end
    somebody has been told, TooManyWaiting and NobodyListens.
    """
    with transaction.atomic():
        locked = Job.objects.select_for_update(no_key=True, of=("self",)).get(pk=job.pk)
        event = _event_of_job(locked)
        Job.objects.filter(pk=locked.pk).update(**NOT_EVALUATED)
        _tell_again(locked, event, by=by, reason=reason)
    job.refresh_from_db()
    return job


def can_renotify(subject: Workflow | Job) -> bool:
    """Whether one of the above would tell anybody of it now."""
    try:
        _event_of_workflow(subject) if isinstance(subject, Workflow) else _event_of_job(subject)
    except DomainError:
        return False
    return True


def _event_of_workflow(workflow: Workflow) -> messages.Event:
    """What is told once more of a workflow; raises DomainError where it is refused."""
    if workflow.status == Workflow.Status.RUNNING:
        raise InvalidTransition("The workflow is running; there is nothing to tell yet.")
    if workflow.notification_status == Workflow.NotificationStatus.TOLD:
        raise InvalidTransition("The workflow's user has been told.")
    if workflow.notification_status == Workflow.NotificationStatus.DELIVERED and not workflow.user_id:
        raise InvalidTransition(
            "An endpoint has taken the message of the workflow's end, and it has no user."
        )
    event = messages.event_of_workflow(_last_run_of(workflow))
    told = Message.objects.filter(workflow=workflow, workflow_run=workflow.attempt, type=event.type)
    return _as_first_told(event, list(told.order_by("id")))


def _event_of_job(job: Job) -> messages.Event:
    """What is told once more of a job; raises DomainError where it is refused."""
    if job.workflow_id:
        raise InvalidTransition("The job is a step of a workflow; that is what its user is told of.")
    if not job.is_final:
        raise InvalidTransition(f"The job is {job.status}; there is nothing to tell yet.")
    last = finished_attempt(job, {}, is_attested=False)
    if not (last.is_told and last.tenant_id):
        raise InvalidTransition("Nobody is told of jobs of this kind.")
    event = messages.event_of_job(last)
    of_this_type = Message.objects.filter(job=job, type=event.type).order_by("id")
    # Those of an earlier attempt say something else.
    told = [each for each in of_this_type if _end_in(each.content) == event.data["ended_at"]]
    if Delivery.objects.filter(message__in=told, status=Delivery.Status.DELIVERED).exists():
        raise InvalidTransition("An endpoint has taken the message of the job's end.")
    return _as_first_told(event, told)


def _as_first_told(event: messages.Event, told: Sequence[Message]) -> messages.Event:
    """An event with the data of the first message that told of it, where that is kept.

    Raises TooManyWaiting and NobodyListens.
    """
    _refuse_pile(told)
    if not messages.is_heard(event):
        raise NobodyListens(f"No endpoint takes {event.type}: register one first.")
    return replace(event, data=told[0].content["data"]) if told else event


def _refuse_pile(told: Sequence[Message]) -> None:
    deliveries = Delivery.objects.filter(message__in=told)
    waiting = set(deliveries.filter(status__in=OPEN).values_list("message", flat=True))
    waiting -= set(deliveries.exclude(status__in=OPEN).values_list("message", flat=True))
    if len(waiting) >= WAITING_MAX:
        raise TooManyWaiting(f"{len(waiting)} messages of this end are on their way: let one arrive first.")


def _tell_again(subject: Workflow | Job, event: messages.Event, *, by: str, reason: str) -> None:
    messages.write_messages([event])
    record_event(subject, Event.Type.RENOTIFIED, {"by": by, "reason": reason, "message_id": str(event.id)})


def _last_run_of(workflow: Workflow) -> FinishedWorkflow:
    """The run that has ended last, as it was announced when it did."""
    assert workflow.ended_at
    return FinishedWorkflow(
        pk=workflow.pk,
        tenant_id=workflow.tenant_id,
        workflow_id=workflow.workflow_id,
        kind=workflow.kind,
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


def _end_in(content: Any) -> Any:
    return content["data"].get("ended_at")
