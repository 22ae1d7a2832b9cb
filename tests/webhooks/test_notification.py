"""What deliveries mean for the users of workflows: owed, delivered, failed; and reminders."""

from __future__ import annotations

import json
from typing import Any

from jobs.models import Event, Tenant, Workflow
from jobs.queue.enqueue import enqueue_job
from jobs.services.jobs import fail_job, retry_job
from jobs.testing import RunJobs
from tests.conftest import ApiClient, MakeEndpoint
from tests.factories import claim_one, make_job, make_workflow
from tests.receivers import Receiver, answer
from webhooks.models import Delivery, Message
from webhooks.sending.loop import send_due
from webhooks.services.deliveries import redeliver


def run_of(workflow: Workflow) -> str:
    workflow.refresh_from_db()
    return workflow.notification_status


def generation(api: ApiClient, **body: Any) -> Workflow:
    answer_ = api.send("POST", "/api/jobs", {"kind": "system.ping", "payload": {}, **body})
    assert answer_.status_code == 201, answer_.content
    return Workflow.objects.get(workflow_id=answer_.json()["workflow_id"])


def test_a_workflow_owes_its_user_until_the_app_has_been_told(
    api: ApiClient, run_jobs: RunJobs, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint(event_types=["workflow.completed"])
    workflow = generation(api, workflow_id="gen-1")

    assert run_of(workflow) == "none"
    run_jobs()
    assert run_of(workflow) == "owed"
    send_due()

    assert run_of(workflow) == "delivered"
    assert Message.objects.get().workflow_run == 1


def test_a_webhook_that_can_not_be_delivered_fails_the_notification(
    api: ApiClient, run_jobs: RunJobs, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    receiver.behaviour = answer(500)
    make_endpoint(event_types=["workflow.completed"])
    workflow = generation(api, workflow_id="gen-1")
    run_jobs()
    Delivery.objects.update(step=9)

    send_due()
    assert run_of(workflow) == "failed"
    receiver.behaviour = answer(200)
    redeliver(Delivery.objects.get())
    send_due()

    assert run_of(workflow) == "delivered"


def test_a_delivery_of_an_earlier_run_says_nothing_of_the_next(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint(event_types=["workflow.failed"])
    workflow = make_workflow(tenant, user_id="user-1")
    job = make_job(tenant, workflow=workflow, step_index=0, step_name="job", max_attempts=1)
    fail_job(job, claim_one(job).lease_token, "broken", "It broke.", is_retryable=False)
    assert run_of(workflow) == "owed"
    job.refresh_from_db()
    retry_job(job, by="somebody")
    assert run_of(workflow) == "none"

    send_due()

    assert Delivery.objects.get().status == "delivered"
    assert run_of(workflow) == "none"


def test_a_reminder_is_sent_once(
    tenant: Tenant, run_jobs: RunJobs, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint()
    workflow = make_workflow(tenant, user_id="user-1", status="completed", notification_status="delivered")
    enqueue_job("requests.reminder", {"requestId": workflow.workflow_id}, tenant_id=tenant.pk)

    run_jobs()
    send_due()

    told = [json.loads(request.body) for request in receiver.requests]
    (reminder,) = [body for body in told if body["type"] == "request.reminder"]
    assert (reminder["workflow_id"], reminder["user_id"]) == (workflow.workflow_id, "user-1")
    assert Event.objects.get().type == "reminder_due"
