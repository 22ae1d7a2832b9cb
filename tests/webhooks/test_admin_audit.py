"""What the audit log keeps of the forms and verbs of endpoints and senders: everything but the secrets."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from jobs.hygiene.masking import MASK
from jobs.models import AuditEntry, Tenant
from tests.factories import make_endpoint, make_operator, make_sender, make_superuser
from tests.webhooks.pages import SECRET, URL, act, add_to, client_of, page_of
from webhooks.models import Endpoint, Sender

GIVEN = "whsec_c2VjcmV0IHRoYXQgdGhlIHVwc3RyZWFtIGhhcyBnaXZlbg=="
FORM = {"url": URL, "max_in_flight": "5", "description": "", "headers": "Authorization: Bearer hunter2"}


@pytest.fixture
def monitor(db: None) -> Client:
    return client_of(make_superuser("root"))


def everything_noted() -> str:
    return str(list(AuditEntry.objects.values_list()))


def test_headers_of_an_endpoint_are_noted_and_not_kept(monitor: Client, tenant: Tenant) -> None:
    monitor.post(add_to(Endpoint), {**FORM, "tenant": str(tenant.pk)})
    endpoint = Endpoint.objects.get()
    monitor.post(page_of(endpoint), {**FORM, "headers": "Authorization: Bearer hunter3"})

    added, changed = AuditEntry.objects.order_by("pk")
    assert added.after is not None
    assert (added.action, added.object_id, added.tenant) == ("add", str(endpoint.pk), tenant)
    assert (added.after["url"], added.after["headers"], added.after["tenant"]) == (URL, MASK, "acme")
    assert (changed.action, changed.after) == ("change", {"headers": MASK})
    assert "hunter" not in everything_noted()
    assert not SECRET.search(everything_noted())


def test_a_senders_secret_is_noted_and_not_kept(monitor: Client, tenant: Tenant) -> None:
    monitor.post(add_to(Sender), {"tenant": str(tenant.pk), "name": "upstream", "secret": GIVEN})

    entry = AuditEntry.objects.get()
    assert entry.after is not None
    assert (entry.action, entry.after["secret"]) == ("add", MASK)
    assert GIVEN not in everything_noted()


def test_a_new_secret_is_noted_and_not_kept(monitor: Client, tenant: Tenant) -> None:
    endpoint, sender = make_endpoint(tenant), make_sender(tenant)

    for row in (endpoint, sender):
        act(monitor, "rotate_secrets", row, confirmed="1", reason="It leaked.")

    noted = AuditEntry.objects.order_by("pk").values_list("action", "object_id", "tenant")
    assert list(noted) == [
        ("rotate secret", str(endpoint.pk), tenant.pk),
        ("rotate secret", str(sender.pk), tenant.pk),
    ]
    assert not SECRET.search(everything_noted())


def test_an_operator_pauses_an_endpoint_and_does_not_say_where_messages_go(tenant: Tenant) -> None:
    endpoint = make_endpoint(tenant)
    before = endpoint.secrets.count()
    operator = client_of(make_operator("webhooks.view_endpoint", "webhooks.change_endpoint"))

    paused = act(operator, "pause_endpoints", endpoint, confirmed="1", from_page="1")
    changed = operator.post(page_of(endpoint), {**FORM, "url": "https://93.184.215.15/mine"})
    act(operator, "rotate_secrets", endpoint, confirmed="1")

    endpoint.refresh_from_db()
    assert (paused.status_code, changed.status_code) == (302, 403)
    assert endpoint.paused_at is not None
    assert endpoint.url != "https://93.184.215.15/mine"
    assert endpoint.secrets.count() == before


def test_a_refused_form_of_an_endpoint_is_noted(tenant: Tenant) -> None:
    endpoint = make_endpoint(tenant)
    viewer = client_of(make_operator("webhooks.view_endpoint", name="eve"))

    viewer.post(page_of(endpoint), FORM)

    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.is_refused, entry.object_text) == ("eve", True, page_of(endpoint))
    assert reverse("admin:webhooks_endpoint_changelist") in entry.object_text
