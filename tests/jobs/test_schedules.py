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
from jobs.schedules import SCHEDULES, sync_schedules
from jobs.testing import RunJobs

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


def test_a_due_schedule_becomes_one_job_until_it_has_ended(run_jobs: RunJobs) -> None:
    for _ in range(2):
        Schedule.objects.update(next_run=timezone.now() - timedelta(minutes=1))
        scheduler(broker=JobBroker("default"))

    jobs = run_jobs()

    assert sorted(job.kind for job in jobs) == sorted(item.kind for item in SCHEDULES)
    assert {(job.tenant, job.actor_id, job.status) for job in jobs} == {(None, "schedule", "completed")}
    assert Job.objects.count() == len(jobs)


def test_nothing_pickled_rests_in_the_database(run_jobs: RunJobs) -> None:
    Schedule.objects.update(next_run=timezone.now() - timedelta(minutes=1))
    scheduler(broker=JobBroker("default"))
    run_jobs()

    assert not OrmQ.objects.exists()
    assert not Task.objects.exists()
