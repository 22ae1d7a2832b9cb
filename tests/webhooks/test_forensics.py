"""The timeline of a workflow on the top floor: what was told to whom, how that fared, and who called."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from jobs.forensics.timeline import forensics_of
from jobs.models import Job, Tenant, Workflow
from jobs.services.workflows import retry_workflow
from tests.conftest import ApiClient, MakeEndpoint
from tests.factories import (
    make_attempt,
    make_collection,
    make_delivery,
    make_endpoint,
    make_job,
    make_message,
    make_operator,
    make_receipt,
    make_sender,
    make_workflow,
)
from tests.jobs.test_generations import generate, work
from tests.receivers import Receiver, answer
from tests.webhooks.calls import NOTIFIED, send
from webhooks.models import Delivery, Message
from webhooks.sending.loop import send_due
from webhooks.services.deliveries import redeliver

ONE_STEP = [{"name": "paint", "service_required": "artgen", "payload": {"prompt": "${variables.prompt}"}}]


def timeline_of(api: ApiClient, workflow_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.send("get", f"/api/workflows/{workflow_id}/forensics").json()[
        "timeline"
    ]
    return found


def test_the_whole_story_of_a_generation_is_in_order(
    api: ApiClient, tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint, secret: str
) -> None:
    make_endpoint(event_types=["workflow.completed"], description="The app")
    request = {"variables": {"prompt": "x"}, "user_id": "user-9"}
    workflow_id = generate(api, make_collection(tenant, steps=ONE_STEP), request).json()["workflow_id"]
    work(api, error={"code": "oom", "message": "Out of memory."}, retryable=True)
    Job.objects.update(run_at=timezone.now())
    work(api, error={"code": "broken", "message": "It broke."}, retryable=False)
    retry_workflow(Workflow.objects.get(), by="root", reason="mended")
    work(api, {"url": "https://cdn.example.com/a.png"})
    receiver.behaviour = answer(503)
    send_due()
    receiver.behaviour = answer(200)
    redeliver(Delivery.objects.get())
    send_due()
    notice = {"workflow_id": workflow_id, "user_id": "user-9", "method": "push"}
    assert send(NOTIFIED, notice, secret).status_code == 200

    body = api.send("get", f"/api/workflows/{workflow_id}/forensics").json()

    story = [
        (each["type"], each["attempt"]) for each in body["timeline"] if each["type"] != "retry_completed"
    ]
    retried = [each for each in story if each[0] == "retried"]
    assert retried
    assert [each for each in story if each not in retried] == [
        ("requested", None),
        ("queued", None),
        ("attempt_started", 1),
        ("attempt_ended", 1),
        ("attempt_attested", 1),
        ("attempt_started", 2),
        ("attempt_ended", 2),
        ("run_ended", 1),
        ("attempt_attested", 2),
        ("run_attested", 1),
        ("attempt_started", 3),
        ("attempt_ended", 3),
        ("run_ended", 2),
        ("attempt_attested", 3),
        ("run_attested", 2),
        ("message_written", None),
        ("delivery_attempted", 1),
        ("delivery_attempted", 1),
        ("receipt", None),
        ("user_notified", None),
        ("delivery_waits", 1),
    ]
    assert story.index(("run_attested", 1)) < story.index(retried[0]) < story.index(("attempt_started", 3))
    assert (body["notification_status"], body["left_out"]) == ("told", {})
    failed, taken = [each for each in body["timeline"] if each["type"] == "delivery_attempted"]
    assert (failed["data"]["status_code"], failed["data"]["outcome"]) == (503, "failed")
    assert (taken["data"]["outcome"], taken["data"]["is_manual"]) == ("delivered", True)
    assert taken["title"] == "127.0.0.1 took workflow.completed."
    assert taken["data"]["endpoint"] == "The app"
    knows = next(each for each in body["timeline"] if each["type"] == "user_notified")
    assert knows["title"] == "User user-9 knows of it, by push."
    phases = body["durations"]
    assert abs(sum(phases.values()) - phases["telling_ms"] - body["duration_ms"]) <= len(phases)


def make_told(tenant: Tenant, **fields: Any) -> tuple[Workflow, Message]:
    workflow = make_workflow(tenant, **{"status": "completed", "notification_status": "owed", **fields})
    make_job(tenant, workflow=workflow, step_index=0, status="completed")
    message = make_message(tenant, type="workflow.completed", workflow=workflow, workflow_run=1)
    return workflow, message


def of_type(workflow: Workflow, type_: str) -> list[Any]:
    return [moment for moment in forensics_of(workflow).moments if moment.type == type_]


def test_a_delivery_that_waits_says_for_what(tenant: Tenant) -> None:
    workflow, message = make_told(tenant)
    later = timezone.now() + timedelta(hours=2)
    endpoint = make_endpoint(tenant, url="https://hooks.example.com/in?token=very-secret")
    delivery = make_delivery(endpoint, message, next_attempt_at=later, attempt_count=3)

    (waits,) = of_type(workflow, "delivery_waits")

    assert "Attempt 4 comes at" in waits.title
    assert waits.title.startswith("workflow.completed for hooks.example.com: ")
    assert waits.data["delivery_id"] == str(delivery.pk)
    assert waits.data["next_attempt_at"] == later


@pytest.mark.parametrize(
    ("status", "type_"),
    [("failed", "delivery_failed"), ("held", "delivery_held"), ("sending", "delivery_waits")],
)
def test_a_delivery_that_is_not_there_is_told_of(tenant: Tenant, status: str, type_: str) -> None:
    workflow, message = make_told(tenant)
    make_delivery(make_endpoint(tenant), message, status=status)

    (moment,) = of_type(workflow, type_)

    assert moment.data["status"] == status


def test_what_a_tenant_may_not_see_is_not_in_it(api: ApiClient, tenant: Tenant) -> None:
    workflow, message = make_told(tenant)
    endpoint = make_endpoint(tenant, url="https://hooks.example.com/in/path-token?token=query-token")
    delivery = make_delivery(endpoint, message, status="failed")
    make_attempt(
        delivery,
        outcome="failed",
        reason="connect_failed",
        detail="Nobody took the connection.",
        internal_detail="refused by 10.1.2.3",
        address="10.1.2.3:443",
        status_code=None,
        response_body="body of an answer",
        worker="host-of-ours",
    )
    sender = make_sender(tenant, name="the app")
    make_receipt(sender, workflow=workflow, remote_address="203.0.113.9", body={"note": "body of a call"})

    page = api.send("get", f"/api/workflows/{workflow.workflow_id}/forensics").content.decode()

    assert "hooks.example.com did not take workflow.completed: Nobody took the connection." in page
    assert "the app called user_notified: applied." in page
    hidden = ["token", "10.1.2.3", "body of", "host-of-ours", "203.0.113.9", "whsec_"]
    assert [word for word in hidden if word in page] == []


def test_another_tenants_calls_and_messages_are_not_in_it(tenant: Tenant, other_tenant: Tenant) -> None:
    workflow, _ = make_told(tenant, workflow_id="same-name")
    anothers, message = make_told(other_tenant, workflow_id="same-name")
    make_delivery(make_endpoint(other_tenant), message)
    waiting = {"state": "waiting", "applied_at": None, "workflow_name": "same-name"}
    make_receipt(make_sender(other_tenant), **waiting)
    mine = make_receipt(make_sender(tenant), **waiting)

    (receipt,) = of_type(workflow, "receipt")

    assert receipt.data["receipt_id"] == str(mine.pk)
    assert of_type(workflow, "delivery_waits") == []
    assert len(of_type(anothers, "delivery_waits")) == 1


def test_many_deliveries_cost_no_more_statements_than_one(tenant: Tenant, statements: list[str]) -> None:
    counts = []
    for deliveries in (1, 30):
        workflow, message = make_told(tenant)
        for _ in range(deliveries):
            make_attempt(make_delivery(make_endpoint(tenant), message), outcome="failed", status_code=500)
            make_receipt(make_sender(tenant), workflow=workflow)
        statements.clear()
        found = forensics_of(workflow)
        counts.append(len(statements))

    assert len([moment for moment in found.moments if moment.type == "delivery_attempted"]) == 30
    assert counts[0] == counts[1]


def test_too_many_attempts_are_counted(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhooks.forensics.SOURCE_ROWS_MAX", 4)
    workflow, message = make_told(tenant)
    delivery = make_delivery(make_endpoint(tenant), message)
    for number in range(1, 11):
        make_attempt(delivery, number=number, outcome="failed", status_code=500)

    found = forensics_of(workflow)

    shown = [moment.attempt for moment in found.moments if moment.type == "delivery_attempted"]
    assert shown == [7, 8, 9, 10]
    assert found.left_out == {"delivery_attempts": 6}


def test_telling_lasts_until_the_user_knows(
    tenant: Tenant, secret: str, api_as: Callable[..., ApiClient]
) -> None:
    ended = timezone.now() - timedelta(minutes=10)
    workflow, _ = make_told(tenant, user_id="user-1", completed_at=ended)
    Workflow.objects.update(created_at=ended - timedelta(minutes=5))
    workflow.refresh_from_db()
    until_now = forensics_of(workflow).durations["telling_ms"]

    send(NOTIFIED, {"workflow_id": workflow.workflow_id, "user_id": "user-1"}, secret)
    workflow.refresh_from_db()
    Workflow.objects.update(evaluated_at=timezone.now() + timedelta(hours=1))

    assert 600_000 <= until_now < 660_000
    assert until_now <= forensics_of(workflow).durations["telling_ms"] < 660_000


def make_delivered(tenant: Tenant, **fields: Any) -> Workflow:
    """A workflow that ended 50 minutes ago, of which an endpoint has taken the webhook 20 minutes later."""
    ended = timezone.now().replace(microsecond=0) - timedelta(minutes=50)
    workflow, message = make_told(
        tenant, **{"notification_status": "delivered", "completed_at": ended, **fields}
    )
    Workflow.objects.filter(pk=workflow.pk).update(created_at=ended - timedelta(minutes=5))
    Message.objects.filter(pk=message.pk).update(created_at=ended)
    delivery = make_delivery(make_endpoint(tenant), message, status="delivered")
    later = ended + timedelta(minutes=20)
    make_attempt(delivery, started_at=later, duration_ms=0, outcome="delivered")
    make_attempt(delivery, number=2, started_at=later + timedelta(minutes=9), duration_ms=0)
    workflow.refresh_from_db()
    return workflow


def test_without_a_user_who_takes_the_webhook_is_told(tenant: Tenant) -> None:
    workflow = make_delivered(tenant)

    found = forensics_of(workflow)

    assert found.durations["telling_ms"] == 20 * 60_000
    assert of_type(workflow, "waiting") == []


def test_a_user_is_not_told_by_a_delivery(tenant: Tenant) -> None:
    workflow = make_delivered(tenant, user_id="user-1")

    found = forensics_of(workflow)

    assert 50 * 60_000 <= found.durations["telling_ms"] < 51 * 60_000
    assert [moment.data for moment in of_type(workflow, "waiting")] == [{"notification_status": "delivered"}]


def test_a_delivery_of_the_run_before_tells_nobody_of_this_one(tenant: Tenant) -> None:
    workflow = make_delivered(tenant)
    Message.objects.update(workflow_run=7)

    # Of this run's delivery nothing is known any more but that it was taken.
    assert forensics_of(workflow).durations["telling_ms"] == 29 * 60_000


def test_a_word_that_is_forgotten_came_no_later_than_the_last_call(tenant: Tenant) -> None:
    workflow = make_delivered(tenant, user_id="user-1", notification_status="told")

    assert forensics_of(workflow).durations["telling_ms"] == 29 * 60_000


def test_where_the_time_went_does_not_depend_on_who_asks(tenant: Tenant) -> None:
    workflow = make_delivered(tenant)

    found = forensics_of(workflow, hidden=["delivery_attempted"])

    assert [moment for moment in found.moments if moment.type == "delivery_attempted"] == []
    assert found.durations["telling_ms"] == 20 * 60_000


def test_an_account_without_the_right_sees_no_deliveries(tenant: Tenant, client: Client) -> None:
    workflow, message = make_told(tenant)
    make_delivery(make_endpoint(tenant, url="https://hooks.example.com/in"), message)
    path = f"/admin/jobs/workflow/{workflow.pk}/change/"

    client.force_login(make_operator("jobs.view_workflow"))
    without = client.get(path).content.decode()
    client.force_login(make_operator("jobs.view_workflow", "webhooks.view_delivery"))
    with_it = client.get(path).content.decode()

    assert "hooks.example.com" not in without
    assert "workflow.completed for hooks.example.com" in with_it
