"""What the ground floor tells of a timeline: the request, the steps, who did what, and the evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Count, F, Q, QuerySet, Window
from django.db.models.functions import Now
from django.utils.dateparse import parse_datetime

from jobs.forensics.moments import (
    SOURCE_ROWS_MAX,
    TITLE_TEXT_MAX,
    Moment,
    attempt_ended,
    attempt_started,
    bounded,
    error_of,
    left_out,
    run_ended,
    short,
    step_ended,
)
from jobs.models import Event, Job, Queue, Workflow

STEPS_MAX = 100  # as many as a workflow may have
# What is shown of an event; before and after of an edited payload may be large.
EVENT_DATA = (
    "by",
    "reason",
    "user_id",
    "method",
    "notified_at",
    "status",
    "receipt_id",
    "message_id",
)


def tell_of_workflow(workflow: Workflow) -> Iterator[Moment]:
    """The request, the ends of runs as far as the workflow knows them, and the verdict."""
    yield _request(workflow)
    if workflow.ended_at:
        yield run_ended(workflow.attempt, workflow.ended_at, workflow.status, error_of(workflow.error))
    retry = workflow.retry_execution_data if isinstance(workflow.retry_execution_data, dict) else {}
    yield from _run_before(retry)
    if workflow.retry_completed_at:
        yield Moment(
            at=workflow.retry_completed_at,
            type="retry_completed",
            title=f"The retry, run {workflow.attempt}, has come to its end.",
            attempt=workflow.attempt,
            data={name: retry.get(name) for name in ("by", "reason", "kept_steps", "rerun_steps")},
        )
    yield from _verdict(workflow)


def tell_of_job(job: Job) -> Iterator[Moment]:
    """A job outside workflows: the request, its last attempt, what it waits for, and the verdict."""
    who = job.actor_id or "Somebody"
    names = ("actor_id", "request_id", "trace_id", "priority", "singleton_key")
    yield Moment(
        at=job.created_at,
        type="requested",
        title=f"{who} asked for it.",
        data={name: getattr(job, name) for name in names},
    )
    yield from _of_step(job, job.created_at)
    if job.status in (Job.Status.RUNNING, Job.Status.QUEUED):
        yield _waiting_for(job, _asked_at())
    yield from _verdict(job)


def _verdict(unit: Workflow | Job) -> Iterator[Moment]:
    if not unit.evaluated_at:
        return
    problem = f": {unit.problem_type}" if unit.problem_type else ""
    yield Moment(
        at=unit.evaluated_at,
        type="evaluated",
        title=f"The evaluator found it {unit.status_category}{problem}.",
        data={
            "status_category": unit.status_category,
            "problem_type": unit.problem_type,
            "problem_details": unit.problem_details,
        },
    )


def _asked_at() -> datetime:
    """The database's clock, by which everything is timed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        now: datetime = cursor.fetchone()[0]
        return now


def _request(workflow: Workflow) -> Moment:
    request = workflow.miniapp_req if isinstance(workflow.miniapp_req, dict) else {}
    data = workflow.data if isinstance(workflow.data, dict) else {}
    who = workflow.user_id or workflow.actor_id
    return Moment(
        at=workflow.created_at,
        type="requested",
        title=f"{f'User {who}' if workflow.user_id else who or 'Somebody'} asked for it.",
        data={
            "user_id": workflow.user_id,
            "session_id": workflow.session_id,
            "actor_id": workflow.actor_id,
            "collection_id": str(workflow.collection_id) if workflow.collection_id else None,
            "collection_name": short(data.get("collection_name")),
            "request_id": workflow.request_id,
            "trace_id": workflow.trace_id,
            "priority": workflow.priority,
            "total_steps": workflow.total_steps,
            "metadata": bounded(request.get("metadata")),
        },
    )


def _run_before(retry: dict[str, Any]) -> Iterator[Moment]:
    """The end of the run before the last retry, which the retry has noted."""
    previous = retry.get("previous")
    failed_at = _time_of(previous.get("failed_at")) if isinstance(previous, dict) else None
    if isinstance(previous, dict) and failed_at and isinstance(retry.get("run"), int):
        yield run_ended(
            retry["run"] - 1, failed_at, short(previous.get("status")), error_of(previous.get("error"))
        )


