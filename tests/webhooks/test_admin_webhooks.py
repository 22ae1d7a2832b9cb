"""Webhooks in the admin: what the pages show and cost, forms, verbs, and secrets that are shown once."""

from __future__ import annotations

import json
import logging
import re
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.contrib.messages import get_messages
from django.contrib.sessions.models import Session
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from jobs.admin import displays
from jobs.models import Job, Tenant, Workflow
from jobs.tenancy.sealing import unseal
from tests.factories import (
    make_attempt,
    make_delivery,
    make_endpoint,
    make_job,
    make_message,
    make_operator,
    make_receipt,
    make_sender,
    make_superuser,
    make_workflow,
)
from webhooks.admin import health
from webhooks.models import Attempt, Delivery, Endpoint, Message, Receipt, Sender
from webhooks.services.endpoints import ENDPOINTS_MAX
from webhooks.services.secrets import rotate_secret

HOSTILE = '</pre><script>alert("x")</script>'
URL = "https://93.184.215.14/hooks"  # an address and no name: nothing is looked up
SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]+")


@pytest.fixture
def root(db: None) -> Client:
    return client_of(make_superuser("root"))


@pytest.fixture
def viewer(db: None) -> Client:
    models = ("endpoint", "delivery", "message", "receipt", "sender")
    return client_of(make_operator(*(f"webhooks.view_{model}" for model in models)))


@pytest.fixture
def endpoint(tenant: Tenant) -> Endpoint:
    return make_endpoint(tenant, url=URL, description="Production")


@pytest.fixture(autouse=True)
def _known_content_types(db: None) -> None:
    """Django caches these: only the first page of a process asks for them."""
    ContentType.objects.get_for_models(*apps.get_models())


