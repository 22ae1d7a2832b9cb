"""The pages of deliveries and messages; what all lists cost and how they bear hostile texts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from jobs.admin import bulk, displays
from jobs.models import Job, Tenant, Workflow
from tests.factories import (
    make_attempt,
    make_delivery,
    make_endpoint,
    make_job,
    make_message,
    make_receipt,
    make_sender,
    make_workflow,
)
from tests.operations import ended_alone
from tests.webhooks.pages import (
    HOSTILE,
    act,
    found,
    list_of,
    page_of,
    shown,
)
from webhooks.models import Attempt, Delivery, Endpoint, Message, Receipt, Sender


@pytest.mark.parametrize("status", Delivery.Status.values)
def test_a_delivery_of_every_status_is_shown(root: Client, endpoint: Endpoint, status: str) -> None:
    delivery = make_delivery(endpoint, status=status)
    make_delivery(endpoint, status="pending" if status != "pending" else "held")

    for url in (list_of(Delivery), page_of(delivery), page_of(delivery.message)):
        assert displays.badge(status) in shown(root, url)
    assert found(root, Delivery, status=status) == {delivery.pk}


def test_every_word_of_a_status_has_its_badge() -> None:
    words = [Delivery.Status, Endpoint.State, Receipt.State, Attempt.Outcome]

    assert {word for choices in words for word in choices.values} <= set(displays.BADGES)


def test_a_delivery_shows_its_attempts_and_what_was_said(root: Client, endpoint: Endpoint) -> None:
    delivery = make_delivery(endpoint, status="failed", attempt_count=2, detail="The endpoint answered 503.")
    make_attempt(
        delivery,
        outcome="failed",
        status_code=None,
        reason="connect_timeout",
        internal_detail="ConnectTimeout: 10.1.2.3",
        address="10.1.2.3:443",
    )
    make_attempt(
        delivery,
        number=2,
        outcome="failed",
        status_code=503,
        reason="http_status",
        request_headers={"webhook-id": "msg_1"},
        response_headers=[["server", "nginx"]],
        response_body='{"error": "busy"}',
        timings={"dns": 3, "first_byte": 40, "total": 50},
        duration_ms=50,
    )

    html = shown(root, page_of(delivery))

    for text in (
        "The endpoint answered 503.",
        "connect_timeout",
        "ConnectTimeout: 10.1.2.3",
        "10.1.2.3:443",
        'max="50" value="40"',
        "Answer, 503",
        "nginx",
        "busy",
    ):
        assert text in html
    assert html.index("Attempt 2") < html.index("Attempt 1")
    assert html.count("<h2>Message<") == 1


def test_a_delivery_whose_endpoint_goes_meanwhile_is_counted_as_refused(
    root: Client, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, kept = (make_delivery(make_endpoint(tenant), status="failed") for _ in range(2))
    do = bulk.perform

    def perform_late(verb: Any, record: Any, **options: Any) -> Any:
        """Between the list and the verb somebody deletes an endpoint."""
        Endpoint.objects.filter(pk=gone.endpoint_id).delete()
        return do(verb, record, **options)

    monkeypatch.setattr(bulk, "perform", perform_late)

    operation = ended_alone(act(root, "redeliver", gone, kept, confirmed="1"))

    assert operation.refusals == {"No longer among those this list shows.": 1}
    assert set(Delivery.objects.filter(is_manual=True).values_list("endpoint", flat=True)) == {
        kept.endpoint_id
    }


def test_what_is_for_operators_is_not_shown_to_viewers(viewer: Client, endpoint: Endpoint) -> None:
    delivery = make_delivery(endpoint, status="failed")
    make_attempt(delivery, outcome="failed", internal_detail="ConnectTimeout", address="10.1.2.3:443")

    html = shown(viewer, page_of(delivery))

    assert "ConnectTimeout" not in html
    assert "10.1.2.3" not in html


def test_a_delivery_is_found_by_what_it_is_known_by(root: Client, tenant: Tenant) -> None:
    workflow = make_workflow(tenant, workflow_id="gen-7")
    job = make_job(tenant, workflow=workflow, step_index=0)
    endpoint = make_endpoint(tenant)
    message = make_message(tenant, job=job, workflow=workflow)
    delivery = make_delivery(endpoint, message)
    make_delivery(make_endpoint(tenant))

    terms = [delivery.pk, message.pk, message.webhook_id, endpoint.pk, job.pk, workflow.pk, "gen-7"]
    for term in terms:
        assert found(root, Delivery, q=f" {term} ") == {delivery.pk}, term
    for term in (message.pk, message.webhook_id, job.pk, workflow.pk, "gen-7"):
        assert found(root, Message, q=str(term)) == {message.pk}, term
    for nothing in ("msg_", "msg_" + "x" * 32, "nothing", "%"):
        assert found(root, Delivery, q=nothing) == set(), nothing


def test_deliveries_and_messages_are_filtered(root: Client, tenant: Tenant, other_tenant: Tenant) -> None:
    ours = make_delivery(make_endpoint(tenant), status="failed")
    theirs = make_delivery(make_endpoint(other_tenant), make_message(other_tenant, type="job.failed"))
    gone = make_delivery(make_endpoint(tenant, deleted_at=timezone.now()), status="failed", reason="deleted")

    assert found(root, Delivery, reason="http_status") == {ours.pk}
    assert found(root, Delivery, tenant="globex") == {theirs.pk}
    assert found(root, Delivery, endpoint=str(ours.endpoint_id)) == {ours.pk}
    assert found(root, Delivery, endpoint=str(gone.endpoint_id)) == {gone.pk}
    assert found(root, Delivery, endpoint="nonsense") == set()
    assert found(root, Delivery, created="hour") == {ours.pk, theirs.pk, gone.pk}
    assert found(root, Message, type="job.failed") == {theirs.message_id}


def test_a_message_shows_its_body_and_what_it_is_about(root: Client, tenant: Tenant) -> None:
    workflow = make_workflow(tenant, workflow_id="gen-7")
    job = make_job(tenant, workflow=workflow, step_index=0)
    message = make_message(tenant, job=job, workflow=workflow, body=b'{"data": {"answer": 42}}')
    delivery = make_delivery(make_endpoint(tenant), message)

    html = shown(root, page_of(message))

    assert '<span class="number">42</span>' in html
    for row in (job, workflow, delivery):
        assert page_of(row) in html
    job.delete()
    workflow.delete()
    shown(root, page_of(message))
    assert found(root, Message) == {message.pk}


def test_hostile_texts_are_escaped(root: Client, tenant: Tenant) -> None:
    workflow = make_workflow(tenant)
    endpoint = make_endpoint(tenant, description=HOSTILE, url=f"https://x.example/{HOSTILE}")
    message = make_message(tenant, workflow=workflow, body=json.dumps({HOSTILE: HOSTILE}).encode())
    delivery = make_delivery(endpoint, message, status="failed", detail=HOSTILE, worker=HOSTILE)
    headers = {HOSTILE: HOSTILE}
    for number, body in enumerate((HOSTILE, json.dumps([HOSTILE]), '"\u202edrow"'), start=1):
        make_attempt(
            delivery,
            number=number,
            outcome="failed",
            detail=HOSTILE,
            internal_detail=HOSTILE,
            request_headers=headers,
            response_headers=[[HOSTILE, HOSTILE]],
            response_body=body,
        )
    sender = make_sender(tenant, name=HOSTILE)
    receipt = make_receipt(
        sender,
        workflow=workflow,
        workflow_name=HOSTILE,
        user_id=HOSTILE,
        key=HOSTILE,
        reason=HOSTILE[:60],
        headers=headers,
        body=headers,
    )

    pages = [page_of(row) for row in (endpoint, message, delivery, sender, receipt, workflow)]
    lists = [list_of(model) for model in (Endpoint, Message, Delivery, Sender, Receipt)]
    for url in [*pages, *lists, reverse("admin:index")]:
        html = shown(root, url)
        assert "<script>alert" not in html, url
        assert "\u202e" not in html, url


@pytest.mark.parametrize("headers", [None, [], {}, [["a"]], [["a", "b"], ["a", "c"]], "text"])
def test_strange_headers_are_shown(root: Client, endpoint: Endpoint, headers: Any) -> None:
    delivery = make_delivery(endpoint)
    make_attempt(delivery, response_headers=headers or [], timings={"dns": "soon"}, duration_ms=None)

    shown(root, page_of(delivery))
    shown(root, page_of(endpoint))


# Session, account and its restriction; the transaction, which bounds its statements; keys, rows and saved views; then
# the choices of the filters (tenants; for deliveries endpoints, for receipts senders).
LIST_QUERIES = {Endpoint: 10, Delivery: 11, Message: 10, Receipt: 11, Sender: 10}


def make_rows(tenant: Tenant, count: int) -> None:
    for _ in range(count):
        workflow = make_workflow(tenant)
        message = make_message(
            tenant, workflow=workflow, job=make_job(tenant, workflow=workflow, step_index=0)
        )
        make_attempt(make_delivery(make_endpoint(tenant), message))
        make_receipt(make_sender(tenant), workflow=workflow)


@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize("model", LIST_QUERIES, ids=lambda model: model.__name__)
def test_a_list_costs_the_same_however_long(
    root: Client,
    tenant: Tenant,
    django_assert_num_queries: DjangoAssertNumQueries,
    model: type[Model],
    count: int,
) -> None:
    make_rows(tenant, count)

    with django_assert_num_queries(LIST_QUERIES[model]) as captured:
        shown(root, list_of(model))

    statements = " ".join(query["sql"] for query in captured.captured_queries)
    for column in ("body", "headers", "sealed_headers", "response_body", "sealed", "miniapp_req", "payload"):
        assert f'"{column}"' not in statements, column


@pytest.mark.parametrize("count", [1, 5])
def test_a_page_costs_the_same_however_much_it_shows(
    root: Client, tenant: Tenant, django_assert_num_queries: DjangoAssertNumQueries, count: int
) -> None:
    workflow: Workflow = make_workflow(tenant)
    job: Job = make_job(tenant, workflow=workflow, step_index=0)
    endpoint, sender = make_endpoint(tenant), make_sender(tenant)
    for number in range(count):
        delivery = make_delivery(endpoint, make_message(tenant, workflow=workflow, job=job))
        make_attempt(delivery, number=number + 1)
        make_receipt(sender, workflow=workflow)

    pages: list[tuple[Model, int]] = [
        # Session, account and its restriction, endpoint; what waits, attempts, secrets, deliveries.
        (endpoint, 9),
        (delivery, 6),  # and its attempts, whether sending is paused
        (delivery.message, 6),
        (sender, 9),  # secrets, its receipts among the newest, the tenant of the form
        (job, 19),  # a step: half of it is what the timeline of its workflow asks the floors for
        (workflow, 20),
    ]
    for row, queries in pages:
        with django_assert_num_queries(queries):
            shown(root, page_of(row))
