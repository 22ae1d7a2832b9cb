"""The pages of endpoints: their list, their form, how they fare."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from jobs.admin import displays
from jobs.models import Tenant
from jobs.tenancy.sealing import unseal
from tests.factories import (
    make_attempt,
    make_delivery,
    make_endpoint,
    make_sender,
)
from tests.webhooks.pages import (
    STATES,
    URL,
    add_to,
    found,
    list_of,
    logged,
    page_of,
    secret_in,
    shown,
    stored_texts,
)
from webhooks.admin import health
from webhooks.models import Endpoint
from webhooks.services.endpoints import ENDPOINTS_MAX


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
