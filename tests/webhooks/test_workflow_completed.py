"""/api/webhook/workflow-completed: what an upstream says is recorded, and decides nothing."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.models import Event, Tenant, Workflow
from jobs.queue.enqueue import enqueue_job
from jobs.testing import RunJobs
from tests.factories import make_workflow
from tests.webhooks.calls import COMPLETED, send
from webhooks.models import Receipt


@pytest.mark.parametrize("status", ["running", "completed", "failed", "cancelled"])
def test_it_is_recorded_and_the_workflow_is_as_it_was(tenant: Tenant, secret: str, status: str) -> None:
    workflow = make_workflow(tenant, status=status, is_cleanup_evaluated=True)
    before = Workflow.objects.filter(pk=workflow.pk).values().get()
    content = {
        "workflow_id": workflow.workflow_id,
        "status": "failed",
        "outputs": ["https://a.example/b.png"],
    }

    response = send(COMPLETED, content, secret)

    assert (response.status_code, response.json()["state"]) == (200, "applied")
    receipt = Receipt.objects.get()
    assert (receipt.state, receipt.workflow, receipt.tenant) == ("applied", workflow, tenant)
    event = Event.objects.get()
    assert (event.type, event.workflow, event.tenant) == ("upstream_ended", workflow, tenant)
    assert event.data == {
        "status": "failed",
        "outputs": ["https://a.example/b.png"],
        "receipt_id": str(receipt.pk),
    }
    assert Workflow.objects.filter(pk=workflow.pk).values().get() == before


def test_the_id_alone_suffices(tenant: Tenant, secret: str) -> None:
    workflow = make_workflow(tenant)

    send(COMPLETED, {"workflow_id": workflow.workflow_id, "took": 3.5}, secret)

    receipt = Receipt.objects.get()
    assert receipt.body["took"] == 3.5
    assert Event.objects.get().data == {"status": "", "outputs": None, "receipt_id": str(receipt.pk)}


def test_outputs_too_long_for_an_event_are_in_the_receipt(tenant: Tenant, secret: str) -> None:
    workflow = make_workflow(tenant)
    content = {"workflow_id": workflow.workflow_id, "outputs": ["x" * 20_000]}

    send(COMPLETED, content, secret)

    receipt = Receipt.objects.get()
    assert receipt.body == content
    assert Event.objects.get().data == {
        "status": "",
        "are_outputs_cut": True,
        "receipt_id": str(receipt.pk),
    }


def test_of_a_workflow_not_yet_there_it_waits_for_it(tenant: Tenant, secret: str, run_jobs: RunJobs) -> None:
    first = send(COMPLETED, {"workflow_id": "order-7", "status": "completed"}, secret)
    workflow = make_workflow(tenant, workflow_id="order-7")

    enqueue_job("webhooks.match_receipts")
    (job,) = run_jobs()

    assert first.json()["state"] == "waiting"
    assert job.result == {"matched": 1}
    assert Receipt.objects.get().state == "applied"
    assert Event.objects.get().workflow == workflow
    again = send(COMPLETED, {"workflow_id": "order-7", "status": "completed"}, secret)
    assert (again.json()["state"], again.json()["is_duplicate"]) == ("applied", True)


def test_another_tenants_workflow_is_never_matched(
    tenant: Tenant, other_tenant: Tenant, secret: str, run_jobs: RunJobs
) -> None:
    make_workflow(other_tenant, workflow_id="order-7", status="completed")

    response = send(COMPLETED, {"workflow_id": "order-7"}, secret)
    enqueue_job("webhooks.match_receipts")
    run_jobs()

    assert response.json()["state"] == "waiting"
    assert Receipt.objects.get().workflow is None
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({}, "/workflow_id"),
        ({"workflow_id": None}, "/workflow_id"),
        ({"workflow_id": ""}, "/workflow_id"),
        ({"workflow_id": "w" * 201}, "/workflow_id"),
        ({"workflow_id": "w", "status": 7}, "/status"),
        ({"workflow_id": "w", "status": "s" * 61}, "/status"),
    ],
)
def test_a_wrong_field_is_named(tenant: Tenant, secret: str, fields: dict[str, Any], pointer: str) -> None:
    response = send(COMPLETED, fields, secret)

    assert response.status_code == 422
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]
