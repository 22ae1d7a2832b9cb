"""The API of endpoints, messages and deliveries: what it takes, shows and refuses."""

from __future__ import annotations

from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from jobs.models import IdempotencyKey, Tenant
from jobs.queue.enqueue import enqueue_job
from jobs.testing import RunJobs
from tests.conftest import ApiClient, MakeEndpoint
from tests.jobs.test_api_access import assert_problem
from tests.receivers import Receiver, answer
from webhooks.models import Delivery, Endpoint, EndpointSecret
from webhooks.sending.loop import send_due

ENDPOINTS = "/api/webhook-endpoints"


def test_an_endpoint_is_registered_and_its_secret_shown_this_once(
    api: ApiClient, receiver: Receiver, tenant: Tenant
) -> None:
    made = api.send("POST", ENDPOINTS, {"url": receiver.url, "event_types": ["job.completed"]})

    assert made.status_code == 201
    body = made.json()
    assert body["secret"].startswith("whsec_")
    assert made["Location"] == f"{ENDPOINTS}/{body['id']}"
    shown = api.send("GET", made["Location"])
    assert shown.json() == {name: value for name, value in body.items() if name != "secret"}
    assert (body["state"], body["tenant_id"]) == ("active", str(tenant.pk))
    stored = EndpointSecret.objects.get()
    assert body["secret"] not in stored.sealed
    assert stored.text == body["secret"]


