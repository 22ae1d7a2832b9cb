"""What operators do to endpoints and deliveries from their pages."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from jobs.admin import bulk, displays
from jobs.models import BulkOperation, Tenant
from tests.factories import (
    make_delivery,
    make_endpoint,
    make_operator,
)
from tests.operations import came_to, ended_alone, entries_of, envelope_of, operation_of
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
from webhooks.admin.endpoints import RECOVER, EndpointAdmin
from webhooks.models import Delivery, Endpoint
from webhooks.services import deliveries
from webhooks.services.secrets import rotate_secret


@pytest.mark.django_db(transaction=True)
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

    operation = ended_alone(act(root, "pause_endpoints", running, paused, confirmed="1"))

    assert came_to(operation) == (
        {"paused; what is meant for it is held until it is resumed": 1},
        {"The endpoint is paused already.": 1},
    )
    refused, done = sorted(entries_of(operation), key=lambda entry: not entry.is_refused)
    assert (refused.object_id, done.object_id) == (str(paused.pk), str(running.pk))
    assert (done.before, done.after) == (
        {"state": "active", "paused_by": ""},
        {"state": "paused", "paused_by": "root"},
    )


def test_all_of_a_list_may_be_selected(root: Client, tenant: Tenant) -> None:
    endpoints = [make_endpoint(tenant) for _ in range(3)]

    response = act(root, "pause_endpoints", endpoints[0], select_across="1", index="0", confirmed="1")

    assert ended_alone(response).done_count == 3
    assert not Endpoint.objects.filter(paused_at=None).exists()


class Killed(BaseException):
    """The process ends at this place."""


def killed_before_noting(monkeypatch: pytest.MonkeyPatch, response: Any) -> BulkOperation:
    """The operation that was answered to, its process gone after the service and before the note of it."""

    def die(*args: Any, **options: Any) -> bool:
        raise Killed

    operation = operation_of(response)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(bulk, "note_in_operation", die)
        bulk.run_operation(operation.pk, envelope_of(operation))
    return operation


@pytest.mark.parametrize(
    ("action", "state", "after"),
    [
        ("pause_endpoints", "active", "paused"),
        ("resume_endpoints", "paused", "active"),
        ("delete_endpoints", "active", "deleted"),
    ],
)
def test_what_is_not_noted_is_not_done_and_done_when_another_process_goes_on(
    root: Client, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, action: str, state: str, after: str
) -> None:
    endpoint = make_endpoint(tenant, **STATES[state])
    response = act(root, action, endpoint, confirmed="1")

    killed_before_noting(monkeypatch, response)
    endpoint.refresh_from_db()
    assert endpoint.state == state
    operation = ended_alone(response)

    endpoint.refresh_from_db()
    (entry,) = entries_of(operation)
    assert (operation.done_count, operation.refused_count, entry.is_refused) == (1, 0, False)
    assert (endpoint.state, (entry.after or {}).get("state")) == (after, after)


def test_a_recovery_is_noted_lot_by_lot(
    root: Client, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "AT_ONCE", 2)
    monkeypatch.setattr(EndpointAdmin, "verbs", lambda self: [replace(RECOVER, lot_size=2)])
    held = [make_delivery(endpoint, status="held", reason="disabled") for _ in range(3)]
    failed = [make_delivery(endpoint, status="failed") for _ in range(2)]
    response = act(root, "recover_endpoints", endpoint, confirmed="1")

    killed_before_noting(monkeypatch, response)
    assert Delivery.objects.filter(status="pending").count() == 4  # two lots, with an entry each
    operation = ended_alone(response)

    lot = "recovered: 2 deliveries begin anew, and more follow"
    assert [entry.outcome for entry in entries_of(operation)] == [
        lot,
        lot,
        "recovered: 1 delivery begins anew",
    ]
    assert came_to(operation) == ({"recovered: 1 delivery begins anew": 1}, {})
    assert set(Delivery.objects.filter(status="pending")) == {*held, *failed}


def test_a_recovery_on_an_endpoints_page_tells_of_all_its_lots(
    root: Client, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "AT_ONCE", 2)
    monkeypatch.setattr(EndpointAdmin, "verbs", lambda self: [replace(RECOVER, lot_size=2)])
    for status in ("held", "failed", "failed"):
        make_delivery(endpoint, status=status)

    response = act(root, "recover_endpoints", endpoint, confirmed="1", from_page="1")

    assert told(response) == ["1 endpoint recovered: 3 deliveries begin anew, in 2 lots."]
    assert logged() == ["Recover the deliveries of: recovered: 3 deliveries begin anew, in 2 lots."]


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
    response = act(root, "revoke_secrets", endpoint, confirmed="1", from_page="1")

    assert endpoint.secrets.count() == 1
    assert told(response) == ["1 endpoint rid of 1 earlier secret."]


def test_deliveries_are_recovered_after_a_question_that_counts_them(root: Client, endpoint: Endpoint) -> None:
    held = make_delivery(endpoint, status="held", reason="disabled")
    failed = make_delivery(endpoint, status="failed")

    asked = act(root, "recover_endpoints", endpoint)
    assert "1 held and 1 failed." in asked.content.decode()
    assert Delivery.objects.filter(status="pending").count() == 0
    response = act(root, "recover_endpoints", endpoint, confirmed="1", from_page="1")

    assert set(Delivery.objects.filter(status="pending")) == {held, failed}
    assert told(response) == ["1 endpoint recovered: 2 deliveries begin anew."]


@pytest.mark.django_db(transaction=True)
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
    operation = ended_alone(act(root, "redeliver", failed, lost, confirmed="1"))

    again = Delivery.objects.get(is_manual=True)
    assert (again.message, again.endpoint, again.status) == (failed.message, endpoint, "pending")
    assert came_to(operation) == (
        {"sent once more, as a delivery of its own": 1},
        {"The endpoint has been deleted.": 1},
    )
    assert 'value="redeliver"' not in shown(root, page_of(lost))
