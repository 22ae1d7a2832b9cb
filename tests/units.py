"""Units of work as the evaluator meets them: healthy ones, and the faults that are injected into them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from attestations.models import Attestation
from jobs.models import Collection, Job, Tenant, Workflow
from tests.factories import (
    make_attestation,
    make_collection,
    make_delivery,
    make_job,
    make_message,
    make_workflow,
)
from webhooks.models import Endpoint, Message

Unit = Workflow | Job
PICTURE = "https://cdn.example.com/output.png"
LONG_AGO = timedelta(hours=2)
_count = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Whose units are made: a tenant with a collection."""

    tenant: Tenant
    collection: Collection

    @classmethod
    def of(cls, tenant: Tenant) -> Place:
        return cls(tenant=tenant, collection=make_collection(tenant))


def ended(ago: timedelta = LONG_AGO) -> datetime:
    return timezone.now() - ago


def make_generation(place: Place, **fields: Any) -> Workflow:
    """A generation of two steps that completed two hours ago, is attested, and whose user has been told."""
    at = fields.get("completed_at") or ended()
    workflow = make_workflow(
        place.tenant,
        **{
            "collection": place.collection,
            "user_id": f"user-{next(_count)}",
            "status": "completed",
            "total_steps": 2,
            "outputs": [PICTURE],
            "notification_status": "told",
            "data": {"collection_id": str(place.collection.pk), "variables": {"prompt": "a lake"}},
            "completed_at": at,
            **fields,
        },
    )
    for index, name in enumerate(["paint", "frame"]):
        job = make_step(workflow, index, name, completed_at=at)
        attest(job)
    attest_run(workflow)
    return workflow


def make_step(workflow: Workflow, index: int, name: str, **fields: Any) -> Job:
    fields = {
        "service_required": "artgen",
        "status": "completed",
        "attempt": 1,
        "worker": "art-1",
        "result": {"url": PICTURE},
        "started_at": ended(),
        **fields,
    }
    return make_job(workflow.tenant, workflow=workflow, step_index=index, step_name=name, **fields)


def make_lone_job(place: Place, **fields: Any) -> Job:
    """A job outside a workflow that completed two hours ago and is attested."""
    fields = {"status": "completed", "attempt": 1, "worker": "w-1", "result": {"pong": "1"}, **fields}
    if fields["status"] == "completed":
        fields.setdefault("completed_at", ended())
    job = make_job(place.tenant, **fields)
    for attempt in range(1, job.attempt + 1):
        attest(job, attempt)
    return job


def attest(job: Job, attempt: int = 1, **fields: Any) -> Attestation:
    """The attestation of an attempt; the last one is of how the job ended."""
    is_last = attempt == job.attempt
    status = job.status if is_last and job.status in ("completed", "cancelled") else "failed"
    word = "completion" if status == "completed" else "failure"
    earlier = f":attempt-{attempt - 1}" if attempt > 1 else ""
    return make_attestation(
        job,
        **{
            "attestation_key": f"worker-{word}:job-{job.pk}{earlier}",
            "attestation_type": f"worker_{word}",
            "status": status,
            "retry_attempt": attempt - 1,
            **fields,
        },
    )


def attest_run(workflow: Workflow, run: int | None = None, **fields: Any) -> Attestation:
    """The attestation of a workflow's run, by default of the one at hand."""
    run = run or workflow.attempt
    word = "completion" if workflow.status == "completed" else "failure"
    earlier = f":attempt-{run - 1}" if run > 1 else ""
    return make_attestation(
        None,
        **{
            "tenant": workflow.tenant,
            "workflow": workflow,
            "workflow_key": workflow.workflow_id,
            "entity_type": "workflow",
            "attestation_key": f"workflow-{word}:{workflow.workflow_id}{earlier}",
            "attestation_type": f"workflow_{word}",
            "status": workflow.status,
            "retry_attempt": run - 1,
            **fields,
        },
    )


def attest_failed_run(workflow: Workflow, run: int) -> Attestation:
    """The attestation of an earlier run, which a retry followed."""
    earlier = f":attempt-{run - 1}" if run > 1 else ""
    return attest_run(
        workflow,
        run=run,
        status="failed",
        attestation_type="workflow_failure",
        attestation_key=f"workflow-failure:{workflow.workflow_id}{earlier}",
    )


def make_failed(place: Place, error: dict[str, Any], **step: Any) -> Workflow:
    """A generation whose first step failed two hours ago after three attempts; attested."""
    at = ended()
    workflow = make_workflow(
        place.tenant,
        collection=place.collection,
        user_id=f"user-{next(_count)}",
        status="failed",
        total_steps=2,
        failed_at=at,
        error=error,
        notification_status="told",
    )
    fields = {"status": "failed", "failed_at": at, "attempt": 3, "result": None, "error": error, **step}
    job = make_step(workflow, 0, "paint", **fields)
    for attempt in range(1, job.attempt + 1):
        attest(job, attempt)
    make_step(workflow, 1, "frame", status="waiting", attempt=0, worker="", result=None, started_at=None)
    attest_run(workflow)
    return workflow


def make_running(place: Place, **step: Any) -> Workflow:
    """A generation whose first step is live, as `step` says."""
    workflow = make_workflow(place.tenant, collection=place.collection, user_id="user-1", total_steps=2)
    fields = {"attempt": 0, "worker": "", "result": None, "started_at": None, "status": "queued", **step}
    make_step(workflow, 0, "paint", **fields)
    make_step(workflow, 1, "frame", status="waiting", attempt=0, worker="", result=None, started_at=None)
    return workflow


def tell(unit: Unit, endpoint: Endpoint, *, status: str, ago: timedelta = LONG_AGO, **fields: Any) -> Message:
    """A message of the unit's end with its delivery to an endpoint."""
    at = timezone.now() - ago
    if isinstance(unit, Workflow):
        message = make_message(
            unit.tenant, type=f"workflow.{unit.status}", workflow=unit, workflow_run=unit.attempt
        )
    else:
        message = make_message(unit.tenant, type=f"job.{unit.status}", job=unit)
    Message.objects.filter(pk=message.pk).update(created_at=at)
    make_delivery(endpoint, message, status=status, **fields)
    return message
