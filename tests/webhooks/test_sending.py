"""Sending: what goes out, that it verifies, and what each answer means for the delivery."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from standardwebhooks.webhooks import Webhook

from jobs.models import Queue, Tenant
from jobs.queue.enqueue import enqueue_job
from jobs.services.jobs import cancel_job, complete_job
from jobs.services.queues import pause_queue
from jobs.testing import RunJobs
from tests.conftest import MakeEndpoint
from tests.factories import claim_one, make_job
from tests.receivers import Receiver, answer
from webhooks.models import Attempt, Delivery, Endpoint, Message
from webhooks.sending.claim import claim_deliveries, sweep_deliveries
from webhooks.sending.loop import send_due
from webhooks.services.deliveries import recover_deliveries, redeliver, send_test, settle_deliveries
from webhooks.services.endpoints import delete_endpoint, pause_endpoint, resume_endpoint
from webhooks.services.secrets import revoke_earlier_secrets, rotate_secret


def finish_a_job(tenant: Tenant, run_jobs: RunJobs, **options: Any) -> None:
    enqueue_job("system.ping", tenant_id=tenant.pk, **options)
    run_jobs()


def hurry() -> None:
    """Make what is to be sent later due now."""
    Delivery.objects.filter(status="pending").update(next_attempt_at=timezone.now())


def test_a_finished_job_reaches_the_endpoint(
    tenant: Tenant, run_jobs: RunJobs, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint(event_types=["job.completed"], headers={"Authorization": "Basic x"})

    finish_a_job(tenant, run_jobs, trace_id="a" * 32, request_id="request-7")
    count = send_due()

    assert count == 1
    (request,) = receiver.requests
    assert (request.method, request.path) == ("POST", "/hook")
    assert request.headers["authorization"] == "Basic x"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-attempt"] == "1"
    assert request.headers["traceparent"].split("-")[1] == "a" * 32
    assert request.headers["x-request-id"] == "request-7"
    body = json.loads(request.body)
    assert (body["type"], body["data"]["kind"], body["data"]["trace_id"]) == (
        "job.completed",
        "system.ping",
        "a" * 32,
    )
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.status_code, delivery.attempt_count) == ("delivered", 200, 1)
    attempt = Attempt.objects.get()
    assert (attempt.outcome, attempt.status_code, attempt.number) == ("delivered", 200, 1)
    assert attempt.request_headers["Authorization"] == "(hidden)"
    assert attempt.timings["total"] >= 0


def test_what_is_sent_verifies_in_both_forms(
    tenant: Tenant, run_jobs: RunJobs, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    _, secret = make_endpoint()

    finish_a_job(tenant, run_jobs)
    send_due()

    (request,) = receiver.requests
    assert Webhook(secret).verify(request.body, request.headers)["type"] == "job.completed"
    plain = hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest()
    assert request.headers["x-webhook-signature"] == f"sha256={plain}"
    assert request.body == bytes(Message.objects.get().body)


def test_a_rotated_secret_signs_beside_the_new_one_until_it_is_revoked(
    tenant: Tenant, run_jobs: RunJobs, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    endpoint, old = make_endpoint()
    new = rotate_secret(endpoint)

    finish_a_job(tenant, run_jobs)
    send_due()
    revoke_earlier_secrets(endpoint)
    finish_a_job(tenant, run_jobs)
    send_due()

    both, alone = receiver.requests
    Webhook(old).verify(both.body, both.headers)
    Webhook(new).verify(both.body, both.headers)
    assert len(both.headers["webhook-signature"].split(" ")) == 2
    Webhook(new).verify(alone.body, alone.headers)
    assert len(alone.headers["webhook-signature"].split(" ")) == 1


def test_an_event_is_told_only_to_those_who_take_it(
    tenant: Tenant, other_tenant: Tenant, run_jobs: RunJobs, make_endpoint: MakeEndpoint
) -> None:
    wants_all, _ = make_endpoint()
    make_endpoint(event_types=["workflow.failed"])
    make_endpoint(other_tenant)

    finish_a_job(tenant, run_jobs)

    assert [delivery.endpoint for delivery in Delivery.objects.all()] == [wants_all]


def test_without_an_endpoint_nothing_is_written(tenant: Tenant, run_jobs: RunJobs) -> None:
    finish_a_job(tenant, run_jobs)

    assert not Message.objects.exists()


def test_a_job_that_expires_or_is_cancelled_in_the_queue_is_told(
    tenant: Tenant, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint()

    cancel_job(make_job(tenant), by="somebody")

    message = Message.objects.get()
    assert message.type == "job.cancelled"
    assert message.content["data"]["error"]["code"] == "cancelled"


def test_a_message_rolls_back_with_its_cause(
    tenant: Tenant, run_jobs: RunJobs, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint()
    job = make_job(tenant)
    row = claim_one(job)
    with pytest.raises(RuntimeError), transaction.atomic():
        complete_job(job, row.lease_token, {})
        assert Message.objects.exists()
        raise RuntimeError("something later fails")

    assert not Message.objects.exists()
    assert not Delivery.objects.exists()


@pytest.mark.parametrize(
    ("status", "headers", "reason", "at_least", "at_most"),
    [
        (500, [], "http_status", 5, 6),
        (404, [], "http_status", 5, 6),
        (301, [("Location", "http://127.0.0.1/")], "redirected", 5, 6),
        (503, [("Retry-After", "120")], "http_status", 120, 120),
        (503, [("Retry-After", "999999")], "http_status", 36_000, 36_000),
        (503, [("Retry-After", "1")], "http_status", 5, 6),
        (429, [], "http_status", 60, 60),
        (429, [("Retry-After", "nonsense")], "http_status", 60, 60),
        (500, [("Retry-After", "120")], "http_status", 5, 6),
    ],
)
def test_a_failure_is_tried_again_by_the_schedule(
    tenant: Tenant,
    run_jobs: RunJobs,
    receiver: Receiver,
    make_endpoint: MakeEndpoint,
    status: int,
    headers: list[tuple[str, str]],
    reason: str,
    at_least: int,
    at_most: int,
) -> None:
    receiver.behaviour = answer(status, headers, b"no")
    make_endpoint()

    finish_a_job(tenant, run_jobs)
    send_due()

    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.reason, delivery.status_code) == ("pending", reason, status)
    assert delivery.next_attempt_at
    wait = (delivery.next_attempt_at - timezone.now()).total_seconds()
    assert at_least - 5 <= wait <= at_most
    assert Attempt.objects.get().response_body == "no"


def test_the_schedule_is_that_of_standard_webhooks_and_ends_after_ten_attempts(
    tenant: Tenant, run_jobs: RunJobs, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    receiver.behaviour = answer(500)
    endpoint, _ = make_endpoint()
    finish_a_job(tenant, run_jobs)
    waits = []

    for _ in range(10):
        send_due()
        delivery = Delivery.objects.get()
        waits.append(
            (delivery.next_attempt_at - timezone.now()).total_seconds() if delivery.next_attempt_at else None
        )
        hurry()

    expected = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]
    assert waits[9] is None
    for wait, base in zip(waits[:9], expected, strict=True):
        assert wait is not None
        assert base - 3 <= wait <= base * 1.2
    assert (delivery.status, delivery.attempt_count) == ("failed", 10)
    assert [request.headers["webhook-attempt"] for request in receiver.requests] == [
        str(number) for number in range(1, 11)
    ]
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1


def test_gone_disables_the_endpoint_and_tells_the_others(
    tenant: Tenant, run_jobs: RunJobs, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    endpoint, _ = make_endpoint()
    other, _ = make_endpoint(event_types=["endpoint.disabled"])
    finish_a_job(tenant, run_jobs)
    receiver.behaviour = answer(410)

    send_due()
    finish_a_job(tenant, run_jobs)

    endpoint.refresh_from_db()
    assert (endpoint.state, endpoint.disabled_reason) == ("disabled", "gone")
    first, later = Delivery.objects.filter(endpoint=endpoint).order_by("id")
    assert (first.status, first.reason) == ("failed", "gone")
    assert (later.status, later.reason) == ("held", "disabled")
    told = Message.objects.get(type="endpoint.disabled")
    assert told.content["data"]["endpoint_id"] == str(endpoint.pk)
    assert Delivery.objects.get(message=told).endpoint == other


def test_five_days_of_failures_disable_and_what_is_held_can_be_recovered(
    tenant: Tenant, run_jobs: RunJobs, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    receiver.behaviour = answer(500)
    endpoint, _ = make_endpoint()
    finish_a_job(tenant, run_jobs)
    send_due()
    Endpoint.objects.update(failures=9, failing_since=timezone.now() - timedelta(days=5, minutes=1))
    hurry()

    send_due()
    finish_a_job(tenant, run_jobs)
    settle_deliveries()
    endpoint.refresh_from_db()

    assert (endpoint.state, endpoint.disabled_reason) == ("disabled", "failing")
    assert {delivery.status for delivery in Delivery.objects.all()} == {"held"}
    receiver.behaviour = answer(200)
    resume_endpoint(endpoint)
    assert send_due() == 0
    assert recover_deliveries(endpoint) == 2
    send_due()
    assert {delivery.status for delivery in Delivery.objects.all()} == {"delivered"}


def test_the_breaker_opens_and_one_delivery_goes_ahead(
    tenant: Tenant, run_jobs: RunJobs, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    receiver.behaviour = answer(500)
    endpoint, _ = make_endpoint()
    for _ in range(12):
        finish_a_job(tenant, run_jobs)
    send_due()
    endpoint.refresh_from_db()
    hurry()

    assert (endpoint.state, endpoint.failures, endpoint.breaker_trips) == ("resting", 12, 1)
    assert send_due() == 0  # and no attempt is used up
    Endpoint.objects.update(breaker_until=timezone.now())
    assert send_due() == 1
    endpoint.refresh_from_db()
    assert endpoint.breaker_trips == 2
    assert endpoint.breaker_until
    assert 55 < (endpoint.breaker_until - timezone.now()).total_seconds() <= 60
    Endpoint.objects.update(breaker_until=timezone.now())
    receiver.behaviour = answer(200)
    hurry()
    assert send_due() == 1
    endpoint.refresh_from_db()
    assert (endpoint.state, endpoint.failures, endpoint.breaker_trips) == ("active", 0, 0)
    assert send_due() == 11


@pytest.mark.django_db(transaction=True)
def test_a_paused_endpoint_holds_and_a_resumed_one_is_sent_to(
    tenant: Tenant, run_jobs: RunJobs, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    endpoint, _ = make_endpoint()
    finish_a_job(tenant, run_jobs)

    pause_endpoint(endpoint, by="somebody")
    finish_a_job(tenant, run_jobs)

    assert [(d.status, d.reason) for d in Delivery.objects.all()] == [("held", "paused")] * 2
    assert send_due() == 0
    resume_endpoint(endpoint)
    assert send_due() == 2


def test_what_was_written_while_its_endpoint_was_paused_is_settled_later(
    tenant: Tenant, run_jobs: RunJobs, make_endpoint: MakeEndpoint
) -> None:
    endpoint, _ = make_endpoint()
    finish_a_job(tenant, run_jobs)
    Endpoint.objects.update(paused_at=timezone.now())  # as if by a transaction at the same moment

    assert settle_deliveries() == 1

    assert Delivery.objects.get().status == "held"
    Endpoint.objects.update(paused_at=None)
    assert settle_deliveries() == 1
    assert Delivery.objects.get().status == "pending"


@pytest.mark.django_db(transaction=True)
def test_a_deleted_endpoint_is_sent_nothing(
    tenant: Tenant, run_jobs: RunJobs, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    endpoint, _ = make_endpoint(headers={"Authorization": "secret"})
    finish_a_job(tenant, run_jobs)

    delete_endpoint(endpoint)
    finish_a_job(tenant, run_jobs)

    assert send_due() == 0
    assert [(d.status, d.reason) for d in Delivery.objects.all()] == [("failed", "deleted")]
    endpoint.refresh_from_db()
    assert endpoint.sealed_headers == ""
    assert not endpoint.secrets.exists()


def test_a_cap_in_flight_and_a_rate_are_kept(
    tenant: Tenant, run_jobs: RunJobs, make_endpoint: MakeEndpoint
) -> None:
    capped, _ = make_endpoint(max_in_flight=3)
    slow, _ = make_endpoint(max_per_minute=60)
    for _ in range(5):
        finish_a_job(tenant, run_jobs)
    rows = claim_deliveries("worker", room=100)
    more = claim_deliveries("worker", room=100)

    assert [row.endpoint_id for row in rows].count(capped.pk) == 3
    assert [row.endpoint_id for row in rows].count(slow.pk) == 2  # this second's and the last one's
    assert more == []


def test_many_deliveries_of_one_endpoint_leave_room_for_another(
    tenant: Tenant, other_tenant: Tenant, run_jobs: RunJobs, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint(max_in_flight=200)
    for _ in range(8):
        finish_a_job(tenant, run_jobs)
    other, _ = make_endpoint(other_tenant)
    finish_a_job(other_tenant, run_jobs)
    rows = claim_deliveries("worker", room=2)

    assert other.pk in [row.endpoint_id for row in rows]


def test_a_test_and_a_redelivery_go_out_whatever_the_state(
    tenant: Tenant, run_jobs: RunJobs, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    endpoint, _ = make_endpoint(event_types=["job.completed"])
    finish_a_job(tenant, run_jobs)
    send_due()
    pause_endpoint(endpoint, by="somebody")
    receiver.behaviour = answer(500)

    send_test(endpoint)
    again = redeliver(Delivery.objects.get(is_manual=False))
    send_due()

    again.refresh_from_db()
    assert (again.status, again.attempt_count) == ("failed", 1)  # once is all that was asked for
    first, test, repeated = sorted(receiver.requests, key=lambda request: request.at)
    ids = {request.headers["webhook-id"] for request in receiver.requests}
    assert len(ids) == 2
    endpoint.refresh_from_db()
    assert endpoint.failures == 0  # neither for nor against


def test_a_lapsed_delivery_is_sent_again_under_the_same_id_without_costing_a_step(
    tenant: Tenant, run_jobs: RunJobs, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint()
    finish_a_job(tenant, run_jobs)
    (row,) = claim_deliveries("a process that dies", room=10)
    assert send_due() == 0
    Delivery.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))

    assert sweep_deliveries() == 1
    send_due()

    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.step, delivery.attempt_count) == ("delivered", 1, 2)
    lost, made = Attempt.objects.order_by("id")
    assert (lost.outcome, lost.reason, lost.worker) == ("unknown", "sender_lost", "a process that dies")
    assert made.outcome == "delivered"
    assert receiver.requests[0].headers["webhook-id"] == f"msg_{row.message_id.hex}"


def test_a_paused_queue_sends_nothing(tenant: Tenant, run_jobs: RunJobs, make_endpoint: MakeEndpoint) -> None:
    make_endpoint()
    finish_a_job(tenant, run_jobs)
    pause_queue(Queue.objects.get(name="webhooks", is_remote=False), by="somebody")

    assert send_due() == 0

    assert Delivery.objects.get().status == "pending"


def test_an_endpoint_that_now_leads_inside_is_refused_for_good(
    tenant: Tenant, run_jobs: RunJobs, receiver: Receiver, make_endpoint: MakeEndpoint, settings: Any
) -> None:
    make_endpoint()
    finish_a_job(tenant, run_jobs)
    settings.WEBHOOK_ALLOWED_NETWORKS = []

    send_due()

    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.reason) == ("failed", "address_refused")
    assert receiver.requests == []


def test_a_large_result_is_left_out_of_the_message(
    tenant: Tenant, make_endpoint: MakeEndpoint, receiver: Receiver
) -> None:
    make_endpoint()
    job = make_job(tenant)
    complete_job(job, claim_one(job).lease_token, {"text": "ü" * 400_000})

    message = Message.objects.get()
    assert len(bytes(message.body)) <= 256 * 1024
    assert message.content["data"]["result"]["$truncated"]["bytes"] > 800_000
    assert message.content["data"]["job_id"] == str(job.pk)
