"""/api/user_notified: a user is marked as told once, of work that has ended, and that is never taken back."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections, transaction
from django.utils import timezone

from jobs.models import Event, Tenant, Workflow
from jobs.queue.enqueue import enqueue_job
from jobs.queue.finish import finish
from jobs.queue.outcomes import Outcome
from jobs.signals import FinishedWorkflow
from jobs.testing import RunJobs
from tests.factories import make_job, make_tenant, make_workflow
from tests.jobs.test_finish import lease_of
from tests.webhooks.calls import NOTIFIED, make_ended, make_sender, notice_of, send
from webhooks.models import Receipt, Sender
from webhooks.services import matching, receipts
from webhooks.services.matching import apply_waiting_receipts, match_waiting_receipts

EVALUATED: dict[str, Any] = {
    "is_cleanup_evaluated": True,
    "status_category": "filed",
    "problem_type": "notification_missing",
    "problem_details": {"since": "yesterday"},
    "evaluated_at": datetime(2026, 1, 1, tzinfo=UTC),
}


def finished(workflow: Workflow) -> FinishedWorkflow:
    """What the ground floor says of a workflow that ended."""
    return FinishedWorkflow(
        pk=workflow.pk,
        tenant_id=workflow.tenant_id,
        workflow_id=workflow.workflow_id,
        kind=workflow.kind,
        attempt=workflow.attempt,
        status=workflow.status,
        user_id=workflow.user_id,
        trace_id=workflow.trace_id,
        request_id="",
        miniapp_req=None,
        outputs=[],
        error=None,
        total_steps=1,
        completed_steps=1,
        ended_at=timezone.now(),
    )


def end(workflow: Workflow) -> None:
    Workflow.objects.filter(pk=workflow.pk).update(status="completed", completed_at=timezone.now())
    workflow.refresh_from_db()
    apply_waiting_receipts([finished(workflow)])
    workflow.refresh_from_db()


def assert_settled(state: str, reason: str = "") -> Receipt:
    """The only receipt came to this."""
    receipt = Receipt.objects.get()
    assert (receipt.state, receipt.reason) == (state, reason)
    assert (receipt.applied_at is not None) == (state == "applied")
    return receipt


@pytest.mark.parametrize("before", ["none", "owed", "delivered", "failed"])
@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_user_who_knows_is_told_whatever_became_of_the_work(
    tenant: Tenant, secret: str, before: str, status: str
) -> None:
    workflow = make_ended(tenant, status=status, notification_status=before, **EVALUATED)

    response = send(NOTIFIED, notice_of(workflow, notified_at="2126-03-01T10:00:00Z", method="push"), secret)

    assert response.status_code == 200
    receipt = assert_settled("applied")
    assert response.json() == {
        "receipt_id": str(receipt.pk),
        "state": "applied",
        "reason": "",
        "is_duplicate": False,
        "workflow_id": workflow.workflow_id,
        "trace_id": response["X-Trace-Id"],
    }
    workflow.refresh_from_db()
    assert (workflow.notification_status, workflow.status) == ("told", status)
    event = Event.objects.get()
    assert (event.type, event.workflow, event.tenant) == ("user_notified", workflow, tenant)
    assert event.data == {
        "user_id": "user-1",
        "notified_at": "2126-03-01T10:00:00+00:00",
        "method": "push",
        "receipt_id": str(receipt.pk),
    }


def test_the_workflow_is_evaluated_anew(tenant: Tenant, secret: str) -> None:
    workflow = make_ended(tenant, **EVALUATED)

    send(NOTIFIED, notice_of(workflow), secret)

    workflow.refresh_from_db()
    fields = {name: getattr(workflow, name) for name in EVALUATED}
    assert fields == {
        "is_cleanup_evaluated": False,
        "status_category": "",
        "problem_type": "",
        "problem_details": None,
        "evaluated_at": None,
    }


def test_a_workflow_of_nobody_is_told_by_anybody(tenant: Tenant, secret: str) -> None:
    workflow = make_ended(tenant, user_id="")

    send(NOTIFIED, notice_of(workflow), secret)

    workflow.refresh_from_db()
    assert workflow.notification_status == "told"


def test_another_users_notice_is_kept_and_changes_nothing(tenant: Tenant, secret: str) -> None:
    workflow = make_ended(tenant, user_id="user-2", **EVALUATED)

    response = send(NOTIFIED, notice_of(workflow), secret)

    assert (response.json()["state"], response.json()["reason"]) == ("ignored", "other_user")
    assert assert_settled("ignored", "other_user").user_id == "user-1"
    workflow.refresh_from_db()
    assert (workflow.notification_status, workflow.is_cleanup_evaluated) == ("none", True)
    assert not Event.objects.exists()


def test_who_was_told_is_not_told_again(tenant: Tenant, secret: str) -> None:
    workflow = make_ended(tenant, notification_status="told", **EVALUATED)

    send(NOTIFIED, notice_of(workflow, method="again"), secret)

    assert_settled("ignored", "already_told")
    workflow.refresh_from_db()
    assert workflow.is_cleanup_evaluated
    assert not Event.objects.exists()


def test_a_workflow_that_runs_again_is_not_told_of(tenant: Tenant, secret: str) -> None:
    workflow = make_workflow(tenant, user_id="user-1", attempt=2)

    send(NOTIFIED, notice_of(workflow), secret)

    assert_settled("ignored", "runs_again")
    workflow.refresh_from_db()
    assert (workflow.notification_status, workflow.status) == ("none", "running")


@pytest.mark.parametrize(
    ("attempt", "minutes_before", "expected"),
    [(1, 60, "ignored"), (1, 4, "applied"), (2, 60, "ignored"), (2, 4, "applied"), (2, -60, "applied")],
)
def test_what_was_said_before_the_end_is_not_said_of_it(
    tenant: Tenant, secret: str, attempt: int, minutes_before: int, expected: str
) -> None:
    workflow = make_ended(tenant, attempt=attempt)
    notified_at = timezone.now() - timedelta(minutes=minutes_before)

    send(NOTIFIED, notice_of(workflow, notified_at=notified_at.isoformat()), secret)

    assert_settled(expected, "before_the_end" if expected == "ignored" else "")


def test_another_tenants_workflow_is_unknown(tenant: Tenant, other_tenant: Tenant, secret: str) -> None:
    theirs = make_ended(other_tenant)

    response = send(NOTIFIED, notice_of(theirs), secret)

    assert (response.status_code, response.json()["state"]) == (200, "waiting")
    receipt = assert_settled("waiting")
    assert (receipt.tenant, receipt.workflow) == (tenant, None)
    theirs.refresh_from_db()
    assert theirs.notification_status == "none"
    end(theirs)
    assert_settled("waiting")
    assert theirs.notification_status == "none"


def test_of_two_workflows_of_one_name_the_senders_is_told(
    tenant: Tenant, other_tenant: Tenant, secret: str
) -> None:
    mine = make_ended(tenant, workflow_id="order-7")
    theirs = make_ended(other_tenant, workflow_id="order-7")

    send(NOTIFIED, notice_of(mine), secret)

    told = Workflow.objects.filter(notification_status="told")
    assert (list(told), theirs.status) == ([mine], "completed")


def test_a_notice_that_comes_before_the_end_waits_for_it(tenant: Tenant, secret: str) -> None:
    workflow = make_workflow(tenant, user_id="user-1")

    response = send(NOTIFIED, notice_of(workflow), secret)

    assert response.json()["state"] == "waiting"
    workflow.refresh_from_db()
    assert workflow.notification_status == "none"
    end(workflow)
    assert workflow.notification_status == "told"
    assert assert_settled("applied").workflow == workflow


def test_it_is_applied_in_the_transaction_that_ends_the_workflow(tenant: Tenant, secret: str) -> None:
    workflow = make_workflow(tenant, user_id="user-1", workflow_id="order-7")
    job = make_job(tenant, status="running", workflow=workflow, step_index=0, step_name="paint")
    send(NOTIFIED, notice_of(workflow), secret)

    finish([Outcome(lease=lease_of(job), status="completed", result={"url": "https://a.example/b.png"})])

    workflow.refresh_from_db()
    assert (workflow.status, workflow.notification_status) == ("completed", "told")
    assert_settled("applied")


@pytest.mark.django_db(transaction=True)
def test_a_notice_that_comes_while_the_workflow_ends_is_not_lost() -> None:
    tenant = make_tenant()
    workflow = make_workflow(tenant, user_id="user-1")
    _, secret = make_sender(tenant)
    states: list[str] = []

    def notify() -> None:
        try:
            states.append(send(NOTIFIED, notice_of(workflow), secret).json()["state"])
        finally:
            connections.close_all()

    thread = threading.Thread(target=notify)
    with transaction.atomic():
        Workflow.objects.filter(pk=workflow.pk).update(status="completed", completed_at=timezone.now())
        thread.start()
        time.sleep(0.3)  # it has come, and waits for the outcome of this
        assert not states
        apply_waiting_receipts([finished(workflow)])
    thread.join()

    workflow.refresh_from_db()
    assert (states, workflow.notification_status) == (["applied"], "told")


@pytest.mark.django_db(transaction=True)
def test_who_ends_a_workflow_does_not_wait_for_who_matches_its_receipts() -> None:
    """The matching would wait for the workflow in its turn, and neither would ever go on."""
    tenant = make_tenant()
    workflow = make_workflow(tenant, user_id="user-1")
    send(NOTIFIED, notice_of(workflow), make_sender(tenant)[1])
    is_locked, is_ended = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                Receipt.objects.select_for_update().get()
                is_locked.set()
                is_ended.wait(5)
        finally:
            connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    is_locked.wait(5)
    with transaction.atomic():
        end(workflow)
    assert_settled("waiting")
    is_ended.set()
    thread.join()
    assert match_waiting_receipts() == 1
    assert_settled("applied")


def test_a_large_body_is_not_kept_and_takes_effect_all_the_same(tenant: Tenant, secret: str) -> None:
    workflow = make_workflow(tenant, user_id="user-1")
    send(NOTIFIED, notice_of(workflow, picture="x" * 100_000), secret)

    end(workflow)

    receipt = assert_settled("applied")
    assert receipt.body["$truncated"]["bytes"] == receipt.size > 100_000
    assert workflow.notification_status == "told"


def test_an_event_of_ours_does_not_pass_for_a_notice(tenant: Tenant, secret: str) -> None:
    workflow = make_ended(tenant, notification_status="delivered")
    event = {"type": "workflow.completed", "timestamp": "2026-01-01T00:00:00Z", "data": {}}

    response = send(NOTIFIED, notice_of(workflow, **event), secret)

    assert response.status_code == 422
    assert response.json()["errors"][0]["code"] == "not_a_notice"
    workflow.refresh_from_db()
    assert workflow.notification_status == "delivered"


def test_what_waits_of_a_sender_that_was_switched_off_has_no_effect(tenant: Tenant, secret: str) -> None:
    workflow = make_workflow(tenant, user_id="user-1")
    send(NOTIFIED, notice_of(workflow), secret)
    Sender.objects.update(is_active=False)

    end(workflow)
    match_waiting_receipts()

    assert_settled("waiting")
    assert workflow.notification_status == "none"


def test_only_so_much_waits_for_what_does_not_exist(
    tenant: Tenant, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "WAITING_MAX", 2)

    answers = [
        send(NOTIFIED, {"workflow_id": f"nothing-{number}", "user_id": "user-1"}, secret)
        for number in range(4)
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert answers[3]["Retry-After"] == "60"
    assert Receipt.objects.filter(state="waiting").count() == 2


def test_more_receipts_than_a_batch_are_left_to_the_recurring_job(
    tenant: Tenant, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "MATCH_BATCH", 2)
    workflow = make_workflow(tenant, user_id="user-1")
    for number in range(7):
        send(NOTIFIED, notice_of(workflow, number=number), secret)

    end(workflow)

    assert Receipt.objects.filter(state="waiting").count() == 5
    assert match_waiting_receipts() == 5
    states = list(Receipt.objects.order_by("pk").values_list("state", flat=True))
    assert states == ["applied"] + ["ignored"] * 6


def test_of_two_that_wait_one_tells(tenant: Tenant, secret: str) -> None:
    workflow = make_workflow(tenant, user_id="user-1")
    for method in ("push", "mail"):
        send(NOTIFIED, notice_of(workflow, method=method), secret)

    end(workflow)

    ends = list(Receipt.objects.order_by("pk").values_list("state", "reason"))
    assert ends == [("applied", ""), ("ignored", "already_told")]
    assert Event.objects.get().data["method"] == "push"


def test_a_notice_of_a_workflow_not_yet_there_is_matched_by_the_recurring_job(
    tenant: Tenant, secret: str, run_jobs: RunJobs
) -> None:
    send(NOTIFIED, {"workflow_id": "order-7", "user_id": "user-1"}, secret)
    send(NOTIFIED, {"workflow_id": "order-8", "user_id": "user-1"}, secret)
    send(NOTIFIED, {"workflow_id": "order-9", "user_id": "user-1"}, secret)
    ended = make_ended(tenant, workflow_id="order-7")
    make_workflow(tenant, workflow_id="order-8")

    matched = match(run_jobs)

    ended.refresh_from_db()
    assert (matched, ended.notification_status) == (1, "told")
    waiting = Receipt.objects.filter(state="waiting")
    assert set(waiting.values_list("workflow_name", flat=True)) == {"order-8", "order-9"}
    assert match(run_jobs) == 0


def match(run_jobs: RunJobs) -> int:
    enqueue_job("webhooks.match_receipts")
    (job,) = run_jobs()
    assert job.status == "completed", job.error
    return int(job.result["matched"])


def test_a_batch_of_ended_workflows_costs_as_much_as_one(
    tenant: Tenant, other_tenant: Tenant, secret: str, django_assert_num_queries: Any
) -> None:
    workflows = [make_workflow(owner, user_id="user-1") for owner in (tenant, other_tenant) for _ in range(5)]
    with django_assert_num_queries(1):
        apply_waiting_receipts([finished(workflow) for workflow in workflows])
    for workflow in workflows[:5]:
        send(NOTIFIED, notice_of(workflow), secret)
    Workflow.objects.update(status="completed", completed_at=timezone.now())

    with django_assert_num_queries(5):
        apply_waiting_receipts([finished(workflow) for workflow in workflows])

    assert Workflow.objects.filter(notification_status="told").count() == 5
    with django_assert_num_queries(0):
        apply_waiting_receipts([])


@pytest.mark.parametrize(
    ("fields", "pointers"),
    [
        ({}, ["/workflow_id", "/user_id"]),
        ({"workflow_id": "a", "user_id": ""}, ["/user_id"]),
        ({"workflow_id": 7, "user_id": "u"}, ["/workflow_id"]),
        ({"workflow_id": "a" * 201, "user_id": "u" * 201}, ["/workflow_id", "/user_id"]),
        ({"workflow_id": "a", "user_id": "u", "method": "m" * 61}, ["/method"]),
        ({"workflow_id": "a", "user_id": "u", "method": ["push"]}, ["/method"]),
        *[
            ({"workflow_id": "a", "user_id": "u", "notified_at": wrong}, ["/notified_at"])
            for wrong in ("soon", "", True, 1.5, 10**30, -(10**30), {}, "2026-13-01T00:00:00Z")
        ],
        ({"workflow_id": "a", "user_id": "u", "notified_at": "0001-01-01T00:00:00+23:59"}, ["/notified_at"]),
    ],
)
def test_what_is_wrong_with_a_field_is_told_by_name(
    tenant: Tenant, secret: str, fields: dict[str, Any], pointers: list[str]
) -> None:
    response = send(NOTIFIED, fields, secret)

    assert response.status_code == 422
    assert [error["pointer"] for error in response.json()["errors"]] == pointers
    assert Receipt.objects.get().state == "refused"
