"""The pages of receipts and senders, and what webhooks add to the pages of others."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from jobs.admin import displays
from jobs.models import Tenant
from tests.factories import (
    make_delivery,
    make_endpoint,
    make_job,
    make_message,
    make_operator,
    make_receipt,
    make_sender,
    make_workflow,
)
from tests.webhooks.pages import (
    STATES,
    act,
    add_to,
    client_of,
    found,
    list_of,
    page_of,
    secret_in,
    shown,
    stored_texts,
)
from webhooks.models import Delivery, Receipt, Sender


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
    act(root, "revoke_secrets", sender, confirmed="1", from_page="1")

    assert sender.secrets.get().text == secret_in(response)


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