def test_a_repeated_registration_is_answered_from_what_rests_sealed(
    api: ApiClient, receiver: Receiver
) -> None:
    first = api.send("POST", ENDPOINTS, {"url": receiver.url}, Idempotency_Key="once")
    again = api.send("POST", ENDPOINTS, {"url": receiver.url}, Idempotency_Key="once")

    assert again.json() == first.json()
    assert again["Idempotent-Replayed"] == "true"
    assert Endpoint.objects.count() == 1
    assert "whsec_" not in IdempotencyKey.objects.get().body


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"url": "http://example.com/"}, "/url", "url_refused"),
        ({"url": "https://user:pass@example.com/"}, "/url", "url_refused"),
        ({"url": "https://10.0.0.1/"}, "/url", "address_refused"),
        ({"url": "https://169.254.169.254/"}, "/url", "address_refused"),
        ({"url": "https://2130706433/"}, "/url", "url_refused"),
        ({"url": "x" * 3_000}, "/url", "max_length"),
        ({"event_types": ["job.exploded"]}, "/event_types", "unknown_event_type"),
        ({"event_types": ["webhook.test"]}, "/event_types", "unknown_event_type"),
        ({"headers": {"Webhook-Id": "mine"}}, "/headers/Webhook-Id", "reserved"),
        ({"headers": {"Host": "elsewhere"}}, "/headers/Host", "reserved"),
        ({"headers": {"X-Me": "a\r\nb: c"}}, "/headers/X-Me", "invalid"),
        ({"headers": {"X Me": "a"}}, "/headers/X Me", "invalid"),
        ({"headers": {f"X-{n}": "a" for n in range(21)}}, "/headers", "too_many"),
        ({"max_in_flight": 0}, "/max_in_flight", "min_value"),
        ({"max_per_minute": 2**40}, "/max_per_minute", "max_value"),
        ({"secret": "mine"}, "/secret", "unknown_field"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_wrong_endpoint_is_refused_when_made_and_when_changed(
    api: ApiClient, tenant: Tenant, method: str, change: dict[str, Any], pointer: str, code: str
) -> None:
    # No network is allowed here, so the endpoint to be changed was made when one was.
    existing = Endpoint.objects.create(tenant=tenant, url="https://example.com/")
    path = ENDPOINTS if method == "POST" else f"{ENDPOINTS}/{existing.pk}"

    response = api.send(method, path, {"url": "https://example.com/", **change})

    problem = assert_problem(response, 422, "invalid")
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [(pointer, code)]  # type: ignore[attr-defined]
    assert Endpoint.objects.get().updated_at == existing.updated_at


def test_a_tenant_has_so_many_endpoints_and_no_more(
    api: ApiClient, tenant: Tenant, receiver: Receiver
) -> None:
    Endpoint.objects.bulk_create([Endpoint(tenant=tenant, url="https://example.com/") for _ in range(20)])

    response = api.send("POST", ENDPOINTS, {"url": receiver.url})

    assert_problem(response, 409, "too_many_endpoints")


def test_headers_are_sent_and_never_shown(
    api: ApiClient, receiver: Receiver, tenant: Tenant, run_jobs: RunJobs
) -> None:
    made = api.send("POST", ENDPOINTS, {"url": receiver.url, "headers": {"Authorization": "Bearer abc"}})
    enqueue_job("system.ping", tenant_id=tenant.pk)
    run_jobs()
    send_due()

    delivery = api.send("GET", f"/api/webhook-deliveries/{Delivery.objects.get().pk}")

    assert receiver.requests[0].headers["authorization"] == "Bearer abc"
    assert made.json()["header_names"] == ["Authorization"]
    assert b"Bearer abc" not in made.content + delivery.content
    assert "Bearer abc" not in Endpoint.objects.get().sealed_headers


def test_an_endpoint_is_changed_paused_resumed_and_deleted(api: ApiClient, receiver: Receiver) -> None:
    path = api.send("POST", ENDPOINTS, {"url": receiver.url})["Location"]

    changed = api.send("PATCH", path, {"description": "orders", "max_per_minute": 60})
    paused = api.send("POST", f"{path}/pause", X_Actor_Id="ada")
    twice = api.send("POST", f"{path}/pause")
    resumed = api.send("POST", f"{path}/resume")
    deleted = api.send("DELETE", path)

    assert (changed.json()["description"], changed.json()["max_per_minute"]) == ("orders", 60)
    assert (paused.json()["state"], paused.json()["paused_by"]) == ("paused", "ada")
    assert_problem(twice, 409, "invalid_transition")
    assert resumed.json()["state"] == "active"
    assert deleted.status_code == 204
    assert_problem(api.send("GET", path), 404, "not_found")
    assert api.send("GET", ENDPOINTS).json()["results"] == []


def test_a_rotated_secret_is_the_new_one(api: ApiClient, receiver: Receiver) -> None:
    path = api.send("POST", ENDPOINTS, {"url": receiver.url})["Location"]

    rotated = api.send("POST", f"{path}/rotate", {"keep_hours": 0})
    api.send("POST", f"{path}/test")
    send_due()

    (request,) = receiver.requests
    Webhook(rotated.json()["secret"]).verify(request.body, request.headers)
    assert len(request.headers["webhook-signature"].split(" ")) == 1
    assert_problem(api.send("POST", f"{path}/rotate", {"keep_hours": 169}), 422, "invalid")


def test_a_test_event_is_delivered_and_each_attempt_told(api: ApiClient, receiver: Receiver) -> None:
    receiver.behaviour = answer(500, [("X-Why", "broken")], b"no")
    path = api.send("POST", ENDPOINTS, {"url": receiver.url, "event_types": ["job.failed"]})["Location"]

    accepted = api.send("POST", f"{path}/test")
    send_due()
    seen = api.send("GET", accepted["Location"]).json()

    assert accepted.status_code == 201
    assert (seen["type"], seen["status"], seen["is_manual"]) == ("webhook.test", "failed", True)
    assert seen["explanation"] == "The endpoint answered 500."
    (made,) = seen["attempts"]
    assert (made["status_code"], made["response_body"], made["reason"]) == (500, "no", "http_status")
    assert ["X-Why", "broken"] in made["response_headers"]
    assert made["request_headers"]["webhook-id"].startswith("msg_")
    assert made["duration_ms"] >= 0


def test_what_has_failed_is_sent_once_more_or_recovered(
    api: ApiClient, tenant: Tenant, receiver: Receiver, run_jobs: RunJobs
) -> None:
    path = api.send("POST", ENDPOINTS, {"url": receiver.url})["Location"]
    enqueue_job("system.ping", tenant_id=tenant.pk)
    run_jobs()
    receiver.behaviour = answer(410)
    send_due()
    receiver.behaviour = answer(200)
    (failed,) = api.send("GET", "/api/webhook-deliveries?status=failed").json()["results"]

    again = api.send("POST", f"/api/webhook-deliveries/{failed['id']}/redeliver")
    too_early = api.send("POST", f"{path}/recover")
    api.send("POST", f"{path}/resume")
    recovered = api.send("POST", f"{path}/recover", {"since": None})
    send_due()

    assert again.status_code == 201
    assert_problem(too_early, 409, "invalid_transition")
    assert recovered.json() == {"recovered": 1}
    assert {row.status for row in Delivery.objects.all()} == {"delivered"}
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1


def test_messages_and_deliveries_are_listed_and_filtered(
    api: ApiClient, tenant: Tenant, run_jobs: RunJobs, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint()
    enqueue_job("system.ping", tenant_id=tenant.pk)
    run_jobs()

    (message,) = api.send("GET", "/api/webhook-messages?type=job.completed").json()["results"]
    none = api.send("GET", "/api/webhook-messages?type=job.failed").json()["results"]
    (delivery,) = api.send("GET", f"/api/webhook-deliveries?message_id={message['id']}").json()["results"]

    assert "body" not in message
    assert message["webhook_id"] == f"msg_{message['id'].replace('-', '')}"
    assert none == []
    assert delivery["explanation"] == "It waits for its turn."
    whole = api.send("GET", f"/api/webhook-messages/{message['id']}").json()
    assert {**message, "body": whole["body"]} == whole
    assert whole["body"]["type"] == "job.completed"
    wrong = api.send("GET", "/api/webhook-deliveries?endpoint_id=nonsense")
    of_none = api.send("GET", "/api/webhook-deliveries?workflow_id=nothing")
    assert of_none.json()["results"] == []
    assert_problem(wrong, 422, "invalid")


def test_a_list_costs_the_same_however_long_it_is(
    api: ApiClient,
    tenant: Tenant,
    run_jobs: RunJobs,
    make_endpoint: MakeEndpoint,
    django_assert_num_queries: Any,
) -> None:
    make_endpoint()
    for _ in range(5):
        enqueue_job("system.ping", tenant_id=tenant.pk)
    run_jobs()
    api.send("GET", "/api/jobs")  # the key's use is noted once a minute

    with django_assert_num_queries(2):  # and the key, past the ORM
        answer_ = api.send("GET", "/api/webhook-deliveries")

    assert len(answer_.json()["results"]) == 5


def test_another_tenant_sees_and_steers_nothing(
    tenant: Tenant,
    other_tenant: Tenant,
    api_as: Any,
    run_jobs: RunJobs,
    make_endpoint: MakeEndpoint,
) -> None:
    endpoint, _ = make_endpoint()
    enqueue_job("system.ping", tenant_id=tenant.pk)
    run_jobs()
    delivery = Delivery.objects.get()
    stranger = api_as(other_tenant)
    path = f"{ENDPOINTS}/{endpoint.pk}"

    for call in [
        ("GET", path),
        ("PATCH", path, {"description": "mine"}),
        ("DELETE", path),
        *(("POST", f"{path}/{verb}") for verb in ("pause", "resume", "rotate", "test", "recover")),
        ("GET", f"/api/webhook-deliveries/{delivery.pk}"),
        ("POST", f"/api/webhook-deliveries/{delivery.pk}/redeliver"),
        ("GET", f"/api/webhook-messages/{delivery.message_id}"),
    ]:
        assert_problem(stranger.send(*call), 404, "not_found")
    for path in (ENDPOINTS, "/api/webhook-deliveries", "/api/webhook-messages"):
        assert stranger.send("GET", path).json()["results"] == []
    endpoint.refresh_from_db()
    assert endpoint.state == "active"
    assert Delivery.objects.count() == 1


def test_all_of_it_asks_for_manage(tenant: Tenant, api_as: Any, make_endpoint: MakeEndpoint) -> None:
    endpoint, _ = make_endpoint()
    reader = api_as(tenant, "read", "submit", "work")

    for method, path in [
        ("GET", ENDPOINTS),
        ("POST", ENDPOINTS),
        ("GET", f"{ENDPOINTS}/{endpoint.pk}"),
        ("GET", "/api/webhook-deliveries"),
        ("GET", "/api/webhook-messages"),
    ]:
        assert_problem(reader.send(method, path), 403, "scope_missing")


def test_the_catalogue_is_told(api: ApiClient) -> None:
    types = api.send("GET", "/api/webhook-event-types").json()["results"]

    assert "workflow.completed" in [event["type"] for event in types]
    assert all(event["schema"]["properties"]["type"] == {"const": event["type"]} for event in types)
