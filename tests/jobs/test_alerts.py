"""Alerts: new problems are told of together, once an hour at most, and none is lost."""

from __future__ import annotations

import smtplib
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.checks import run_checks
from django.core.mail.backends.locmem import EmailBackend
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from jobs.evaluator import alerts
from jobs.evaluator.alerts import QUIET, WHAT_TO_DO, Alert, alert_listener, tell_problems
from jobs.models import Job, ProblemAlert, ProblemType, Tenant
from jobs.testing import RunJobs
from tests.factories import make_alert, make_job, make_superuser, make_tenant, make_workflow

OPERATORS = ["ops@example.com", "night@example.com"]


@pytest.fixture
def told() -> Iterator[list[Alert]]:
    """What a listener hears."""
    heard: list[Alert] = []
    before = list(alerts.listeners)
    alert_listener(heard.extend)
    yield heard
    alerts.listeners[:] = before


@pytest.fixture
def operators(settings: Any) -> None:
    settings.PROBLEM_EMAIL_TO = OPERATORS


def found_again(alert: ProblemAlert, *workflow_ids: str) -> None:
    """What the evaluator adds when it finds more of the same."""
    alert.refresh_from_db()
    alert.untold_count += len(workflow_ids)
    alert.workflow_ids += workflow_ids
    alert.since = alert.since or timezone.now()
    alert.save()


def an_hour_passes(alert: ProblemAlert) -> None:
    ProblemAlert.objects.filter(pk=alert.pk).update(told_at=timezone.now() - QUIET)


def test_new_problems_are_told_of_and_then_no_more(tenant: Tenant, told: list[Alert]) -> None:
    since = timezone.now() - timedelta(minutes=3)
    alert = make_alert(tenant, "notification_missing", untold_count=12, job_ids=["a-job"], since=since)

    assert tell_problems() == 1
    assert tell_problems() == 0

    (heard,) = told
    assert (heard.tenant, heard.tenant_id, heard.problem_type, heard.count) == (
        "acme",
        tenant.pk,
        "notification_missing",
        12,
    )
    assert (heard.workflow_ids, heard.job_ids, heard.since) == (["workflow-a"], ["a-job"], since)
    assert heard.status_category == "filed"
    assert "re-notify" in heard.what_to_do
    alert.refresh_from_db()
    assert (alert.untold_count, alert.workflow_ids, alert.job_ids, alert.since) == (0, [], [], None)
    assert alert.told_at


def test_what_is_found_within_the_hour_comes_with_the_next_alert(tenant: Tenant, told: list[Alert]) -> None:
    alert = make_alert(tenant)
    tell_problems()
    found_again(alert, "workflow-b")

    assert tell_problems() == 0
    found_again(alert, "workflow-c")
    an_hour_passes(alert)
    assert tell_problems() == 1

    assert [(each.count, each.workflow_ids) for each in told] == [
        (2, ["workflow-a"]),
        (2, ["workflow-b", "workflow-c"]),
    ]


def test_the_hour_is_of_one_tenant_and_type(tenant: Tenant, other_tenant: Tenant, told: list[Alert]) -> None:
    make_alert(tenant, "stuck", told_at=timezone.now())
    make_alert(tenant, "expired")
    make_alert(other_tenant, "stuck")

    assert tell_problems() == 2

    assert {(each.tenant, each.problem_type) for each in told} == {("acme", "expired"), ("globex", "stuck")}


def test_nothing_is_told_of_when_there_is_nothing(
    tenant: Tenant, told: list[Alert], operators: None, run_jobs: RunJobs
) -> None:
    make_alert(tenant, untold_count=0, workflow_ids=[], since=None)

    assert tell_problems() == 0

    assert told == []
    assert run_jobs() == []


