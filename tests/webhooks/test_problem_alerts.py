"""Tenants hear of their own problems by webhook."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from jobs.evaluator.alerts import tell_problems
from jobs.models import ProblemType, Tenant
from jobs.testing import RunJobs
from tests.conftest import MakeEndpoint
from tests.factories import make_alert
from tests.factories import make_endpoint as make_endpoint_row
from tests.jobs.test_alerts import Refusing
from tests.receivers import Receiver
from webhooks.events import CATALOGUE, PROBLEM
from webhooks.models import Delivery, Message
from webhooks.sending.loop import send_due

EVENT = "evaluation.problem"


def test_a_problem_is_told_to_the_endpoints_that_take_it(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint(event_types=[EVENT])
    make_endpoint(event_types=["job.failed"])
    alert = make_alert(tenant, "notification_missing", untold_count=30, workflow_ids=["workflow-1"])
    since = alert.since

    tell_problems()
    send_due()

    (call,) = receiver.requests
    body = json.loads(call.body)
    jsonschema.validate(body, CATALOGUE[EVENT].schema, format_checker=jsonschema.FormatChecker())
    assert (body["type"], body["workflow_id"], body["user_id"]) == (EVENT, None, None)
    what_to_do = body["data"].pop("what_to_do")
    assert "re-notify" in what_to_do
    assert since
    assert body["data"] == {
        "problem_type": "notification_missing",
        "status_category": "filed",
        "count": 30,
        "workflow_ids": ["workflow-1"],
        "job_ids": [],
        "since": since.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


def test_each_type_of_problem_is_a_message_of_its_own(tenant: Tenant) -> None:
    make_endpoint_row(tenant)
    make_alert(tenant, "stuck")
    make_alert(tenant, "worker_failed")

    tell_problems()

    bodies = [message.content for message in Message.objects.all()]
    assert {body["data"]["problem_type"] for body in bodies} == {"stuck", "worker_failed"}
    assert {body["data"]["status_category"] for body in bodies} == {"incomplete"}


def test_other_tenants_hear_nothing(tenant: Tenant, other_tenant: Tenant) -> None:
    mine, anothers = make_endpoint_row(tenant), make_endpoint_row(other_tenant)
    make_alert(tenant)

    tell_problems()

    assert [delivery.endpoint_id for delivery in Delivery.objects.all()] == [mine.pk]
    assert not Message.objects.filter(tenant=anothers.tenant).exists()


def test_the_platforms_own_problems_are_no_tenants_business(tenant: Tenant) -> None:
    make_endpoint_row(tenant)
    make_alert(None)

    assert tell_problems() == 1

    assert not Message.objects.exists()


def test_a_mail_server_that_is_away_holds_up_no_webhook(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint, run_jobs: RunJobs, settings: Any
) -> None:
    settings.PROBLEM_EMAIL_TO = ["ops@example.com"]
    settings.EMAIL_BACKEND = "tests.jobs.test_alerts.Refusing"
    Refusing.refusals = 1
    make_endpoint()
    make_alert(tenant)

    tell_problems()
    send_due()
    (job,) = run_jobs()

    assert job.status == "queued"  # it is tried again
    assert [json.loads(call.body)["type"] for call in receiver.requests] == [EVENT]


def test_many_alerts_cost_no_more_statements_than_one(tenant: Tenant, statements: list[str]) -> None:
    make_endpoint_row(tenant)
    make_alert(tenant, "stuck")
    statements.clear()
    tell_problems()
    of_one = len(statements)
    for problem in ProblemType.values:
        if problem != "stuck":
            make_alert(tenant, problem)
    statements.clear()

    assert tell_problems() == len(ProblemType) - 1

    assert len(statements) == of_one


@pytest.mark.parametrize("problem", ProblemType.values)
def test_the_catalogue_knows_every_problem(problem: str) -> None:
    assert problem in PROBLEM["problem_type"]["enum"]