def client_of(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def list_of(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def add_to(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add")


def page_of(row: Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def shown(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, url
    return response.content.decode()


def found(client: Client, model: type[Model], **query: str) -> set[Any]:
    response = client.get(list_of(model), query)
    assert response.status_code == 200
    return {row.pk for row in response.context["cl"].result_list}


def act(client: Client, action: str, *rows: Model, **fields: str) -> Any:
    posted = {"action": action, "_selected_action": [str(row.pk) for row in rows], **fields}
    return client.post(list_of(type(rows[0])), posted)


def told(response: Any) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


def logged() -> list[str]:
    return [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")]


def secret_in(response: Any) -> str:
    """The one secret on a page; it stands there twice, once on the button that copies it."""
    (secret,) = set(SECRET.findall(response.content.decode()))
    return str(secret)


def stored_texts() -> str:
    """All that the admin's own tables hold in clear."""
    sessions = [str(session.get_decoded()) for session in Session.objects.all()]
    return " ".join([*sessions, *logged()])


# --- Endpoints --------------------------------------------------------------------------------------


STATES: dict[str, dict[str, Any]] = {
    "active": {},
    "resting": {"breaker_until": timezone.now() + timedelta(hours=1), "failures": 12},
    "paused": {"paused_at": timezone.now(), "paused_by": "alice"},
    "disabled": {"disabled_at": timezone.now(), "disabled_reason": "gone"},
}


@pytest.mark.parametrize("state", STATES)
def test_an_endpoint_of_every_state_is_shown_and_found(root: Client, tenant: Tenant, state: str) -> None:
    endpoint = make_endpoint(tenant, **STATES[state])
    others = {make_endpoint(tenant, **fields).pk for name, fields in STATES.items() if name != state}

    assert displays.badge(state) in shown(root, list_of(Endpoint))
    assert displays.badge(state) in shown(root, page_of(endpoint))
    assert found(root, Endpoint, state=state) == {endpoint.pk}
    assert found(root, Endpoint) == {endpoint.pk, *others}


def test_a_deleted_endpoint_is_not_listed_and_its_page_still_opens(root: Client, tenant: Tenant) -> None:
    endpoint = make_endpoint(tenant, deleted_at=timezone.now())

    html = shown(root, page_of(endpoint))

    assert found(root, Endpoint) == set()
    assert displays.badge("deleted") in html
    assert 'name="url"' not in html
    assert 'name="action"' not in html
    assert root.post(page_of(endpoint), {"url": URL}).status_code == 403


def test_an_endpoint_shows_how_it_fares(root: Client, endpoint: Endpoint) -> None:
    delivery = make_delivery(endpoint, status="delivered")
    for number in range(1, 4):
        make_attempt(delivery, number=number, duration_ms=number * 10)
    make_attempt(delivery, number=4, outcome="failed", status_code=503, duration_ms=2_000)

    html = shown(root, page_of(endpoint))

    for text in ("75 %", "25 ms", "1,704 ms", ": 503, 2,000 ms", "4 attempts"):
        assert text in html
    assert html.count('class="afd-good" title=') == 3
    assert html.count('class="afd-bad" title=') == 1
    assert page_of(delivery) in html
    assert "75 %" in shown(root, list_of(Endpoint))


def test_no_more_than_the_last_attempts_are_looked_at(
    root: Client, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "ATTEMPTS_LOOKED_AT", 2)
    delivery = make_delivery(endpoint)
    make_attempt(delivery, outcome="failed")
    make_attempt(delivery, number=2)
    make_attempt(delivery, number=3)

    assert health.health_of(endpoint).share == "100 %"
    assert len(health.health_of(endpoint).cells) == 2
    assert "100 %" in shown(root, list_of(Endpoint))


def test_what_waits_is_counted_so_far(
    root: Client, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for status in ("pending", "held", "held", "delivered", "failed"):
        make_delivery(endpoint, status=status)

    (row,) = root.get(list_of(Endpoint)).context["cl"].result_list
    monkeypatch.setattr(health, "COUNTED_MAX", 1)
    (capped,) = root.get(list_of(Endpoint)).context["cl"].result_list

    assert row.waiting_count == 3
    assert capped.waiting_count == 3  # one pending and the two of held at which it stopped
    assert health.capped(2) == "1+"


def test_an_endpoint_is_found_by_what_it_is_known_by(
    root: Client, endpoint: Endpoint, tenant: Tenant
) -> None:
    make_endpoint(tenant)

    for term in (str(endpoint.pk), "93.184", "produc"):
        assert found(root, Endpoint, q=term) == {endpoint.pk}, term


def test_an_added_endpoint_shows_its_secret_once_and_nowhere_else(
    root: Client, tenant: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    posted = {
        "tenant": str(tenant.pk),
        "url": URL,
        "description": "Production",
        "event_types": ["job.completed", "job.failed"],
        "headers": "Authorization: Bearer hunter2\nX-Team: ops",
        "max_in_flight": "5",
        "max_per_minute": "60",
    }

    with caplog.at_level(logging.DEBUG):
        response = root.post(add_to(Endpoint), posted)

    endpoint = Endpoint.objects.get()
    secret = secret_in(response)
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    assert secret == endpoint.secrets.get().text
    assert endpoint.tenant == tenant
    assert endpoint.event_types == ["job.completed", "job.failed"]
    assert (endpoint.max_in_flight, endpoint.max_per_minute) == (5, 60)
    assert json.loads(unseal(endpoint.sealed_headers)) == {"Authorization": "Bearer hunter2", "X-Team": "ops"}
    for text in (stored_texts(), caplog.text, shown(root, page_of(endpoint)), shown(root, list_of(Endpoint))):
        assert secret not in text
        assert "hunter2" not in text


@pytest.mark.parametrize(
    ("changed", "field", "said"),
    [
        ({"url": "https://10.0.0.1/"}, "url", ""),
        ({"url": "ftp://93.184.215.14/"}, "url", ""),
        ({"headers": "webhook-id: mine"}, "headers", "webhook-id is the platform"),
        ({"headers": '{"X-A": 1}'}, "headers", "Each header has a text as its value."),
        ({"headers": "X-A: 1\nhunter2"}, "headers", "Line 2 is no"),
        ({"headers": "X-A: 1\nX-A: 2"}, "headers", "Line 2 gives a header a second time."),
        ({"headers": '{"X-A": '}, "headers", ""),
        ({"event_types": ["nothing.known"]}, "event_types", "nothing.known"),
        ({"max_in_flight": "500"}, "max_in_flight", "200"),
    ],
)
def test_what_the_service_refuses_is_said_at_the_field(
    root: Client, tenant: Tenant, changed: dict[str, Any], field: str, said: str
) -> None:
    posted = {"tenant": str(tenant.pk), "url": URL, "max_in_flight": "20", **changed}

    response = root.post(add_to(Endpoint), posted)

    form = response.context["adminform"].form
    assert list(form.errors) == [field]
    assert said in str(form.errors[field][0])
    assert not Endpoint.objects.exists()


def test_one_endpoint_too_many_is_refused(root: Client, tenant: Tenant) -> None:
    for _ in range(ENDPOINTS_MAX):
        make_endpoint(tenant)

    response = root.post(add_to(Endpoint), {"tenant": str(tenant.pk), "url": URL, "max_in_flight": "20"})

    assert "20 endpoints at most" in str(response.context["adminform"].form.non_field_errors())
    assert Endpoint.objects.count() == ENDPOINTS_MAX


def change(client: Client, endpoint: Endpoint, **fields: Any) -> Any:
    posted = {"url": endpoint.url, "description": endpoint.description, "max_in_flight": "20", **fields}
    return client.post(page_of(endpoint), posted)


def test_an_endpoint_is_changed_and_the_change_is_logged(root: Client, endpoint: Endpoint) -> None:
    response = change(root, endpoint, description="Staging", headers='{"X-Key": "hunter2"}')

    endpoint.refresh_from_db()
    assert response.status_code == 302
    assert endpoint.description == "Staging"
    assert json.loads(unseal(endpoint.sealed_headers)) == {"X-Key": "hunter2"}
    assert endpoint.secrets.count() == 1
    assert len(logged()) == 1
    assert "hunter2" not in stored_texts()
    html = shown(root, page_of(endpoint))
    assert "X-Key" in html
    assert "hunter2" not in html


def test_headers_stay_unless_they_are_replaced_or_removed(root: Client, endpoint: Endpoint) -> None:
    change(root, endpoint, headers="X-Key: hunter2")
    change(root, endpoint, description="Staging")
    endpoint.refresh_from_db()
    kept = endpoint.sealed_headers

    both = change(root, endpoint, headers="X-Key: other", remove_headers="on")
    removed = change(root, endpoint, remove_headers="on")

    endpoint.refresh_from_db()
    assert kept
    assert list(both.context["adminform"].form.errors) == ["remove_headers"]
    assert removed.status_code == 302
    assert endpoint.sealed_headers == ""


def test_a_refused_change_changes_nothing(root: Client, endpoint: Endpoint) -> None:
    response = change(root, endpoint, url="https://127.0.0.1/", description="Other")

    endpoint.refresh_from_db()
    assert list(response.context["adminform"].form.errors) == ["url"]
    assert (endpoint.url, endpoint.description) == (URL, "Production")


def test_headers_that_no_key_opens_are_said_to_be_so(root: Client, tenant: Tenant) -> None:
    endpoint = make_endpoint(tenant, sealed_headers="not sealed by us")

    assert "headers that no key here opens" in shown(root, page_of(endpoint))


def test_a_viewer_sees_no_form_and_no_verbs(viewer: Client, endpoint: Endpoint) -> None:
    delivery = make_delivery(endpoint, status="failed")
    sender = make_sender(endpoint.tenant)

    for row in (endpoint, delivery, sender):
        html = shown(viewer, page_of(row))
        assert 'name="action"' not in html
        assert 'name="_save"' not in html
        assert 'name="url"' not in html


# --- Verbs ------------------------------------------------------------------------------------------


def test_an_endpoint_is_paused_and_resumed_from_its_page(root: Client, endpoint: Endpoint) -> None:
    delivery = make_delivery(endpoint)

    paused = act(root, "pause_endpoints", endpoint, from_page="1")
    endpoint.refresh_from_db()
    delivery.refresh_from_db()

    assert paused["Location"] == page_of(endpoint)
    assert (endpoint.state, endpoint.paused_by, delivery.status) == ("paused", "root", "held")
    assert displays.badge("held") in shown(root, list_of(Delivery))

    act(root, "resume_endpoints", endpoint, from_page="1")
    endpoint.refresh_from_db()
    delivery.refresh_from_db()

    assert (endpoint.state, delivery.status) == ("active", "pending")
    assert logged() == [
        "Pause: paused; what is meant for it is held until it is resumed.",
        "Resume: resumed.",
    ]


def test_what_was_done_and_refused_is_counted(root: Client, tenant: Tenant) -> None:
    running, paused = make_endpoint(tenant), make_endpoint(tenant, **STATES["paused"])

    response = act(root, "pause_endpoints", running, paused)

    assert told(response) == [
        "1 endpoint: paused; what is meant for it is held until it is resumed.",
        "1 endpoint refused: The endpoint is paused already.",
    ]
    assert len(logged()) == 1


def test_all_of_a_list_may_be_selected(root: Client, tenant: Tenant) -> None:
    endpoints = [make_endpoint(tenant) for _ in range(3)]

    response = act(root, "pause_endpoints", endpoints[0], select_across="1", index="0")

    assert told(response) == ["3 endpoints: paused; what is meant for it is held until it is resumed."]


def test_a_test_is_sent(root: Client, endpoint: Endpoint) -> None:
    act(root, "test_endpoints", endpoint, from_page="1")

    delivery = Delivery.objects.get()
    assert (delivery.endpoint, delivery.message.type, delivery.is_manual) == (endpoint, "webhook.test", True)
    assert "webhook.test" in shown(root, page_of(endpoint))


def test_a_secret_is_rotated_after_a_question_and_shown_once(
    root: Client, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    before = endpoint.secrets.get().text

    asked = act(root, "rotate_secrets", endpoint, from_page="1")
    assert endpoint.secrets.count() == 1
    assert SECRET.search(asked.content.decode()) is None
    with caplog.at_level(logging.DEBUG):
        response = act(root, "rotate_secrets", endpoint, from_page="1", confirmed="1")

    current, earlier = endpoint.secrets.live()
    secret = secret_in(response)
    assert secret == current.text != before
    assert earlier.text == before
    assert logged() == ["Given a new secret."]
    page = shown(root, page_of(endpoint))
    for text in (stored_texts(), caplog.text, page):
        assert secret not in text
        assert before not in text
    assert displays.badge("expiring") in page
    assert "Revoke earlier secrets" in page


def test_earlier_secrets_are_revoked_after_a_question(root: Client, endpoint: Endpoint) -> None:
    rotate_secret(endpoint)

    act(root, "revoke_secrets", endpoint)
    assert endpoint.secrets.count() == 2
    response = act(root, "revoke_secrets", endpoint, confirmed="1")

    assert endpoint.secrets.count() == 1
    assert told(response) == ["1 endpoint: 1 earlier secret revoked."]


def test_deliveries_are_recovered_after_a_question_that_counts_them(root: Client, endpoint: Endpoint) -> None:
    held = make_delivery(endpoint, status="held", reason="disabled")
    failed = make_delivery(endpoint, status="failed")

    asked = act(root, "recover_endpoints", endpoint)
    assert "1 held and 1 failed." in asked.content.decode()
    assert Delivery.objects.filter(status="pending").count() == 0
    response = act(root, "recover_endpoints", endpoint, confirmed="1")

    assert set(Delivery.objects.filter(status="pending")) == {held, failed}
    assert told(response) == ["1 endpoint: 2 deliveries begin anew."]


def test_an_endpoint_is_deleted_after_a_question_and_keeps_its_history(
    root: Client, endpoint: Endpoint
) -> None:
    delivery = make_delivery(endpoint)

    act(root, "delete_endpoints", endpoint, from_page="1")
    endpoint.refresh_from_db()
    assert endpoint.deleted_at is None
    response = act(root, "delete_endpoints", endpoint, from_page="1", confirmed="1")

    endpoint.refresh_from_db()
    delivery.refresh_from_db()
    assert response["Location"] == page_of(endpoint)
    assert endpoint.state == "deleted"
    assert (delivery.status, delivery.reason) == ("failed", "deleted")
    assert "was deleted before it could be sent" in shown(root, page_of(delivery))


def test_who_may_change_endpoints_does_not_delete_them(endpoint: Endpoint) -> None:
    client = client_of(make_operator("webhooks.view_endpoint", "webhooks.change_endpoint"))

    html = shown(client, page_of(endpoint))
    act(client, "delete_endpoints", endpoint, confirmed="1")

    endpoint.refresh_from_db()
    assert endpoint.deleted_at is None
    assert 'value="delete_endpoints"' not in html
    assert 'value="pause_endpoints"' in html


def test_reading_asks_for_nothing_to_be_done(root: Client, endpoint: Endpoint) -> None:
    for action in ("pause_endpoints", "test_endpoints", "rotate_secrets", "delete_endpoints"):
        root.get(list_of(Endpoint), {"action": action, "_selected_action": endpoint.pk, "confirmed": "1"})

    endpoint.refresh_from_db()
    assert endpoint.state == "active"
    assert endpoint.secrets.count() == 1
    assert not Delivery.objects.exists()


def test_deliveries_are_sent_once_more(root: Client, tenant: Tenant, endpoint: Endpoint) -> None:
    failed = make_delivery(endpoint, status="failed")
    lost = make_delivery(make_endpoint(tenant, deleted_at=timezone.now()), status="failed")

    asked = act(root, "redeliver", failed, lost)
    assert "Redeliver 2 deliveries" in asked.content.decode()
    assert Delivery.objects.count() == 2
    response = act(root, "redeliver", failed, lost, confirmed="1")

    again = Delivery.objects.get(is_manual=True)
    assert (again.message, again.endpoint, again.status) == (failed.message, endpoint, "pending")
    assert told(response) == [
        "1 delivery: sent once more, as a delivery of its own.",
        "1 delivery refused: The endpoint has been deleted.",
    ]
    assert 'value="redeliver"' not in shown(root, page_of(lost))


# --- Deliveries, messages ---------------------------------------------------------------------------


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


# --- Receipts, senders ------------------------------------------------------------------------------


@pytest.mark.parametrize("state", Receipt.State.values)
def test_a_receipt_of_every_state_is_shown(root: Client, tenant: Tenant, state: str) -> None:
    receipt = make_receipt(make_sender(tenant), state=state, headers={"a": "b"}, body={"answer": 42})

    for url in (list_of(Receipt), page_of(receipt)):
        assert displays.badge(state) in shown(root, url)
    assert '<span class="number">42</span>' in shown(root, page_of(receipt))
    assert found(root, Receipt, state__exact=state) == {receipt.pk}


def test_a_receipt_is_found_by_what_it_is_known_by(root: Client, tenant: Tenant) -> None:
    workflow = make_workflow(tenant, workflow_id="gen-7")
    sender = make_sender(tenant)
    receipt = make_receipt(sender, key="msg_7", workflow=workflow, workflow_name="gen-7")
    waiting = make_receipt(sender, state="waiting", workflow_name="gen-8")
    refused = make_receipt(None)

    for term in (receipt.pk, workflow.pk, "msg_7", "gen-7", receipt.digest):
        assert found(root, Receipt, q=str(term)) == {receipt.pk}, term
    assert found(root, Receipt, q="gen-8") == {waiting.pk}
    assert found(root, Receipt, q=refused.digest) == {refused.pk}
    assert found(root, Receipt, q="nothing") == set()
    assert found(root, Receipt, tenant="-") == {refused.pk}


def test_an_added_sender_shows_the_secret_that_was_made(
    root: Client, tenant: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        response = root.post(add_to(Sender), {"tenant": str(tenant.pk), "name": "upstream"})

    sender = Sender.objects.get()
    secret = secret_in(response)
    assert secret == sender.secrets.get().text
    for text in (stored_texts(), caplog.text, shown(root, page_of(sender)), shown(root, list_of(Sender))):
        assert secret not in text


def test_a_secret_that_the_upstream_gave_is_never_shown(
    root: Client, tenant: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    given = "correct-horse-battery-staple"

    with caplog.at_level(logging.DEBUG):
        response = root.post(
            add_to(Sender), {"tenant": str(tenant.pk), "name": "upstream", "secret": given}, follow=True
        )
    again = root.post(add_to(Sender), {"tenant": str(tenant.pk), "name": "other", "secret": given})
    short = root.post(add_to(Sender), {"tenant": str(tenant.pk), "name": "other", "secret": "hunter2"})

    assert Sender.objects.get().secrets.get().text == given
    assert "has this secret already" in str(again.context["adminform"].form.non_field_errors())
    assert list(short.context["adminform"].form.errors) == ["secret"]
    for text in (stored_texts(), caplog.text, *(r.content.decode() for r in (response, again, short))):
        assert given not in text
        assert "hunter2" not in text


def test_a_sender_is_renamed_and_switched_off(root: Client, tenant: Tenant) -> None:
    sender, other = make_sender(tenant), make_sender(tenant)

    taken = root.post(page_of(sender), {"name": other.name, "is_active": "on"})
    done = root.post(page_of(sender), {"name": "renamed"})

    sender.refresh_from_db()
    assert taken.context["adminform"].form.errors
    assert done.status_code == 302
    assert (sender.name, sender.is_active, sender.tenant) == ("renamed", False, tenant)
    assert displays.badge("inactive") in shown(root, list_of(Sender))


def test_a_sender_shows_where_it_may_call_and_what_came(root: Client, settings: Any, tenant: Tenant) -> None:
    sender = make_sender(tenant)
    receipt = make_receipt(sender)

    html = shown(root, page_of(sender))

    for path in ("/api/webhook/workflow-completed", "/api/user_notified", "/miniapp-gen-mock"):
        assert f'data-copy="{settings.PUBLIC_URL}{path}?sender={sender.pk}"' in html
    assert page_of(receipt) in html


def test_a_senders_secret_is_rotated_and_earlier_ones_revoked(root: Client, tenant: Tenant) -> None:
    sender = make_sender(tenant)
    before = sender.secrets.get().text

    act(root, "rotate_secrets", sender)
    assert sender.secrets.count() == 1
    response = act(root, "rotate_secrets", sender, confirmed="1")
    assert secret_in(response) == sender.secrets.live()[0].text != before
    assert secret_in(response) not in stored_texts()
    act(root, "revoke_secrets", sender, confirmed="1")

    assert sender.secrets.get().text == secret_in(response)


# --- On the pages of others -------------------------------------------------------------------------


def test_a_job_and_its_workflow_show_who_was_told_and_who_called(root: Client, tenant: Tenant) -> None:
    workflow = make_workflow(tenant)
    job = make_job(tenant, workflow=workflow, step_index=0)
    endpoint = make_endpoint(tenant, description="Production", **STATES["paused"])
    delivery = make_delivery(endpoint, make_message(tenant, job=job, workflow=workflow), status="held")
    receipt = make_receipt(make_sender(tenant), workflow=workflow)

    for row in (job, workflow):
        html = shown(root, page_of(row))
        assert page_of(delivery) in html
        assert "The endpoint is paused; it is sent when the endpoint is resumed." in html
        assert (page_of(receipt) in html) is (row == workflow)


def test_others_do_not_see_it_there(tenant: Tenant) -> None:
    workflow = make_workflow(tenant)
    delivery = make_delivery(make_endpoint(tenant), make_message(tenant, workflow=workflow))
    receipt = make_receipt(make_sender(tenant), workflow=workflow)
    client = client_of(make_operator("jobs.view_workflow"))

    html = shown(client, page_of(workflow))

    assert page_of(delivery) not in html
    assert page_of(receipt) not in html


def test_the_overview_tells_of_endpoints_in_trouble_and_held_deliveries(root: Client, tenant: Tenant) -> None:
    disabled = make_endpoint(tenant, **STATES["disabled"])
    resting = make_endpoint(tenant, **STATES["resting"])
    failing = make_endpoint(tenant, failures=3, failing_since=timezone.now() - timedelta(hours=2))
    fine = make_endpoint(tenant, failures=1, failing_since=timezone.now())
    make_endpoint(tenant, deleted_at=timezone.now(), **STATES["disabled"])
    make_delivery(disabled, status="held", reason="disabled")

    warnings = root.get(reverse("admin:index")).context["warnings"]

    assert {row["url"] for row in warnings} == {
        page_of(disabled),
        page_of(resting),
        page_of(failing),
        f"{list_of(Delivery)}?status=held",
    }
    assert page_of(fine) not in {row["url"] for row in warnings}
    bystander = client_of(make_operator("jobs.view_job"))
    assert bystander.get(reverse("admin:index")).context["warnings"] == []


# --- Hostile content --------------------------------------------------------------------------------


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


# --- What lists cost --------------------------------------------------------------------------------

# Session, account, count, rows; then the choices of the filters (tenants; for deliveries, endpoints).
LIST_QUERIES = {Endpoint: 5, Delivery: 6, Message: 5, Receipt: 5, Sender: 5}


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
        (endpoint, 7),  # session, account, endpoint; what waits, attempts, secrets, deliveries
        (delivery, 4),  # and its attempts
        (delivery.message, 4),
        (sender, 7),  # secrets, its receipts among the newest, the tenant of the form
        (job, 7),
        (workflow, 8),
    ]
    for row, queries in pages:
        with django_assert_num_queries(queries):
            shown(root, page_of(row))
