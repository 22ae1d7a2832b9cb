"""Schedules in the admin: how often, when next, how it went, run now, paused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_q.models import Schedule as EngineSchedule
from django_q.scheduler import scheduler
from pytest_django import DjangoAssertNumQueries

from jobs.admin.schedules import LastJob, with_last_job
from jobs.models import AuditEntry, Job, Schedule, Tenant
from jobs.queue.broker import JobBroker
from jobs.schedules import sync_schedules
from jobs.services.audit import Actor
from jobs.services.schedules import pause_schedule, resume_schedule
from jobs.testing import RunJobs
from tests.factories import make_job, make_operator, make_restricted

SCHEDULES = reverse("admin:jobs_schedule_changelist")
ALICE = Actor(name="alice")


@pytest.fixture
def operator(db: None) -> Client:
    rights = ("jobs.view_schedule", "jobs.change_schedule", "jobs.view_job")
    return client_of(make_operator(*rights, name="alice"))


@pytest.fixture
def evaluate(db: None) -> Schedule:
    schedule: Schedule = Schedule.objects.get(name="evaluate")
    return schedule


@pytest.fixture(autouse=True)
def _known_content_types(db: None) -> None:
    """Django caches these: only the first page of a process asks for them."""
    ContentType.objects.get_for_models(*apps.get_models(), for_concrete_models=False)


def client_of(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def page_of(schedule: Schedule) -> str:
    return reverse("admin:jobs_schedule_change", args=[schedule.pk])


def shown(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, url
    return response.content.decode()


def act(client: Client, action: str, schedule: Schedule, **fields: str) -> Any:
    return client.post(SCHEDULES, {"action": action, "_selected_action": str(schedule.pk), **fields})


def told(response: Any) -> str:
    """What it said last; what nobody has read yet stays."""
    return [str(message) for message in get_messages(response.wsgi_request)][-1]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"schedule_type": "I", "minutes": 1}, "every minute"),
        ({"schedule_type": "I", "minutes": 10}, "every 10 minutes"),
        ({"schedule_type": "I", "minutes": 60}, "every hour"),
        ({"schedule_type": "I", "minutes": 1_440}, "every day"),
        ({"schedule_type": "I", "minutes": 90}, "every 90 minutes"),
        ({"schedule_type": "BW"}, "every 2 weeks"),
        ({"schedule_type": "C", "cron": "0 4 * * *"}, "by cron: 0 4 * * *"),
    ],
)
def test_a_cadence_is_told_in_words(fields: dict[str, Any], text: str) -> None:
    assert Schedule(**fields).cadence == text


def test_every_type_of_schedule_has_words() -> None:
    for word, _ in EngineSchedule.TYPE:
        assert Schedule(schedule_type=word, minutes=5, cron="* * * * *").cadence


def test_the_list_tells_when_each_runs_and_how_it_went(operator: Client, evaluate: Schedule) -> None:
    Schedule.objects.update(next_run=timezone.now() + timedelta(minutes=5, seconds=30))
    ended: dict[str, Any] = {"started_at": timezone.now() - timedelta(seconds=20)}
    make_job(kind="system.evaluate", status="completed", **ended)
    make_job(kind="system.evaluate", status="failed", **ended)

    html = shown(operator, SCHEDULES)

    for text in ("every 10 minutes", "in 5 min", "failed", "20 s", "not lately"):
        assert text in html
    assert "overdue" not in html


def test_the_last_job_is_the_newest_of_the_platforms_own(evaluate: Schedule, tenant: Tenant) -> None:
    mine = Schedule.objects.filter(pk=evaluate.pk)
    assert LastJob.of(with_last_job(mine).get()) is None
    make_job(kind="system.evaluate", status="failed")
    make_job(kind="system.evaluate", status="running")
    make_job(tenant, kind="system.evaluate", status="cancelled")

    last = LastJob.of(with_last_job(mine).get())

    assert last is not None
    assert (last.status, last.took) == ("running", None)


def test_what_is_overdue_says_so(operator: Client, evaluate: Schedule) -> None:
    Schedule.objects.update(next_run=timezone.now() - timedelta(minutes=3))

    assert "overdue" in shown(operator, page_of(evaluate))


def test_run_now_enqueues_its_job_once(operator: Client, evaluate: Schedule, run_jobs: RunJobs) -> None:
    due = evaluate.next_run

    response = act(operator, "run_now", evaluate, from_page="1", reason="The disk was full.")
    again = act(operator, "run_now", evaluate)

    job = Job.objects.get(kind="system.evaluate")
    assert (job.singleton_key, job.actor_id, job.tenant) == ("evaluate", "alice", None)
    assert response["Location"] == page_of(evaluate)
    link = reverse("admin:jobs_job_change", args=[job.pk])
    assert "evaluate runs as" in told(response)
    assert link in told(response)
    assert "its last job has not ended" in told(again)
    assert link in told(again)
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.model, entry.object_text) == (
        "alice",
        "run now",
        "jobs.Schedule",
        "evaluate",
    )
    assert (entry.after, entry.reason) == ({"job": str(job.pk)}, "The disk was full.")
    evaluate.refresh_from_db()
    assert evaluate.next_run == due
    assert [each.status for each in run_jobs()] == ["completed"]
    assert str(job.pk) in shown(operator, page_of(evaluate))


def test_pausing_and_resuming_is_told_and_audited(operator: Client, evaluate: Schedule) -> None:
    assert told(act(operator, "pause_schedules", evaluate)) == "1 schedule paused: nothing is enqueued."
    assert told(act(operator, "pause_schedules", evaluate)) == "1 schedule refused: paused before."
    paused = shown(operator, page_of(evaluate))
    assert told(act(operator, "resume_schedules", evaluate)) == "1 schedule resumed."
    assert told(act(operator, "resume_schedules", evaluate)) == "1 schedule refused: not paused."

    assert "none while it is paused" in paused
    assert 'value="resume_schedules"' in paused
    entries = AuditEntry.objects.order_by("id").values_list("action", "before", "after")
    assert list(entries) == [
        ("pause", {"is_paused": False}, {"is_paused": True}),
        ("resume", {"is_paused": True}, {"is_paused": False}),
    ]


@pytest.mark.django_db(transaction=True)  # django-q2 lets go of connections before it schedules
def test_a_paused_schedule_enqueues_nothing_until_it_is_resumed() -> None:
    sync_schedules()
    evaluate = Schedule.objects.get(name="evaluate")
    Schedule.objects.exclude(pk=evaluate.pk).delete()
    Schedule.objects.update(next_run=timezone.now() - timedelta(minutes=1))

    pause_schedule(evaluate, by=ALICE)
    sync_schedules()  # a migrate leaves the pause alone
    Schedule.objects.exclude(pk=evaluate.pk).delete()
    scheduler(broker=JobBroker("default"))
    while_paused = Job.objects.count()
    resume_schedule(evaluate, by=ALICE)
    scheduler(broker=JobBroker("default"))

    assert while_paused == 0
    assert list(Job.objects.values_list("kind", flat=True)) == ["system.evaluate"]
    evaluate.refresh_from_db()
    assert evaluate.next_run > timezone.now()


def test_a_viewer_runs_and_pauses_nothing(evaluate: Schedule) -> None:
    client = client_of(make_operator("jobs.view_schedule"))

    html = shown(client, page_of(evaluate))
    for action in ("run_now", "pause_schedules"):
        act(client, action, evaluate)

    evaluate.refresh_from_db()
    assert "run_now" not in html
    assert "Last runs" not in html
    assert not evaluate.is_paused
    assert not Job.objects.exists()


def test_schedules_are_the_platforms_own(evaluate: Schedule, tenant: Tenant) -> None:
    user = make_restricted(make_operator("jobs.view_schedule", "jobs.change_schedule"), tenant)
    client = client_of(user)

    act(client, "run_now", evaluate)

    assert client.get(SCHEDULES).status_code == 403
    assert client.get(page_of(evaluate)).status_code == 403
    assert not Job.objects.exists()


def test_the_list_costs_a_fixed_number_of_queries(
    operator: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(20):
        make_job(kind="system.evaluate", status="completed")

    with django_assert_num_queries(11):
        shown(operator, SCHEDULES)
