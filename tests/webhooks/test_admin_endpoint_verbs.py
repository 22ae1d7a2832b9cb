"""What operators do to endpoints and deliveries from their pages."""

from __future__ import annotations

import logging

import pytest
from django.test import Client
from django.utils import timezone

from jobs.admin import displays
from jobs.models import Tenant
from tests.factories import (
    make_delivery,
    make_endpoint,
    make_operator,
)
from tests.webhooks.pages import (
    SECRET,
    STATES,
    act,
    client_of,
    list_of,
    logged,
    page_of,
    secret_in,
    shown,
    stored_texts,
    told,
)
from webhooks.models import Delivery, Endpoint
from webhooks.services.secrets import rotate_secret


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
