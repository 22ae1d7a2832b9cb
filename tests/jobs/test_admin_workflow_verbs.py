"""What operators do to workflows in the admin: retry and cancel, from the list and from the page."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from jobs.models import Event, Tenant, Workflow
from tests.factories import claim_one, make_endpoint, make_operator, make_workflow
from tests.jobs.stepping import complete, fail, make_steps, statuses
from tests.operations import came_to, ended_alone, entries_of

WORKFLOWS = reverse("admin:jobs_workflow_changelist")


@pytest.fixture
def operator(db: None) -> Client:
    return client_of("jobs.view_workflow", "jobs.change_workflow", name="alice")


def client_of(*permissions: str, name: str = "") -> Client:
    client = Client()
    client.force_login(make_operator(*permissions, name=name))
    return client


def act(client: Client, action: str, *workflows: Workflow, **fields: str) -> Any:
    posted = {"action": action, "_selected_action": [str(each.pk) for each in workflows], **fields}
    return client.post(WORKFLOWS, posted)


def told(response: Any) -> list[str]:
    return sorted(str(message) for message in get_messages(response.wsgi_request))


def page_of(workflow: Workflow) -> str:
    return reverse("admin:jobs_workflow_change", args=[workflow.pk])


def test_failed_workflows_run_again_and_the_refused_are_counted(operator: Client, tenant: Tenant) -> None:
    failed, (one, two) = make_steps(tenant, count=2)
    complete(one)
    two.refresh_from_db()
    fail(two)
    running, done = make_workflow(tenant), make_workflow(tenant, status="completed")

    asked = act(operator, "retry_workflows", failed, running, done)
    assert statuses(failed) == ["failed", "completed", "failed"]
    response = act(
        operator, "retry_workflows", failed, running, done, confirmed="1", reason="Canvas has come."
    )
    operation = ended_alone(response)

    html = asked.content.decode()
    assert "Retry 3 workflows?" in html
    assert 'name="reason"' in html
    assert came_to(operation) == (
        {"running again": 1},
        {
            "The workflow is completed; only a failed one is retried.": 1,
            "The workflow is running; only a failed one is retried.": 1,
        },
    )
    assert statuses(failed) == ["running", "completed", "queued"]
    assert (failed.retry_execution_data["by"], failed.retry_execution_data["reason"]) == (
        "alice",
        "Canvas has come.",
    )
    (entry,) = (entry for entry in entries_of(operation) if not entry.is_refused)
    assert (entry.object_id, entry.action, entry.reason) == (str(failed.pk), "retry", "Canvas has come.")


def test_cancelling_asks_first_and_says_whether_it_is_over(operator: Client, tenant: Tenant) -> None:
    queued, _ = make_steps(tenant, name="queued", count=2)
    act(operator, "cancel_workflows", queued)
    assert statuses(queued) == ["running", "queued", "waiting"]
    over = act(operator, "cancel_workflows", queued, confirmed="1", from_page="1", reason="Too dear.")
    running, (one, _) = make_steps(tenant, name="running", count=2)
    claim_one(one)

    asked = act(operator, "cancel_workflows", running, confirmed="1", from_page="1")

    assert told(over) == ["1 workflow cancelled."]
    assert "1 workflow asked to stop." in told(asked)
    assert statuses(queued) == ["cancelled"] * 3
    assert statuses(running) == ["running", "running", "waiting"]
    assert Event.objects.get(workflow=queued).data == {"by": "alice", "reason": "Too dear."}
    assert LogEntry.objects.count() == 2


@pytest.mark.parametrize(
    ("status", "offered"),
    [
        ("running", {"cancel_workflows"}),
        ("failed", {"retry_workflows", "renotify_workflows"}),
        ("completed", {"renotify_workflows"}),
        ("cancelled", {"renotify_workflows"}),
    ],
)
def test_a_workflows_page_offers_what_its_status_allows(
    operator: Client, tenant: Tenant, status: str, offered: set[str]
) -> None:
    make_endpoint(tenant)
    workflow = make_workflow(tenant, status=status)

    html = operator.get(page_of(workflow)).content.decode()

    verbs = ("retry_workflows", "cancel_workflows", "renotify_workflows")
    assert {verb for verb in verbs if f'value="{verb}"' in html} == offered


def test_acting_from_the_page_leads_back_to_it_and_into_its_story(operator: Client, tenant: Tenant) -> None:
    workflow, _ = make_steps(tenant, count=1)

    response = act(operator, "cancel_workflows", workflow, from_page="1", confirmed="1", reason="Too dear.")

    assert response["Location"] == page_of(workflow)
    assert "Too dear." in operator.get(page_of(workflow)).content.decode()


def test_a_viewer_neither_sees_the_verbs_nor_does_them(tenant: Tenant) -> None:
    viewer = client_of("jobs.view_workflow")
    workflow, _ = make_steps(tenant, count=1)
    failed = make_workflow(tenant, status="failed")

    for row in (workflow, failed):
        assert "_workflows" not in viewer.get(page_of(row)).content.decode()
    for action in ("cancel_workflows", "retry_workflows"):
        act(viewer, action, workflow, failed, confirmed="1")

    assert statuses(workflow) == ["running", "queued"]
    assert statuses(failed) == ["failed"]
    assert not Event.objects.exists()
