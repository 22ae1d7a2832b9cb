"""What the lists of webhooks are filtered by."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from jobs.models import Tenant
from tests.factories import (
    make_delivery,
    make_endpoint,
    make_job,
    make_message,
    make_receipt,
    make_sender,
    make_superuser,
)
from webhooks.models import Delivery, Endpoint, Message, Receipt


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(make_superuser())
    return client


def found(client: Client, model: type[Model], /, **query: Any) -> set[Any]:
    url = reverse(f"admin:webhooks_{model._meta.model_name}_changelist")
    response = client.get(url, query)
    assert response.status_code == 200, response
    return {row.pk for row in response.context["cl"].result_list}


def keys(*rows: Model) -> set[Any]:
    return {row.pk for row in rows}


def test_deliveries_of_every_status_are_found_alone_and_left_out_alone(
    operator: Client, tenant: Tenant
) -> None:
    rows = {
        status: make_delivery(
            make_endpoint(tenant), status=status, reason="http_status" if status == "failed" else "paused"
        )
        if status in ("failed", "held")
        else make_delivery(make_endpoint(tenant), status=status)
        for status in Delivery.Status.values
    }

    for status, row in rows.items():
        assert found(operator, Delivery, status=status) == keys(row), status
        assert found(operator, Delivery, status__not=status) == keys(*rows.values()) - keys(row), status
    assert found(operator, Delivery, status="failed,held,pending") == keys(
        rows["failed"], rows["held"], rows["pending"]
    )
    assert found(operator, Delivery, reason="http_status") == keys(rows["failed"])
    assert found(operator, Delivery, reason__not="http_status,paused") == keys(
        rows["pending"], rows["sending"], rows["delivered"]
    )


def test_deliveries_are_found_by_endpoint_message_and_type(
    operator: Client, tenant: Tenant, other_tenant: Tenant
) -> None:
    endpoint = make_endpoint(tenant)
    message = make_message(tenant, type="workflow.failed")
    one = make_delivery(endpoint, message)
    other = make_delivery(make_endpoint(other_tenant), make_message(other_tenant, type="job.failed"))
    values = {
        "endpoint": str(endpoint.pk),
        "message": str(message.pk),
        "type": "workflow.failed",
        "tenant": "acme",
    }

    for name, value in values.items():
        assert found(operator, Delivery, **{name: value}) == keys(one), name
        assert found(operator, Delivery, **{f"{name}__not": value}) == keys(other), name
    assert found(operator, Delivery, created="hour", **values) == keys(one)
    assert found(operator, Delivery, endpoint="no-uuid") == set()


def test_messages_are_found_by_type_job_and_trace(operator: Client, tenant: Tenant) -> None:
    job = make_job(tenant)
    one = make_message(tenant, type="job.failed", job=job, trace_id="a" * 32)
    other = make_message(tenant, type="job.completed", trace_id="b" * 32)

    for name, value in {"type": "job.failed", "job": str(job.pk), "trace": "a" * 32}.items():
        assert found(operator, Message, **{name: value}) == keys(one), name
        assert found(operator, Message, **{f"{name}__not": value}) == keys(other), name


def test_receipts_are_found_by_state_and_sender(operator: Client, tenant: Tenant) -> None:
    sender = make_sender(tenant)
    applied = make_receipt(sender)
    waiting = make_receipt(sender, state="waiting", applied_at=None, workflow_name="gen-7")
    refused = make_receipt(None)

    assert found(operator, Receipt, state="applied") == keys(applied)
    assert found(operator, Receipt, state="waiting") == keys(waiting)
    assert found(operator, Receipt, state="refused") == keys(refused)
    assert found(operator, Receipt, state__not="refused") == keys(applied, waiting)
    assert found(operator, Receipt, sender=str(sender.pk)) == keys(applied, waiting)
    assert found(operator, Receipt, sender__not=str(sender.pk)) == keys(refused)


def test_endpoints_are_found_by_state(operator: Client, tenant: Tenant) -> None:
    active = make_endpoint(tenant)
    paused = make_endpoint(tenant, paused_at=active.created_at)

    assert found(operator, Endpoint, state="paused") == keys(paused)
    assert found(operator, Endpoint, state="active") == keys(active)
    assert found(operator, Endpoint, state__not="paused") == keys(active)
    assert found(operator, Endpoint, state="paused,active") == keys(active, paused)
