"""Schedules are code, and django-q2 turns them into jobs of the platform."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from django_q.models import OrmQ, Schedule, Task
from django_q.scheduler import scheduler

from jobs.models import Job
from jobs.queue.broker import JobBroker
from jobs.queue.handlers import find_handler
from jobs.queue.runner import run_due_jobs
from jobs.schedules import SCHEDULES, sync_schedules

# django-q2 lets go of connections before it schedules, which no transaction around a test survives.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _schedules(transactional_db: None) -> None:
    sync_schedules()


def test_the_table_follows_the_code() -> None:
    Schedule.objects.create(name="left over", func="os.system")

    sync_schedules()

    assert set(Schedule.objects.values_list("name", "func", "minutes")) == {
        (item.name, item.kind, item.minutes) for item in SCHEDULES
    }
    assert all(find_handler(item.kind) for item in SCHEDULES)


def test_a_due_schedule_becomes_one_job_until_it_has_ended() -> None:
    for _ in range(2):
        Schedule.objects.update(next_run=timezone.now() - timedelta(minutes=1))
        scheduler(broker=JobBroker("default"))

    job = Job.objects.get()
    assert (job.kind, job.tenant, job.actor_id) == ("system.forget_workers", None, "schedule")
    run_due_jobs("default")
    job.refresh_from_db()
    assert job.status == "completed"


def test_nothing_pickled_rests_in_the_database() -> None:
    Schedule.objects.update(next_run=timezone.now() - timedelta(minutes=1))
    scheduler(broker=JobBroker("default"))
    run_due_jobs("default")

    assert not OrmQ.objects.exists()
    assert not Task.objects.exists()
