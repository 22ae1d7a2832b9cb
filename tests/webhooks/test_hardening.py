"""What went wrong once: answers that can't be read, floods by hand, locks, our own faults, half-lost ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import InternalError, connection, transaction
from django.utils import timezone

from jobs.models import Queue, Tenant, Workflow
from jobs.queue.enqueue import enqueue_job
from jobs.services.queues import pause_queue
from jobs.testing import RunJobs
from tests.conftest import ApiClient, MakeEndpoint
from tests.factories import make_delivery, make_endpoint, make_message, make_tenant, make_workflow
from tests.jobs.test_api_access import assert_problem
from tests.receivers import Receiver, answer
from tests.webhooks.calls import NOTIFIED, send
from webhooks.models import Attempt, Delivery, Endpoint, Message
from webhooks.sending import loop
from webhooks.sending.claim import LOST_MAX, claim_deliveries, sweep_deliveries
from webhooks.sending.loop import Sending, send_due
from webhooks.services.deliveries import BY_HAND_MAX, redeliver, send_test, settle_deliveries
from webhooks.services.endpoints import change_endpoint, delete_endpoint
from webhooks.services.explanations import explain, is_sending_paused
from webhooks.services.matching import match_waiting_receipts
from webhooks.services.senders import create_sender


def why(delivery: Delivery) -> str:
    delivery = Delivery.objects.select_related("endpoint").get(pk=delivery.pk)
    return explain(delivery, is_paused=is_sending_paused())


@pytest.mark.parametrize(
    "value",
    [
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "-5",
        "9" * 40,
        "Thu, 01 Jan 0000 00:00:00 GMT",
        "\xff",
    ],
)
def test_a_retry_after_that_is_none_costs_an_attempt_like_any_other(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint, value: str
) -> None:
    endpoint, _ = make_endpoint()
    make_delivery(endpoint)
    receiver.behaviour = answer(503, [("Retry-After", value)])

    send_due()

    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.reason, delivery.step) == ("pending", "http_status", 1)
    assert Attempt.objects.get().status_code == 503


def test_what_is_asked_for_by_hand_takes_turns_and_has_a_cap(tenant: Tenant, other_tenant: Tenant) -> None:
    flooded, other = make_endpoint(tenant), make_endpoint(other_tenant)
    for _ in range(50):
        make_delivery(flooded, is_manual=True)
    theirs = make_delivery(other)

    rows = claim_deliveries("worker", room=10)

    assert [row.endpoint_id for row in rows].count(flooded.pk) == 5
    assert theirs.pk in [row.id for row in rows]


def test_only_so_much_waits_that_was_asked_for_by_hand(
    api: ApiClient, tenant: Tenant, make_endpoint: MakeEndpoint
) -> None:
    endpoint, _ = make_endpoint()
    first = make_delivery(endpoint, status="delivered")
    for _ in range(BY_HAND_MAX):
        send_test(endpoint)

    assert_problem(api.send("POST", f"/api/webhook-deliveries/{first.pk}/redeliver"), 409, "too_many_waiting")
    assert_problem(api.send("POST", f"/api/webhook-endpoints/{endpoint.pk}/test"), 409, "too_many_waiting")


@pytest.mark.django_db(transaction=True)
def test_what_was_asked_for_by_hand_ends_with_its_endpoint(
    tenant: Tenant, make_endpoint: MakeEndpoint
) -> None:
    endpoint, _ = make_endpoint()
    test = send_test(endpoint)

    delete_endpoint(endpoint)

    test.refresh_from_db()
    assert (test.status, test.reason) == ("failed", "deleted")
    assert send_due() == 0


def test_the_last_room_is_kept_for_those_with_little_in_flight(tenant: Tenant, other_tenant: Tenant) -> None:
    busy, quiet = make_endpoint(tenant, max_in_flight=200), make_endpoint(other_tenant)
    for _ in range(12):
        make_delivery(busy)
    claim_deliveries("worker", room=10)
    theirs = [make_delivery(quiet) for _ in range(3)]

    rows = claim_deliveries("worker", room=10, shared_room=0)

    assert {row.id for row in rows} <= {delivery.pk for delivery in theirs}
    assert len(rows) == 2


def test_a_rate_is_kept_from_second_to_second(tenant: Tenant) -> None:
    endpoint = make_endpoint(tenant, max_per_minute=120)
    for _ in range(20):
        make_delivery(endpoint)

    first = claim_deliveries("worker", room=100)
    again = claim_deliveries("worker", room=100)

    assert (len(first), len(again)) == (3, 0)  # two of the second that was unused, and one now


def test_our_own_faults_are_not_charged_to_the_endpoint(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint, settings: Any
) -> None:
    endpoint, _ = make_endpoint()
    delivery = make_delivery(endpoint)
    before = settings.ENCRYPTION_KEYS
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    send_due()

    delivery.refresh_from_db()
    endpoint.refresh_from_db()
    assert (delivery.status, delivery.reason, delivery.step) == ("pending", "secret_unreadable", 0)
    assert (endpoint.failures, endpoint.failing_since) == (0, None)
    settings.ENCRYPTION_KEYS = before
    Delivery.objects.update(next_attempt_at=timezone.now())
    send_due()
    delivery.refresh_from_db()
    assert delivery.status == "delivered"


def test_a_list_of_endpoints_survives_a_key_that_was_lost(
    api: ApiClient, make_endpoint: MakeEndpoint, settings: Any
) -> None:
    make_endpoint(headers={"Authorization": "x"})
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    (shown,) = api.send("GET", "/api/webhook-endpoints").json()["results"]

    assert shown["header_names"] is None


def test_a_request_id_that_no_header_takes_is_left_out(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint, run_jobs: RunJobs
) -> None:
    make_endpoint()
    enqueue_job("system.ping", tenant_id=tenant.pk, request_id="запрос-1")
    run_jobs()

    send_due()

    assert "x-request-id" not in receiver.requests[0].headers
    assert Delivery.objects.get().status == "delivered"


def test_a_kind_that_opts_out_is_not_told_of(
    tenant: Tenant, make_endpoint: MakeEndpoint, run_jobs: RunJobs
) -> None:
    make_endpoint()
    enqueue_job("webhooks.match_receipts", tenant_id=tenant.pk)

    run_jobs()

    assert not Message.objects.exists()


@pytest.mark.parametrize("kind", ["webhooks.match_receipts", "miniapp.call_back", "system.apply_retention"])
def test_no_client_asks_for_the_platforms_own_work(api: ApiClient, kind: str) -> None:
    for path, body in [
        ("/api/jobs/enqueue", {"jobName": kind, "payload": {}}),
        ("/api/jobs", {"kind": kind, "payload": {}}),
        ("/api/jobs/bulk", {"jobs": [{"kind": kind, "payload": {}}]}),
    ]:
        problem = assert_problem(api.send("POST", path, body), 422, "invalid")
        assert problem["errors"][0]["code"] == "unknown_kind"  # type: ignore[index]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", ["deleted", "lost"])
def test_a_workflow_is_not_owed_for_ever_what_can_not_be_delivered(
    tenant: Tenant, make_endpoint: MakeEndpoint, how: str
) -> None:
    endpoint, _ = make_endpoint()
    workflow = make_workflow(tenant, status="completed", notification_status="owed")
    message = make_message(tenant, type="workflow.completed", workflow=workflow, workflow_run=1)
    if how == "deleted":
        make_delivery(endpoint, message)
        delete_endpoint(endpoint)
    else:
        past = timezone.now() - timedelta(seconds=1)
        make_delivery(endpoint, message, status="sending", lost_count=LOST_MAX, lease_expires_at=past)
        sweep_deliveries()

    workflow.refresh_from_db()
    assert workflow.notification_status == "failed"
    assert Delivery.objects.get().status == "failed"


def in_threads(*works: Callable[[], Any]) -> None:
    """Do these at once, each over a connection of its own; what one raises is raised here."""
    failures: list[BaseException] = []

    def run(work: Callable[[], Any]) -> None:
        try:
            work()
        except BaseException as failure:
            failures.append(failure)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.mark.django_db(transaction=True)
def test_claims_wait_for_nobody_who_holds_an_endpoint() -> None:
    endpoint = make_endpoint(make_tenant(), max_per_minute=600)
    make_delivery(endpoint)
    is_held, may_go = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Endpoint.objects.select_for_update().get(pk=endpoint.pk)
            is_held.set()
            may_go.wait(10)

    def claim() -> None:
        is_held.wait(5)
        try:
            assert len(claim_deliveries("worker", room=5)) == 1
        finally:
            may_go.set()

    in_threads(hold, claim)


@pytest.mark.django_db(transaction=True)
def test_settling_waits_for_nobody_who_holds_a_delivery() -> None:
    endpoint = make_endpoint(make_tenant(), paused_at=timezone.now())
    held, free = make_delivery(endpoint), make_delivery(endpoint)
    is_held, may_go = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Delivery.objects.select_for_update().get(pk=held.pk)
            is_held.set()
            may_go.wait(10)

    def settle() -> None:
        is_held.wait(5)
        try:
            assert settle_deliveries() == 1
        finally:
            may_go.set()

    in_threads(hold, settle)
    free.refresh_from_db()
    assert free.status == "held"


@pytest.mark.django_db(transaction=True)
def test_an_error_of_the_database_loses_nothing_that_is_in_flight(
    receiver: Receiver, make_endpoint: MakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, _ = make_endpoint(make_tenant())
    for _ in range(5):
        make_delivery(endpoint)
    real, calls = loop.finish_deliveries, []

    def refusing(outcomes: Any) -> Any:
        calls.append(len(outcomes))
        if len(calls) == 1:
            raise InternalError("cannot execute UPDATE in a read-only transaction")
        return real(outcomes)

    monkeypatch.setattr(loop, "finish_deliveries", refusing)
    done = threading.Event()

    def watch() -> None:
        while Delivery.objects.exclude(status="delivered").exists():
            pass
        done.set()

    def send() -> None:
        asyncio.run(Sending(done.is_set).run())

    in_threads(watch, send)

    assert len(receiver.requests) == 5
    assert len(calls) >= 2


@pytest.mark.parametrize(
    ("fields", "endpoint_fields", "words"),
    [
        ({}, {"paused_at": timezone.now()}, "paused"),
        ({"status": "held", "reason": "disabled"}, {}, "recover"),
        ({}, {"breaker_trips": 1, "failures": 12}, "goes ahead"),
        ({}, {"max_per_minute": 5}, "5 a minute"),
        ({"status": "failed", "reason": "deleted"}, {"deleted_at": timezone.now()}, "deleted"),
        ({"status": "delivered"}, {}, ""),
    ],
)
def test_what_a_delivery_waits_for_is_said_as_it_is_now(
    tenant: Tenant, fields: dict[str, Any], endpoint_fields: dict[str, Any], words: str
) -> None:
    delivery = make_delivery(make_endpoint(tenant, **endpoint_fields), **fields)

    said = why(delivery)

    assert words in said
    assert bool(said) == bool(words)


def test_that_all_sending_is_paused_is_said(tenant: Tenant) -> None:
    delivery = make_delivery(make_endpoint(tenant))
    pause_queue(Queue.objects.get(name="webhooks", is_remote=False), by="somebody")

    assert "All sending is paused" in why(delivery)


def test_a_rate_that_was_taken_away_holds_nothing_back(tenant: Tenant, make_endpoint: MakeEndpoint) -> None:
    endpoint, _ = make_endpoint(max_per_minute=1)
    for _ in range(4):
        make_delivery(endpoint)
    claim_deliveries("worker", room=10)

    change_endpoint(endpoint, max_per_minute=None)

    assert len(claim_deliveries("worker", room=10)) == 3


def test_a_redelivery_is_due_by_the_databases_clock(
    tenant: Tenant, make_endpoint: MakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, _ = make_endpoint()
    first = make_delivery(endpoint, status="delivered")
    monkeypatch.setattr(timezone, "now", lambda: (_ for _ in ()).throw(AssertionError("not asked")))

    again = redeliver(first)

    assert [row.id for row in claim_deliveries("worker", room=5)] == [again.pk]


@pytest.mark.django_db(transaction=True)
def test_a_call_that_comes_again_while_what_waits_is_matched_costs_no_deadlock() -> None:
    tenant = make_tenant()
    _, secret = create_sender(tenant, name="app")
    notices = [{"workflow_id": f"order-{number}", "user_id": "user-1"} for number in range(15)]
    for notice in notices:
        assert send(NOTIFIED, notice, secret).status_code == 200
    for notice in notices:
        make_workflow(tenant, workflow_id=notice["workflow_id"], user_id="user-1", status="completed")
    answers: list[int] = []

    def repeat() -> None:
        answers.extend(send(NOTIFIED, notice, secret).status_code for notice in notices * 2)

    in_threads(repeat, repeat, repeat, match_waiting_receipts, match_waiting_receipts)

    assert set(answers) == {200}
    match_waiting_receipts()
    assert set(Workflow.objects.values_list("notification_status", flat=True)) == {"told"}


@pytest.mark.django_db(transaction=True)
def test_a_workflow_that_somebody_holds_costs_a_503_and_no_thread() -> None:
    tenant = make_tenant()
    _, secret = create_sender(tenant, name="app")
    workflow = make_workflow(tenant, user_id="user-1", status="completed")
    is_held, may_go = threading.Event(), threading.Event()
    answers: list[Any] = []

    def hold() -> None:
        with transaction.atomic():
            Workflow.objects.select_for_update().get(pk=workflow.pk)
            is_held.set()
            may_go.wait(10)

    def notify() -> None:
        is_held.wait(5)
        notice = {"workflow_id": workflow.workflow_id, "user_id": "user-1"}
        answers.append(send(NOTIFIED, notice, secret))
        may_go.set()

    in_threads(hold, notify)

    assert answers[0].status_code == 503
    assert "Retry-After" in answers[0]
