"""The catalogue of events: the page says what the code does, and what is sent keeps to its schema."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from django.conf import settings

from attestations.services.submissions import end_submissions, reject_submission
from jobs.evaluator.alerts import tell_problems
from jobs.models import Tenant
from jobs.queue.enqueue import enqueue_job
from jobs.services.jobs import cancel_job, complete_job, fail_job
from jobs.testing import RunJobs
from tests.conftest import MakeEndpoint
from tests.factories import claim_one, make_alert, make_job, make_submission, make_workflow
from tests.receivers import Receiver, answer
from webhooks.events import CATALOGUE
from webhooks.management.commands.event_catalogue import catalogue
from webhooks.models import Message
from webhooks.sending.loop import send_due
from webhooks.services.deliveries import send_test


def test_the_page_is_what_the_catalogue_says() -> None:
    page = (settings.BASE_DIR / "docs" / "events.md").read_text()

    assert page == catalogue()


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(CATALOGUE[name].schema)


def end_one_of_each(tenant: Tenant, how: str) -> None:
    """A job alone and a workflow of one, each ended this way."""
    workflow = make_workflow(tenant, user_id="user-1")
    for fields in ({}, {"workflow": workflow, "step_index": 0, "step_name": "job"}):
        job = make_job(tenant, **fields)
        if how == "cancelled":
            cancel_job(job, by="somebody")
        elif how == "completed":
            complete_job(job, claim_one(job).lease_token, {"url": "https://cdn.example.com/a.png"})
        else:
            fail_job(job, claim_one(job).lease_token, "broken", "It broke.", is_retryable=False)


def end_submission_of_each(tenant: Tenant) -> None:
    published = make_submission(tenant, status="proof_publishing", transaction_id="")
    published.transaction_id, published.chain_id = f"{1:#066x}", 42161
    end_submissions([published], {})
    reject_submission(make_submission(tenant), by="somebody", reason="It is a forgery.")


def test_every_type_is_sent_by_something_and_keeps_to_its_schema(
    tenant: Tenant, run_jobs: RunJobs, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    endpoint, _ = make_endpoint()
    make_endpoint(event_types=["job.cancelled"])  # so that there is another one to tell of a disabling
    for how in ("completed", "failed", "cancelled"):
        end_one_of_each(tenant, how)
    told_nobody = make_workflow(tenant, user_id="user-1", status="completed")
    enqueue_job("requests.reminder", {"requestId": told_nobody.workflow_id}, tenant_id=tenant.pk)
    run_jobs()
    end_submission_of_each(tenant)
    make_alert(tenant)
    tell_problems()
    send_test(endpoint)
    receiver.behaviour = answer(410)
    send_due()

    sent: dict[str, Any] = {}
    for message in Message.objects.all():
        body = json.loads(bytes(message.body))
        jsonschema.validate(body, CATALOGUE[message.type].schema, format_checker=jsonschema.FormatChecker())
        sent[message.type] = body

    assert sent.keys() == CATALOGUE.keys()
    assert sent["workflow.completed"]["data"]["outputs"] == ["https://cdn.example.com/a.png"]
    assert sent["workflow.completed"]["user_id"] == "user-1"
    assert sent["job.failed"]["data"]["error"] == {"code": "broken", "message": "It broke."}
