"""Takes the steps of a workflow through their lives, as workers and time would."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from jobs.models import Job, Tenant, Workflow
from jobs.queue.sweep import sweep
from jobs.services.jobs import complete_job, fail_job
from jobs.services.workflows import Step, start_workflow
from tests.factories import claim_one

URL = "https://example.com/1.png"


def make_steps(tenant: Tenant, count: int = 3, name: str = "w", **fields: Any) -> tuple[Workflow, list[Job]]:
    """A workflow of steps called one, two, three, each for a service of that name and wanting the `url` before it."""
    names = ["one", "two", "three"][:count]
    payloads: list[Any] = [{}, *({"image": f"${{steps.{before}.result.url}}"} for before in names)]
    steps = [
        Step(name=each, service_required=each, payload=payload, options={"max_attempts": 1})
        for each, payload in zip(names, payloads, strict=False)
    ]
    return start_workflow(
        tenant, **{"workflow_id": name, "steps": steps, "actor_id": "test", "data": {}, **fields}
    )


def complete(job: Job, result: Any = None) -> None:
    row = claim_one(job)
    complete_job(job, row.lease_token, {"url": URL} if result is None else result)
    job.refresh_from_db()


def fail(job: Job, message: str = "It broke.") -> None:
    row = claim_one(job)
    fail_job(job, row.lease_token, "broken", message, is_retryable=False)
    job.refresh_from_db()


def expire(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    sweep()
    job.refresh_from_db()
    assert job.status == "failed"


def statuses(workflow: Workflow) -> list[str]:
    """The workflow's status, then those of its steps."""
    workflow.refresh_from_db()
    return [workflow.status, *workflow.jobs.order_by("step_index").values_list("status", flat=True)]
