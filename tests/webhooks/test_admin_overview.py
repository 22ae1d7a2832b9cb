"""The overview's card of deliveries: what was sent, and which endpoints are in trouble."""

from __future__ import annotations

from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from jobs.models import Measure, Tenant
from jobs.rollups.buckets import bucket_of
from jobs.rollups.counting import Count, write_counts
from jobs.rollups.folding import fold
from tests.factories import make_endpoint, make_operator, make_restricted
from tests.webhooks.pages import client_of
from webhooks.models import Endpoint

RIGHTS = ("webhooks.view_delivery", "webhooks.view_endpoint")


@pytest.fixture
def operator(db: None) -> Client:
    return client_of(make_operator(*RIGHTS))


def count(endpoint: Endpoint, *, succeeded: int = 0, failed: int = 0) -> None:
    """Attempts as they are counted when they have ended."""
    common: dict[str, Any] = {"scope": endpoint.tenant_id, "name": str(endpoint.pk)}
    outcomes = [("succeeded", succeeded), ("failed", failed)]
    write_counts(
        [
            *(Count(**common, measure=Measure.DELIVERED, key=key, count=n) for key, n in outcomes if n),
            Count(**common, measure=Measure.ANSWERED, key=str(bucket_of(0.3))),
        ]
    )
    fold()


def card(client: Client) -> str:
    html = unescape(client.get(reverse("admin:index")).content.decode())
    return html.partition('data-key="deliveries"')[2]


def test_deliveries_are_drawn_over_time(operator: Client, tenant: Tenant) -> None:
    count(make_endpoint(tenant), succeeded=7, failed=2)

    assert "Deliveries: succeeded 7, failed 2." in card(operator)


def test_endpoints_in_trouble_are_named_those_that_fail_most_first(operator: Client, tenant: Tenant) -> None:
    now = timezone.now()
    flaky = make_endpoint(tenant, description="Flaky")
    down = make_endpoint(tenant, description="Down", failing_since=now, failures=9)
    make_endpoint(tenant, description="Off", disabled_at=now, disabled_reason="gone")
    make_endpoint(tenant, description="Resting", breaker_until=now + timedelta(hours=1))
    sound = make_endpoint(tenant, description="Sound")
    make_endpoint(tenant, description="Deleted", disabled_at=now, disabled_reason="gone", deleted_at=now)
    count(flaky, succeeded=9, failed=1)
    count(down, failed=5)
    count(sound, succeeded=5)

    html = card(operator)

    assert html.index("Down") < html.index("Flaky") < html.index("Off")
    for text in ("Resting", "10 %", "100 %", "failing", "disabled", "resting", "ms"):
        assert text in html
    for text in ("Sound", "Deleted"):
        assert text not in html


def test_without_trouble_it_says_so(operator: Client, tenant: Tenant) -> None:
    count(make_endpoint(tenant), succeeded=1)

    assert "Every endpoint takes what it is sent." in card(operator)


def test_it_is_shown_to_who_may_see_deliveries(tenant: Tenant) -> None:
    count(make_endpoint(tenant, description="Flaky"), failed=1)

    blind = card(client_of(make_operator("webhooks.view_endpoint")))
    without_endpoints = card(client_of(make_operator("webhooks.view_delivery")))

    assert blind == ""
    assert "Deliveries: succeeded 0, failed 1." in without_endpoints
    assert "Flaky" not in without_endpoints


def test_a_restricted_account_sees_its_tenants_alone(tenant: Tenant, other_tenant: Tenant) -> None:
    count(make_endpoint(tenant, description="Ours"), failed=1)
    count(make_endpoint(other_tenant, description="Theirs"), failed=4)
    client = client_of(make_restricted(make_operator(*RIGHTS), tenant))

    html = card(client)

    assert "Deliveries: succeeded 0, failed 1." in html
    assert ("Ours" in html, "Theirs" in html) == (True, False)
