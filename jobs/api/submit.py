"""What a client may ask for when it submits jobs, and how that becomes rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.db import transaction
from rest_framework import serializers

from jobs.api.fields import (
    INT4_MAX,
    BoundedListField,
    NameField,
    NumberField,
    ObjectField,
    StrictSerializer,
    WorkflowIdField,
)
from jobs.errors import FieldProblem, InvalidInput
from jobs.models import ApiKey, Job
from jobs.queue.enqueue import NewJob, add_job
from jobs.queue.handlers import get_handler, served_queues
from jobs.services.workflows import NewWorkflow, Step, add_jobs, start_workflows, store_workflows

MAX_JOBS = 1_000
MAX_DELAYS = 100
YEAR_SECONDS = 31_536_000


class RetryPolicySerializer(StrictSerializer):
    """How soon a job is tried again, where it is to be otherwise than its kind says. Seconds.

    Either `delays`, the wait after the first, second … failure, or the others: `delay_seconds` times `backoff`
    for each failure, up to `cap_seconds`. Up to `jitter`, a share, comes on top.
    """

    delay_seconds = NumberField(required=False, min_value=0, max_value=YEAR_SECONDS)
    backoff = NumberField(required=False, min_value=1, max_value=100)
    cap_seconds = NumberField(required=False, min_value=0, max_value=YEAR_SECONDS)
    jitter = NumberField(required=False, min_value=0, max_value=1)
    delays = BoundedListField(
        child=NumberField(min_value=0, max_value=YEAR_SECONDS),
        required=False,
        min_length=1,
        max_length=MAX_DELAYS,
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "delays" in attrs and attrs.keys() & {"delay_seconds", "backoff", "cap_seconds"}:
            message = "Either delays, or delay_seconds, backoff and cap_seconds."
            raise serializers.ValidationError(
                {"delays": [serializers.ErrorDetail(message, code="delays_or_backoff")]}
            )
        return attrs


class NewJobSerializer(StrictSerializer):
    """A job to be submitted: exactly one of `kind` (in-house) and `service_required` (remote workers)."""

    kind = NameField(required=False, help_text="An in-house handler, like `system.ping`.")
    service_required = NameField(required=False, help_text="What a remote worker must offer.")
    payload = ObjectField(required=False, default=dict)
    ctx = ObjectField(required=False, default=dict)
    queue = serializers.ChoiceField(choices=settings.QUEUES, required=False, help_text="In-house only.")
    priority = serializers.IntegerField(required=False, default=50, min_value=0, max_value=100)
    run_at = serializers.DateTimeField(required=False, default=None)
    max_attempts = serializers.IntegerField(required=False, default=None, min_value=1, max_value=1_000)
    retry = RetryPolicySerializer(required=False)
    timeout_seconds = serializers.IntegerField(
        required=False, default=None, min_value=1, max_value=settings.JOB_TIMEOUT_SECONDS_MAX
    )
    expires_in_seconds = serializers.IntegerField(
        required=False, default=None, min_value=1, max_value=INT4_MAX
    )
    singleton_key = NameField(required=False, default="", max_length=200)
    workflow_id = WorkflowIdField(
        required=False,
        help_text="Makes the job a workflow of this name, which may not end in `:attempt-1` or the like, as "
        "attestation keys do.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("kind" in attrs) == ("service_required" in attrs):
            raise serializers.ValidationError(
                "Give either kind or service_required.", code="kind_or_service_required"
            )
        if "queue" in attrs and "service_required" in attrs:
            message = "A remote job waits for its service; only an in-house kind takes a queue."
            raise serializers.ValidationError(
                {"queue": [serializers.ErrorDetail(message, code="in_house_only")]}
            )
        return attrs


class BulkSerializer(StrictSerializer):
    """Jobs to be submitted together."""

    jobs = BoundedListField(child=NewJobSerializer(), min_length=1, max_length=MAX_JOBS)


class EnqueueSerializer(StrictSerializer):
    """A background job in a tenant envelope."""

    jobName = NameField()  # noqa: N815  the wire's own spelling
    payload = ObjectField(required=False, default=dict)


def submit_job(key: ApiKey, actor_id: str, asked: dict[str, Any]) -> Job:
    """Store what NewJobSerializer has validated, as a job or as a workflow of one.

    Raises InvalidInput for an unknown kind, a wrong payload or a queue that nobody serves, and WorkflowExists.
    """
    if "kind" in asked:
        get_handler(asked["kind"], for_client=True)
    _refuse_unserved_queue(asked)
    if "workflow_id" in asked:
        ((_, jobs),) = start_workflows(key.tenant, [_new_workflow(actor_id, asked)])
        return jobs[0]
    return add_job(_new_job(key, actor_id, asked))


def submit_jobs(key: ApiKey, actor_id: str, asked: Sequence[dict[str, Any]]) -> list[Job]:
    """Store what BulkSerializer has validated, all or none; the jobs come in the order given.

    The number of statements does not grow with them, but for those whose singleton key is taken. Raises
    InvalidInput naming every kind that does not exist, every payload that its kind does not take and every
    queue that nobody serves, and WorkflowExists.
    """
    _refuse_what_no_handler_takes(asked)
    with transaction.atomic():
        stored = store_workflows(
            key.tenant, [_new_workflow(actor_id, job) for job in asked if "workflow_id" in job]
        )
        of_workflows = (new_jobs[0] for _, new_jobs in stored)
        return add_jobs(
            [next(of_workflows) if "workflow_id" in job else _new_job(key, actor_id, job) for job in asked]
        )


def _refuse_what_no_handler_takes(asked: Sequence[dict[str, Any]]) -> None:
    problems: list[FieldProblem] = []
    for index, job in enumerate(asked):
        try:
            if "kind" in job:
                get_handler(job["kind"], for_client=True).parse(job["payload"])
            _refuse_unserved_queue(job)
        except InvalidInput as error:
            problems += [replace(found, pointer=f"/jobs/{index}{found.pointer}") for found in error.errors]
    if problems:
        raise InvalidInput("Not all of the jobs can be accepted, so none was stored.", errors=problems)


def _refuse_unserved_queue(asked: dict[str, Any]) -> None:
    # `up` starts clusters for the served queues alone: in another the job would lie for ever.
    if "queue" in asked and asked["queue"] not in served_queues():
        detail = f"No handler of this installation uses the queue {asked['queue']!r}."
        raise InvalidInput.at("/queue", "queue_not_served", detail)


def _new_job(key: ApiKey, actor_id: str, asked: dict[str, Any]) -> NewJob:
    return NewJob(
        tenant_id=key.tenant_id,
        kind=asked.get("kind", ""),
        service_required=asked.get("service_required", ""),
        payload=asked["payload"],
        priority=asked["priority"],
        actor_id=actor_id,
        **_options(asked),
    )


def _new_workflow(actor_id: str, asked: dict[str, Any]) -> NewWorkflow:
    kind, service = asked.get("kind", ""), asked.get("service_required", "")
    payload, ctx = asked["payload"], asked["ctx"]
    step = Step(name="job", kind=kind, service_required=service, payload=payload, options=_options(asked))
    return NewWorkflow(
        workflow_id=asked["workflow_id"],
        steps=[step],
        actor_id=actor_id,
        data={"kind": kind, "service_required": service, "payload": payload, "ctx": ctx},
        miniapp_req=ctx.get("miniapp_req"),
        priority=asked["priority"],
    )


NOT_OPTIONS = {"kind", "service_required", "payload", "priority", "workflow_id"}


def _options(asked: dict[str, Any]) -> dict[str, Any]:
    """What was given besides; what was not is the kind's or the platform's to say."""
    return {
        name: value for name, value in asked.items() if name not in NOT_OPTIONS and value not in (None, "")
    }
