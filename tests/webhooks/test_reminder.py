"""requests.reminder: whether a user is due one is found out within the tenant, and recorded once."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.models import Event, Job, Tenant, Workflow
from jobs.queue.enqueue import enqueue_job
from jobs.queue.envelope import JobEnvelope
from jobs.testing import RunJobs
from tests.conftest import ApiClient
from tests.factories import make_job, make_workflow
from tests.jobs.test_api_access import assert_problem
from webhooks.job_handlers import Reminder, remind


def enqueue_reminder(tenant: Tenant | None, request_id: str) -> None:
    tenant_id = tenant.pk if tenant else None
    enqueue_job("requests.reminder", {"requestId": request_id}, tenant_id=tenant_id)


@pytest.mark.parametrize("status", ["none", "owed", "delivered", "failed"])
def test_a_user_who_has_not_been_told_is_due_a_reminder(
    tenant: Tenant, run_jobs: RunJobs, status: str
) -> None:
    workflow = make_workflow(tenant, user_id="user-123", notification_status=status)
    enqueue_reminder(tenant, workflow.workflow_id)

    (job,) = run_jobs()

    assert (job.status, job.result) == (
        "completed",
        {"requestId": workflow.workflow_id, "reminder": "due"},
    )
    event = Event.objects.get()
    assert (event.type, event.tenant, event.workflow, event.job) == ("reminder_due", tenant, workflow, job)
    assert event.data == {"user_id": "user-123"}


def test_a_user_who_has_been_told_needs_none(tenant: Tenant, run_jobs: RunJobs) -> None:
    workflow = make_workflow(tenant, notification_status="told")
    enqueue_reminder(tenant, workflow.workflow_id)

    (job,) = run_jobs()

    assert (job.status, job.result) == (
        "completed",
        {"requestId": workflow.workflow_id, "reminder": "not_needed"},
    )
    assert not Event.objects.exists()


def test_two_runs_of_one_job_record_it_once_and_two_jobs_twice(tenant: Tenant) -> None:
    workflow = make_workflow(tenant)
    first, second = make_job(tenant), make_job(tenant)

    answers = [remind(envelope_of(job, workflow)) for job in (first, first, second)]

    assert answers == [{"requestId": workflow.workflow_id, "reminder": "due"}] * 3
    assert list(Event.objects.values_list("job_id", flat=True)) == [first.pk, second.pk]


def envelope_of(job: Job, workflow: Workflow) -> JobEnvelope[Reminder]:
    return JobEnvelope(
        job_id=job.pk,
        attempt=1,
        tenant_id=job.tenant_id,
        actor_id="",
        trace_id=job.trace_id,
        request_id="",
        payload=Reminder(workflow.workflow_id),
    )


def test_another_tenants_workflow_and_an_unknown_one_fail_at_the_first_attempt(
    tenant: Tenant, other_tenant: Tenant, run_jobs: RunJobs
) -> None:
    theirs = make_workflow(other_tenant)
    enqueue_reminder(tenant, theirs.workflow_id)
    enqueue_reminder(tenant, "nothing")
    enqueue_reminder(None, theirs.workflow_id)

    refused = run_jobs()

    ends = [(job.status, job.attempt, job.error and job.error["code"]) for job in refused]
    assert ends == [("failed", 1, "workflow_not_found")] * 3
    assert not Event.objects.exists()


def test_two_tenants_may_call_a_workflow_the_same(
    tenant: Tenant, other_tenant: Tenant, run_jobs: RunJobs
) -> None:
    mine = make_workflow(tenant, workflow_id="order-7")
    make_workflow(other_tenant, workflow_id="order-7", notification_status="told")
    enqueue_reminder(tenant, "order-7")

    (job,) = run_jobs()

    assert job.result == {"requestId": "order-7", "reminder": "due"}
    assert Event.objects.get().workflow == mine


def test_a_reminder_can_be_enqueued_over_rest(api: ApiClient, tenant: Tenant, run_jobs: RunJobs) -> None:
    workflow = make_workflow(tenant)
    body = {"jobName": "requests.reminder", "payload": {"requestId": workflow.workflow_id}}

    response = api.send("post", "/api/jobs/enqueue", body)

    assert response.status_code == 201
    (job,) = run_jobs()
    assert str(job.pk) == response.json()["data"]["jobId"]
    assert (job.status, job.result and job.result["reminder"]) == ("completed", "due")


@pytest.mark.parametrize(
    ("payload", "pointer"),
    [
        ({}, "/payload/requestId"),
        ({"requestId": 7}, "/payload/requestId"),
        ({"requestId": None}, "/payload/requestId"),
        ({"requestId": "order-7", "request_id": "order-7"}, "/payload/request_id"),
    ],
)
def test_a_wrong_payload_is_422_naming_the_field(
    api: ApiClient, payload: dict[str, Any], pointer: str
) -> None:
    body = {"jobName": "requests.reminder", "payload": payload}

    problem = assert_problem(api.send("post", "/api/jobs/enqueue", body), 422, "invalid")

    assert [error["pointer"] for error in problem["errors"]] == [pointer]  # type: ignore[attr-defined]
    assert not Job.objects.exists()
