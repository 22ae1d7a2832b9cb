"""What the evaluator says of work that should have begun, or ended, long ago."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from jobs.models import ProblemAlert, Queue, Tenant, Workflow
from tests.factories import (
    make_cluster,
    make_job,
    make_service,
    make_worker,
    make_workflow,
)
from tests.jobs.judging import details, verdict
from tests.units import (
    Place,
    ended,
    make_running,
)

OVERDUE = timedelta(minutes=30)


@pytest.fixture
def place(tenant: Tenant) -> Place:
    return Place.of(tenant)


def test_stuck_in_the_queue_although_a_worker_offers_its_service(place: Place) -> None:
    make_worker(place.tenant, services=["artgen"])
    workflow = make_running(place, run_at=timezone.now() - OVERDUE)

    assert verdict(workflow) == ("incomplete", "stuck")


def test_stuck_because_its_service_is_paused(place: Place) -> None:
    make_worker(place.tenant, services=["artgen"])
    make_service("artgen", paused_at=timezone.now())
    workflow = make_running(place, run_at=timezone.now() - OVERDUE)

    assert verdict(workflow) == ("incomplete", "stuck")
    assert "paused" in details(workflow)["missing"]
    assert "manage.py queue resume artgen --service" in " ".join(details(workflow)["what_to_do"])


def test_stuck_in_an_attempt_that_nobody_ended(place: Place) -> None:
    job = make_job(
        place.tenant,
        service_required="artgen",
        status="running",
        started_at=timezone.now() - timedelta(hours=1),
        timeout_seconds=300,
    )

    assert verdict(job) == ("incomplete", "stuck")


def test_stuck_because_nothing_moved_the_workflow_on(place: Place) -> None:
    workflow = make_running(place, status="completed", attempt=1, completed_at=ended())

    assert verdict(workflow) == ("incomplete", "stuck")


def test_stuck_without_any_job(place: Place) -> None:
    workflow = make_workflow(place.tenant)
    Workflow.objects.filter(pk=workflow.pk).update(created_at=ended())

    assert verdict(workflow) == ("incomplete", "stuck")


def test_no_worker_offers_the_service(place: Place, other_tenant: Tenant) -> None:
    make_worker(other_tenant, services=["artgen"])  # somebody else's
    make_worker(place.tenant, services=["artgen"], last_seen_at=timezone.now() - timedelta(hours=1))  # gone
    make_worker(place.tenant, services=["proving"])  # does something else
    workflow = make_running(place, run_at=timezone.now() - OVERDUE)

    assert verdict(workflow) == ("incomplete", "no_worker")
    assert "'artgen'" in details(workflow)["missing"]


def test_a_worker_that_is_busy_still_offers_all_its_services(place: Place) -> None:
    long_ago = timezone.now() - timedelta(minutes=20)
    make_worker(place.tenant, worker_id="gpu-1", services=["artgen", "upscale"], last_seen_at=long_ago)
    make_job(
        place.tenant, service_required="upscale", status="running", worker="gpu-1", timeout_seconds=9_000
    )
    workflow = make_running(place, run_at=timezone.now() - OVERDUE)

    assert verdict(workflow) == ("incomplete", "stuck")


def test_what_is_stuck_is_said_anew_when_its_cause_has_changed(place: Place) -> None:
    make_worker(place.tenant, services=["artgen"])
    service = make_service("artgen", paused_at=timezone.now())
    workflow = make_running(place, run_at=timezone.now() - OVERDUE)
    assert verdict(workflow) == ("incomplete", "stuck")

    Queue.objects.filter(pk=service.pk).update(paused_at=None)

    assert verdict(workflow) == ("incomplete", "stuck")
    assert "paused" not in details(workflow)["missing"]
    assert ProblemAlert.objects.get().untold_count == 0, "it was told before, and is nothing new"


def test_no_cluster_serves_the_queue(place: Place) -> None:
    job = make_job(place.tenant, run_at=timezone.now() - OVERDUE)

    assert verdict(job) == ("incomplete", "no_worker")
    assert "Q_CLUSTER_NAME=default" in " ".join(details(job)["what_to_do"])


@pytest.mark.parametrize(
    "fields",
    [
        {"run_at": timedelta(hours=1)},
        {"run_at": -timedelta(minutes=5)},
        {"status": "running", "started_at": -timedelta(minutes=12)},
        {"status": "running", "started_at": -timedelta(hours=3), "timeout_seconds": 20_000},
    ],
    ids=[
        "due later",
        "due a moment ago",
        "runs within its timeout and the grace",
        "runs long by its own word",
    ],
)
def test_live_work_that_is_not_overdue_is_left_alone(place: Place, fields: dict[str, Any]) -> None:
    make_cluster("default")
    # Counted from now and not from when the tests were collected.
    moments = {name: timezone.now() + ago for name, ago in fields.items() if isinstance(ago, timedelta)}

    assert verdict(make_job(place.tenant, **{**fields, **moments})) == ("", "")


def test_what_was_without_worker_is_stuck_once_there_is_one(place: Place) -> None:
    workflow = make_running(place, run_at=timezone.now() - OVERDUE)
    assert verdict(workflow) == ("incomplete", "no_worker")

    make_worker(place.tenant, services=["artgen"])

    assert verdict(workflow) == ("incomplete", "stuck")


def test_a_stuck_workflow_that_goes_on_is_reopened(place: Place) -> None:
    workflow = make_running(place, run_at=timezone.now() - OVERDUE)
    assert verdict(workflow) == ("incomplete", "no_worker")

    workflow.jobs.filter(step_index=0).update(
        status="running",
        attempt=1,
        started_at=timezone.now(),
        lease_token=workflow.pk,
        lease_expires_at=timezone.now() + timedelta(seconds=30),
    )

    assert verdict(workflow) == ("", "")