def test_what_a_listener_could_not_take_is_told_of_later(
    tenant: Tenant, told: list[Alert], operators: None
) -> None:
    alert = make_alert(tenant)

    def refuse(_: Sequence[Alert]) -> None:
        raise RuntimeError("no room")

    alert_listener(refuse)
    with pytest.raises(RuntimeError):
        tell_problems()

    alert.refresh_from_db()
    assert (alert.untold_count, alert.told_at) == (2, None)
    assert not Job.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_at_once_tell_once(told: list[Alert]) -> None:
    tenant = make_tenant()
    for problem in ProblemType.values:
        make_alert(tenant, problem)
    start = threading.Barrier(4)
    counts: list[int] = []

    def tell() -> None:
        try:
            start.wait()
            counts.append(tell_problems())
        finally:
            connection.close()

    threads = [threading.Thread(target=tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(counts) == len(ProblemType)
    assert sorted(each.problem_type for each in told) == sorted(ProblemType.values)


@pytest.mark.django_db(transaction=True)
def test_an_alert_that_the_evaluator_is_adding_to_is_not_waited_for(told: list[Alert]) -> None:
    alert = make_alert(make_tenant())
    other = make_alert(make_tenant())
    counts: list[int] = []

    def tell() -> None:
        try:
            counts.append(tell_problems())
        finally:
            connection.close()

    with transaction.atomic():
        ProblemAlert.objects.select_for_update().get(pk=alert.pk)
        thread = threading.Thread(target=tell)
        thread.start()
        thread.join(10)

    assert counts == [1]
    assert [each.tenant_id for each in told] == [other.tenant_id]
    assert tell_problems() == 1


def test_operators_get_one_e_mail_of_all_of_them(
    tenant: Tenant, other_tenant: Tenant, operators: None, run_jobs: RunJobs, settings: Any
) -> None:
    settings.PUBLIC_URL = "https://jobs.example.com"
    make_alert(tenant, "notification_missing", untold_count=10, workflow_ids=["workflow-1", "workflow-2"])
    make_alert(other_tenant, "worker_failed", untold_count=1, workflow_ids=[], job_ids=["0190-a-job"])
    make_alert(None, "stuck", untold_count=1, workflow_ids=[], job_ids=["0190-of-ours"])

    tell_problems()
    (job,) = run_jobs()

    assert (job.kind, job.status, job.tenant_id) == ("system.mail_problems", "completed", None)
    (message,) = mail.outbox
    assert message.to == OPERATORS
    assert message.subject == (
        "Affidavit: 12 new problems (acme: 10 notification_missing, globex: 1 worker_failed, "
        "the platform itself: 1 stuck)"
    )
    acme, globex, ours = (
        message.body.index(name) for name in ("acme\n", "globex\n", "the platform itself\n")
    )
    assert acme < globex < ours
    assert "/admin/jobs/workflow/?problem_type=notification_missing&tenant=acme" in message.body
    assert "https://jobs.example.com/admin/jobs/job/?problem_type=stuck&tenant=-" in message.body
    assert "- workflow-2" in message.body
    assert WHAT_TO_DO[ProblemType.WORKER_FAILED] in message.body
    assert message.extra_headers["Message-ID"] == f"<{job.pk}@jobs.example.com>"


def test_many_problems_make_a_short_subject(tenant: Tenant, operators: None, run_jobs: RunJobs) -> None:
    for count, problem in enumerate(ProblemType.values, start=1):
        make_alert(tenant, problem, untold_count=count)

    tell_problems()
    run_jobs()

    (message,) = mail.outbox
    assert message.subject.startswith("Affidavit: 66 new problems (acme: 11 ")
    assert message.subject.endswith(", …)")
    assert len(message.subject) < 150


def test_a_link_of_the_e_mail_shows_what_it_speaks_of(
    tenant: Tenant, other_tenant: Tenant, operators: None, run_jobs: RunJobs, client: Client
) -> None:
    found = {"status": "failed", "problem_type": "worker_failed"}
    make_workflow(tenant, workflow_id="mine", **found)
    make_workflow(tenant, workflow_id="another-problem", status="failed", problem_type="expired")
    make_workflow(other_tenant, workflow_id="anothers", **found)
    make_job(tenant, **found)
    make_alert(tenant, "worker_failed", workflow_ids=["mine"], job_ids=["a-job"])
    tell_problems()
    run_jobs()
    urls = [line.strip() for line in mail.outbox[0].body.splitlines() if "http" in line]
    client.force_login(make_superuser())

    workflows, jobs = (client.get(url.removeprefix("http://127.0.0.1:8000")) for url in urls)

    assert [row.workflow_id for row in workflows.context["cl"].result_list] == ["mine"]
    assert [row.problem_type for row in jobs.context["cl"].result_list] == ["worker_failed"]


def test_nobody_is_mailed_unless_it_is_asked_for(
    tenant: Tenant, told: list[Alert], run_jobs: RunJobs
) -> None:
    make_alert(tenant)

    tell_problems()

    assert len(told) == 1
    assert run_jobs() == []


class Refusing(EmailBackend):
    """A mail server that is away at first."""

    refusals = 0

    def send_messages(self, messages: Any) -> int:
        if Refusing.refusals:
            Refusing.refusals -= 1
            raise smtplib.SMTPServerDisconnected("Connection unexpectedly closed")
        return super().send_messages(messages)


def test_a_mail_that_is_not_taken_is_sent_later(
    tenant: Tenant, operators: None, told: list[Alert], run_jobs: RunJobs, settings: Any
) -> None:
    settings.EMAIL_BACKEND = f"{__name__}.Refusing"
    Refusing.refusals = 2
    make_alert(tenant)

    tell_problems()
    (job,) = run_jobs()
    assert (job.status, job.error["code"] if job.error else "") == ("queued", "handler_failed")
    assert mail.outbox == []
    (job,) = run_jobs(include_delayed=True)[-1:]

    assert (job.status, job.attempt) == ("completed", 3)
    assert len(mail.outbox) == 1
    assert len(told) == 1  # whoever else listens was told at once, and once


def test_every_problem_has_advice() -> None:
    assert WHAT_TO_DO.keys() == set(ProblemType)


@pytest.mark.parametrize("name", ["PROBLEM_EMAIL_TO", "PROBLEM_EMAIL_FROM"])
def test_what_is_no_address_is_found_by_the_checks(settings: Any, name: str) -> None:
    setattr(settings, name, ["ops@example.com", "ops"] if name.endswith("TO") else "Affidavit")

    (found,) = [message for message in run_checks() if message.id == "affidavit.E007"]

    assert name in found.msg


def test_mail_that_is_printed_alone_is_warned_of(operators: None, settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"

    deployed = [message.id for message in run_checks(include_deployment_checks=True)]
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    mended = [message.id for message in run_checks(include_deployment_checks=True)]

    assert "affidavit.W003" in deployed
    assert "affidavit.W003" not in mended
