"""Operators have users told once more: from the list and the pages of workflows and jobs."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest
from django.test import Client

from jobs.models import Event, Job, Tenant, Workflow
from tests.factories import make_delivery, make_job, make_message, make_operator, make_workflow
from tests.operations import came_to, ended_alone
from tests.webhooks.pages import act, client_of, page_of, shown, told
from webhooks.models import Endpoint, Message
from webhooks.services.messages import iso


@pytest.fixture
def operator(known_content_types: None) -> Client:
    rights = ("jobs.view_workflow", "jobs.change_workflow", "jobs.view_job", "jobs.change_job")
    return client_of(make_operator(*rights, name="alice"))


def test_workflows_are_told_of_once_more_and_the_refused_counted(
    operator: Client, tenant: Tenant, endpoint: Endpoint
) -> None:
    failed = make_workflow(tenant, status="completed", notification_status="failed")
    known = make_workflow(tenant, status="completed", notification_status="told")
    running = make_workflow(tenant)

    asked = act(operator, "renotify_workflows", failed, known, running)
    assert not Message.objects.exists()
    response = act(
        operator, "renotify_workflows", failed, known, running, confirmed="1", reason="The app was down."
    )
    operation = ended_alone(response)

    assert "Re-notify 3 workflows?" in asked.content.decode()
    assert came_to(operation) == (
        {"announced once more": 1},
        {
            "The workflow is running; there is nothing to tell yet.": 1,
            "The workflow's user has been told.": 1,
        },
    )
    message = Message.objects.get()
    assert message.workflow == failed
    assert Event.objects.get().data == {
        "by": "alice",
        "reason": "The app was down.",
        "message_id": str(message.pk),
    }
    assert "The app was down." in shown(operator, page_of(failed))


@pytest.mark.parametrize(
    ("fields", "is_offered"),
    [
        ({"status": "running"}, False),
        ({"status": "completed", "notification_status": "told"}, False),
        ({"status": "completed", "notification_status": "delivered", "user_id": "user-1"}, True),
        ({"status": "completed", "notification_status": "delivered"}, False),
        ({"status": "failed", "notification_status": "failed"}, True),
    ],
)
def test_a_workflows_page_offers_it_where_there_is_something_to_tell(
    operator: Client, tenant: Tenant, endpoint: Endpoint, fields: dict[str, str], is_offered: bool
) -> None:
    workflow = make_workflow(tenant, **fields)

    assert ('value="renotify_workflows"' in shown(operator, page_of(workflow))) == is_offered


def test_a_job_is_told_of_once_more_from_its_page(
    operator: Client, tenant: Tenant, endpoint: Endpoint
) -> None:
    job = make_job(tenant, status="completed")
    make_delivery(endpoint, make_message(tenant, job=job), status="failed")
    assert 'value="renotify_jobs"' in shown(operator, page_of(job))

    response = act(operator, "renotify_jobs", job, confirmed="1", from_page="1")

    assert response["Location"] == page_of(job)
    assert told(response) == ["1 job announced once more."]
    assert Message.objects.filter(job=job).count() == 2


@pytest.mark.parametrize("how", ["unheard", "delivered before"])
def test_a_jobs_page_offers_it_where_nobody_has_taken_the_message_of_its_last_end(
    operator: Client, tenant: Tenant, endpoint: Endpoint, how: str
) -> None:
    job = make_job(tenant, status="completed")
    if how == "delivered before":
        told_of_end(job, endpoint, job.created_at - timedelta(hours=1), status="delivered")
        told_of_end(job, endpoint, job.completed_at, status="failed")
    assert 'value="renotify_jobs"' in shown(operator, page_of(job))

    response = act(operator, "renotify_jobs", job, confirmed="1", from_page="1")

    assert told(response) == ["1 job announced once more."]


def test_where_nobody_listens_it_is_not_offered(operator: Client, tenant: Tenant) -> None:
    workflow, job = make_workflow(tenant, status="failed"), make_job(tenant, status="completed")

    assert "renotify" not in shown(operator, page_of(workflow)) + shown(operator, page_of(job))


def told_of_end(job: Job, endpoint: Endpoint, at: datetime | None, *, status: str) -> None:
    """A message of one end of a job, and what has become of it."""
    body = {"type": "job.completed", "data": {"ended_at": iso(at)}}
    message = make_message(job.tenant, job=job, body=json.dumps(body).encode())
    make_delivery(endpoint, message, status=status)


@pytest.mark.parametrize("how", ["delivered", "queued", "step"])
def test_a_jobs_page_does_not_offer_it_where_it_would_be_refused(
    operator: Client, tenant: Tenant, endpoint: Endpoint, how: str
) -> None:
    workflow = make_workflow(tenant) if how == "step" else None
    status = "queued" if how == "queued" else "completed"
    job = make_job(tenant, status=status, workflow=workflow, step_index=0 if workflow else None)
    told_of_end(job, endpoint, job.completed_at, status="delivered" if how == "delivered" else "failed")

    assert "renotify_jobs" not in shown(operator, page_of(job))


def test_a_viewer_neither_sees_it_nor_does_it(
    known_content_types: None, tenant: Tenant, endpoint: Endpoint
) -> None:
    viewer = client_of(make_operator("jobs.view_workflow", "jobs.view_job"))
    workflow = make_workflow(tenant, status="completed", notification_status="failed")
    job = make_job(tenant, status="completed")
    make_delivery(endpoint, make_message(tenant, job=job), status="failed")

    assert "renotify" not in shown(viewer, page_of(workflow)) + shown(viewer, page_of(job))
    for action, row in (("renotify_workflows", workflow), ("renotify_jobs", job)):
        act(viewer, action, row, confirmed="1")

    assert Message.objects.count() == 1
    assert Workflow.objects.get().notification_status == "failed"
    assert Job.objects.get().status == "completed"
