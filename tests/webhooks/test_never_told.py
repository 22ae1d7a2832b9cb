"""Work that is done while its user was never told: found by the evaluator, told once more, and then complete."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from attestations.models import Attestation
from jobs.evaluator.runs import evaluate
from jobs.models import Job, Tenant, Workflow
from jobs.testing import RunJobs
from tests.conftest import ApiClient, MakeEndpoint
from tests.factories import make_collection
from tests.receivers import Receiver, answer
from tests.webhooks.calls import NOTIFIED, make_sender, send
from webhooks.models import Delivery, Message
from webhooks.sending.loop import send_due
from webhooks.services.deliveries import recover_deliveries

USER = "user-123"
HOUR = timedelta(hours=1)


def generate(api: ApiClient, tenant: Tenant) -> Workflow:
    """A generation that a worker has done, of a collection of one step."""
    step = {"name": "paint", "service_required": "artgen", "payload": {"prompt": "${variables.prompt}"}}
    collection = make_collection(tenant, steps=[step])
    body = {"variables": {"prompt": "a lake"}, "user_id": USER}
    accepted = api.send("POST", f"/collections/{collection.pk}/generations", body)
    (claimed,) = api.send("POST", "/api/workers/claim", {"worker_id": "w", "services": ["artgen"]}).json()[
        "jobs"
    ]
    result = {"lease_token": claimed["lease_token"], "result": {"url": "https://cdn.example.com/a.png"}}
    assert api.send("POST", f"/api/jobs/{claimed['id']}/complete", result).status_code == 200
    return Workflow.objects.get(workflow_id=accepted.json()["workflow_id"])


def let_time_pass(workflow: Workflow) -> None:
    """Everything that has been told of it so far was an hour ago."""
    Workflow.objects.filter(pk=workflow.pk).update(completed_at=timezone.now() - HOUR)
    Message.objects.filter(workflow=workflow).update(created_at=timezone.now() - HOUR)


def verdict(workflow: Workflow) -> tuple[str, str]:
    evaluate()
    workflow.refresh_from_db()
    return workflow.status_category, workflow.problem_type


def seen(api: ApiClient, workflow: Workflow) -> dict[str, Any]:
    found: dict[str, Any] = api.send("GET", f"/api/workflows/{workflow.workflow_id}").json()
    return found


def test_filed_then_renotified_then_told_then_complete(
    api: ApiClient, tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint(event_types=["workflow.completed"])
    workflow = generate(api, tenant)
    attestations = set(Attestation.objects.values_list("attestation_key", flat=True))
    attempts = list(Job.objects.values_list("pk", "attempt"))
    send_due()
    assert verdict(workflow) == ("", ""), "inside the grace"

    let_time_pass(workflow)
    assert verdict(workflow) == ("filed", "notification_missing")
    found = seen(api, workflow)["problem_details"]
    assert USER in found["missing"]
    path = f"/api/workflows/{workflow.workflow_id}/renotify"
    assert any(path in step for step in found["what_to_do"])

    answered = api.send("POST", path, {"reason": "its app was down"})
    assert answered.status_code == 200, answered.content
    assert verdict(workflow) == ("", ""), "the grace begins anew"
    send_due()
    told = [request.headers["webhook-id"] for request in receiver.requests]
    assert len(set(told)) == 2

    _, secret = make_sender(tenant, "the app")
    notice = {"workflow_id": workflow.workflow_id, "user_id": USER, "notified_at": timezone.now().isoformat()}
    assert send(NOTIFIED, notice, secret).status_code == 200

    assert verdict(workflow) == ("complete", "")
    assert seen(api, workflow)["problem_details"] is None
    # nothing has been run again
    assert set(Attestation.objects.values_list("attestation_key", flat=True)) == attestations
    assert list(Job.objects.values_list("pk", "attempt")) == attempts


def test_a_late_notice_reopens_what_was_filed(
    api: ApiClient, tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint(event_types=["workflow.completed"])
    workflow = generate(api, tenant)
    send_due()
    let_time_pass(workflow)
    assert verdict(workflow) == ("filed", "notification_missing")

    _, secret = make_sender(tenant, "the app")
    send(NOTIFIED, {"workflow_id": workflow.workflow_id, "user_id": USER}, secret)

    workflow.refresh_from_db()
    assert (workflow.is_cleanup_evaluated, workflow.status_category) == (False, "")
    assert verdict(workflow) == ("complete", "")


@pytest.mark.parametrize("status", [500, 410])
def test_a_delivery_that_fails_for_good_files_it_at_once(
    api: ApiClient, tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint, status: int
) -> None:
    receiver.behaviour = answer(status)
    make_endpoint(event_types=["workflow.completed"])
    workflow = generate(api, tenant)
    Delivery.objects.update(step=9)

    send_due()

    assert verdict(workflow) == ("filed", "notification_failed")


def test_a_job_outside_a_workflow_is_reopened_by_the_end_of_its_delivery(
    api: ApiClient, run_jobs: RunJobs, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint(event_types=["job.completed"])
    api.send("POST", "/api/jobs", {"kind": "system.ping"})
    (job,) = run_jobs()
    Job.objects.filter(pk=job.pk).update(completed_at=timezone.now() - HOUR)
    Message.objects.update(created_at=timezone.now() - HOUR)
    evaluate()
    job.refresh_from_db()
    assert (job.status_category, job.problem_type) == ("filed", "notification_missing")

    send_due()

    job.refresh_from_db()
    assert (job.is_cleanup_evaluated, job.problem_type, job.problem_details) == (False, "", None)
    evaluate()
    job.refresh_from_db()
    assert job.status_category == "complete"


def test_what_is_recovered_is_owed_again_and_looked_at_anew(
    api: ApiClient, tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    receiver.behaviour = answer(500)
    endpoint, _ = make_endpoint(event_types=["workflow.completed"])
    workflow = generate(api, tenant)
    Delivery.objects.update(step=9)
    send_due()
    assert verdict(workflow) == ("filed", "notification_failed")

    recover_deliveries(endpoint)

    workflow.refresh_from_db()
    assert (workflow.notification_status, workflow.is_cleanup_evaluated) == ("owed", False)
    let_time_pass(workflow)
    assert verdict(workflow) == ("filed", "notification_missing")
    assert "tried again by itself" in seen(api, workflow)["problem_details"]["missing"]