def _time_of(text: Any) -> datetime | None:
    try:
        moment = parse_datetime(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return moment if moment and moment.tzinfo else None


def tell_of_steps(workflow: Workflow) -> Iterator[Moment]:
    """When each step was queued, its last attempt, and what is waited for now."""
    fields = ("payload", "original_payload", "ctx", "result", "problem_details", "retry_policy")
    steps = list(
        Job.objects.filter(workflow=workflow)
        .annotate(asked_at=Now())
        .defer(*fields)
        .order_by("step_index", "pk")[:STEPS_MAX]
    )
    before: Job | None = None
    for step in steps:
        yield from _of_step(step, _queued_at(step, before, workflow))
        before = step
    live = next((step for step in steps if step.status in (Job.Status.RUNNING, Job.Status.QUEUED)), None)
    if live and workflow.status == Workflow.Status.RUNNING:
        asked_at: datetime = live.asked_at  # type: ignore[attr-defined]  # annotated
        yield _waiting_for(live, asked_at)
    elif workflow.ended_at:
        yield from _waiting_for_word(workflow, steps)


def _of_step(step: Job, queued_at: datetime | None) -> Iterator[Moment]:
    if queued_at:
        yield Moment(
            at=queued_at,
            type="queued",
            title=f"Queued for {step.name}.",
            job_id=step.pk,
            step=step.step_name or step.name,
            data={
                "kind": step.kind,
                "service_required": step.service_required,
                "queue": step.queue,
                "priority": step.priority,
                "max_attempts": step.max_attempts,
                "expires_at": step.expires_at,
            },
        )
    if step.attempt and step.started_at:
        yield attempt_started(step.pk, step.attempt, step.started_at, step.worker)
    if step.ended_at:
        yield _end_of(step, step.ended_at)


def _end_of(step: Job, ended_at: datetime) -> Moment:
    error = error_of(step.error) if step.status != Job.Status.COMPLETED else None
    if _ended_in_attempt(step, ended_at):
        return attempt_ended(
            step.pk,
            step.attempt,
            ended_at,
            began_at=step.started_at,
            outcome=step.status,
            worker=step.worker,
            error=error,
        )
    return step_ended(step.pk, ended_at, status=step.status, is_begun=step.attempt > 0, error=error)


def _ended_in_attempt(step: Job, ended_at: datetime) -> bool:
    """Whether its last attempt was its end, or it ended later, in the queue.

    An attempt begins no sooner than it is due: of one that was due only after the last had begun it was in the queue.
    """
    if not (step.attempt and step.started_at):
        return False
    was_queued = step.run_at > step.started_at
    if step.status == Job.Status.CANCELLED:
        return not was_queued
    code = step.error.get("code") if isinstance(step.error, dict) else None
    # A worker may say "expired" of anything; a job has expired when it ended after it had to be begun.
    has_expired = code == "expired" and step.expires_at is not None and step.expires_at <= ended_at
    return not (step.status == Job.Status.FAILED and has_expired and was_queued)


def _queued_at(step: Job, before: Job | None, workflow: Workflow) -> datetime | None:
    """When a step could first be taken: the first at once, the others when the one before had completed."""
    if before is None or step.step_index is None:
        return step.created_at
    has_had_its_turn = step.is_filled_in or step.attempt > 0 or step.status == Job.Status.QUEUED
    if not (has_had_its_turn and before.completed_at):
        return None
    return _retried_after(before.completed_at, workflow) or before.completed_at


def _retried_after(completed_at: datetime, workflow: Workflow) -> datetime | None:
    """When the run was retried that had ended before this step completed: until then nothing was queued behind it."""
    retry = workflow.retry_execution_data if isinstance(workflow.retry_execution_data, dict) else {}
    previous = retry.get("previous")
    failed_at = _time_of(previous.get("failed_at")) if isinstance(previous, dict) else None
    retried_at = _time_of(retry.get("requested_at"))
    return retried_at if failed_at and retried_at and failed_at < completed_at < retried_at else None


def _waiting_for(step: Job, asked_at: datetime) -> Moment:
    return Moment(
        at=asked_at,
        type="waiting",
        title=_why_waiting(step, asked_at),
        job_id=step.pk,
        attempt=step.attempt if step.status == Job.Status.RUNNING else step.attempt + 1,
        data={
            "status": step.status,
            "worker": step.worker if step.status == Job.Status.RUNNING else None,
            "run_at": step.run_at,
            "expires_at": step.expires_at,
            "lease_expires_at": step.lease_expires_at,
            "progress": step.progress,
            "last_error": error_of(step.error) if step.status == Job.Status.QUEUED else None,
        },
    )


def _why_waiting(step: Job, now: datetime) -> str:
    if step.status == Job.Status.RUNNING:
        stopping = ", which was asked to stop" if step.cancel_requested_at else ""
        return f"Waiting for {step.worker or 'its worker'} at attempt {step.attempt}{stopping}."
    if step.run_at > now:
        return f"Waiting for {step.run_at:%Y-%m-%d %H:%M:%S} UTC, when attempt {step.attempt + 1} is due."
    if Queue.objects.filter(name=step.queue, is_remote=step.is_remote, paused_at__isnull=False).exists():
        return f"Waiting for {step.queue!r} to be resumed: it is paused."
    if step.is_remote:
        return f"Waiting for a worker that offers {step.service_required!r}."
    return f"Waiting for a cluster of the queue {step.queue!r}."


def is_told(workflow: Workflow) -> bool:
    """Whether nobody is to be told any more: where there is no user, whoever took the webhook has been."""
    told = Workflow.NotificationStatus
    is_told_by_delivery = workflow.notification_status == told.DELIVERED and not workflow.user_id
    return workflow.notification_status == told.TOLD or is_told_by_delivery


def _waiting_for_word(workflow: Workflow, steps: Sequence[Job]) -> Iterator[Moment]:
    """What has to happen for the user to be told."""
    told = Workflow.NotificationStatus
    titles = {
        told.OWED: "Waiting for the webhook to be delivered.",
        told.DELIVERED: "Waiting for the app to confirm, by user_notified, that its user knows.",
        told.FAILED: "The webhook could not be delivered: waiting for somebody to re-notify.",
    }
    title = titles.get(told(workflow.notification_status))
    if title and steps and not is_told(workflow):
        asked_at: datetime = steps[0].asked_at  # type: ignore[attr-defined]  # annotated
        yield Moment(
            at=asked_at,
            type="waiting",
            title=title,
            data={"notification_status": workflow.notification_status},
        )


def tell_of_events(workflow: Workflow) -> Iterable[Moment]:
    """Who asked for what, and who knows; log lines and progress are summed up elsewhere.

    What a session's stream says is told by its steps, its end and its transactions.
    """
    return _of_events(Event.objects.filter(workflow=workflow), its_job="the step")


def tell_of_events_of_job(job: Job) -> Iterable[Moment]:
    """Who asked what of a job outside workflows."""
    return _of_events(Event.objects.filter(job=job), its_job="the job")


def _of_events(events: QuerySet[Event], *, its_job: str) -> Iterator[Moment]:
    told_elsewhere = (
        Event.Type.LOG,
        Event.Type.PROGRESS,
        Event.Type.STATUS,
        Event.Type.TRANSACTION,
        Event.Type.COMPLETE,
        Event.Type.ERROR,
    )
    found = (
        events.exclude(type__in=told_elsewhere)
        .annotate(
            in_all=Window(Count("*")),
            is_edited=Q(data__has_key="after"),
            **{f"its_{name}": F(f"data__{name}") for name in EVENT_DATA},
        )
        .order_by("-id")
        .values(
            "id", "type", "job_id", "created_at", "in_all", "is_edited", *(f"its_{n}" for n in EVENT_DATA)
        )
    )
    rows = list(found[:SOURCE_ROWS_MAX])
    if rows and rows[0]["in_all"] > len(rows):
        yield left_out("events", rows[0]["in_all"] - len(rows))
    yield from (_of_event(row, its_job) for row in reversed(rows))


def _of_event(row: dict[str, Any], its_job: str) -> Moment:
    data = {name: bounded(row[f"its_{name}"]) for name in EVENT_DATA if row[f"its_{name}"] not in (None, "")}
    if row["is_edited"]:
        data["is_edited"] = True
    return Moment(
        at=row["created_at"],
        type=row["type"],
        title=_title_of(row["type"], data, its_job if row["job_id"] else "the workflow"),
        job_id=row["job_id"],
        data=data,
    )


def _title_of(type_: str, data: dict[str, Any], it: str) -> str:
    by = short(data.get("by", "Somebody"), TITLE_TEXT_MAX)
    reason = f": {short(str(data['reason']).rstrip('.'), TITLE_TEXT_MAX)}" if data.get("reason") else ""
    match type_:
        case Event.Type.CANCEL_REQUESTED:
            return f"{by} asked {it} to stop{reason}."
        case Event.Type.CANCELLED:
            return f"{by} cancelled {it}{reason}."
        case Event.Type.RETRIED:
            edited = " with another payload" if data.get("is_edited") else ""
            return f"{by} had {it} run again{edited}{reason}."
        case Event.Type.RENOTIFIED:
            return f"{by} had the user told once more{reason}."
        case Event.Type.REMINDER_DUE:
            return "A reminder was asked for."
        case Event.Type.USER_NOTIFIED:
            how = f", by {data['method']}" if data.get("method") else ""
            return f"User {data.get('user_id', '')} knows of it{how}."
        case Event.Type.UPSTREAM_ENDED:
            return f"An upstream says that it ended as {data.get('status', 'it does not say what')}."
    return f"{str(type_).replace('_', ' ').capitalize()}."
