"""A labelled set of work, with injected faults of every type among look-alikes: precision and recall are 1.0."""

from __future__ import annotations

import functools
import secrets
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.urls import reverse
from django.utils import timezone

from attestations.models import Attestation
from jobs.evaluator.runs import evaluate
from jobs.models import Job, ProblemType, Tenant, Workflow
from jobs.models.evaluation import CATEGORIES
from tests.factories import make_cluster, make_delivery, make_endpoint, make_job, make_worker
from tests.units import (
    Place,
    Unit,
    attest,
    attest_failed_run,
    attest_run,
    ended,
    make_failed,
    make_generation,
    make_lone_job,
    make_running,
    tell,
)

EACH = 7  # units of each label
OVERDUE = timedelta(minutes=30)
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 100
HEALTHY, WAITING = "complete", ""
Label = tuple[str, Callable[[Place], Unit]]
labels: list[Label] = []


def labelled(problem: str) -> Callable[[Callable[[Place], Unit]], Callable[[Place], Unit]]:
    """Say what is to be found in the units that a function makes."""

    def add(builder: Callable[[Place], Unit]) -> Callable[[Place], Unit]:
        labels.append((problem, builder))
        return builder

    return add


def store(name: str, content: bytes, settings: Any) -> str:
    """The address of a file among our own artifacts, under whatever name."""
    path = default_storage.save(f"acme/job/{secrets.token_hex(8)}/{name}", ContentFile(content))
    return str(settings.PUBLIC_URL + reverse("artifact", args=[path]))


def with_result(workflow: Workflow, result: Any) -> Workflow:
    Job.objects.filter(workflow=workflow, step_index=workflow.total_steps - 1).update(result=result)
    return workflow


# --- healthy ---------------------------------------------------------------------------------------


@labelled(HEALTHY)
def a_generation(place: Place) -> Unit:
    return make_generation(place)


@labelled(HEALTHY)
def without_user_and_without_endpoint(place: Place) -> Unit:
    return make_generation(place, user_id="", notification_status="none")


@labelled(HEALTHY)
def without_user_but_delivered(place: Place) -> Unit:
    workflow = make_generation(place, user_id="", notification_status="delivered")
    tell(workflow, make_endpoint(place.tenant), status="delivered")
    return workflow


@labelled(HEALTHY)
def told_although_a_delivery_failed(place: Place) -> Unit:
    workflow = make_generation(place, notification_status="told")
    tell(workflow, make_endpoint(place.tenant), status="failed")
    return workflow


@labelled(HEALTHY)
def told_inside_the_grace(place: Place) -> Unit:
    return make_generation(place, completed_at=timezone.now())


@labelled(HEALTHY)
def completed_by_a_retry(place: Place) -> Unit:
    workflow = make_generation(place, attempt=3)
    for run in (1, 2):
        attest_failed_run(workflow, run)
    return workflow


@labelled(HEALTHY)
def beyond_the_retention_of_attestations(place: Place) -> Unit:
    workflow = make_generation(place, completed_at=ended(timedelta(days=30)))
    Attestation.objects.filter(workflow=workflow).delete()
    return workflow


@labelled(HEALTHY)
def with_attestations_of_old(place: Place) -> Unit:
    workflow = make_generation(place)
    Attestation.objects.filter(workflow=workflow).delete()
    for job in workflow.jobs.all():
        attest(job, attestation_data={"result": "https://cdn.example.com/old.png"})
    attest_run(workflow, attestation_data={})
    return workflow


@labelled(HEALTHY)
def a_workflow_of_one_without_output(place: Place) -> Unit:
    return make_generation(place, collection=None, outputs=[])


@labelled(HEALTHY)
def a_job_after_three_attempts(place: Place) -> Unit:
    return make_lone_job(place, attempt=3)


@labelled(HEALTHY)
def a_job_of_which_one_endpoint_knows(place: Place) -> Unit:
    job = make_lone_job(place)
    message = tell(job, make_endpoint(place.tenant), status="failed")
    make_delivery(make_endpoint(place.tenant), message, status="delivered")
    return job


@labelled(HEALTHY)
def a_job_that_gives_nothing_and_declares_nothing(place: Place) -> Unit:
    return make_lone_job(place, result=None)


# --- too early to say ------------------------------------------------------------------------------


@labelled(WAITING)
def untold_inside_the_grace(place: Place) -> Unit:
    return make_generation(place, notification_status="owed", completed_at=timezone.now())


@labelled(WAITING)
def told_once_more_a_moment_ago(place: Place) -> Unit:
    workflow = make_generation(place, notification_status="owed")
    tell(workflow, make_endpoint(place.tenant), status="pending", ago=timedelta(seconds=3))
    return workflow


@labelled(WAITING)
def due_a_moment_ago(place: Place) -> Unit:
    return make_running(place, run_at=timezone.now() - timedelta(minutes=9))


@labelled(WAITING)
def due_tomorrow(place: Place) -> Unit:
    return make_job(place.tenant, run_at=timezone.now() + timedelta(days=1))


@labelled(WAITING)
def running_long_within_its_timeout(place: Place) -> Unit:
    at = timezone.now() - timedelta(hours=3)
    return make_job(place.tenant, status="running", started_at=at, timeout_seconds=86_400)


# --- filed -----------------------------------------------------------------------------------------


@labelled(ProblemType.NOTIFICATION_FAILED)
def undeliverable(place: Place) -> Unit:
    workflow = make_generation(place, notification_status="failed")
    tell(workflow, make_endpoint(place.tenant), status="failed")
    return workflow


@labelled(ProblemType.NOTIFICATION_FAILED)
def a_job_undeliverable_a_moment_ago(place: Place) -> Unit:
    job = make_lone_job(place, completed_at=timezone.now())
    tell(job, make_endpoint(place.tenant), status="failed", ago=timedelta(0))
    return job


@labelled(ProblemType.NOTIFICATION_MISSING)
def unconfirmed(place: Place) -> Unit:
    workflow = make_generation(place, notification_status="delivered")
    tell(workflow, make_endpoint(place.tenant), status="delivered")
    return workflow


@labelled(ProblemType.NOTIFICATION_MISSING)
def taken_by_nobody(place: Place) -> Unit:
    return make_generation(place, notification_status="owed")


@labelled(ProblemType.NOTIFICATION_MISSING)
def held(place: Place) -> Unit:
    workflow = make_generation(place, user_id="", notification_status="owed")
    tell(
        workflow,
        make_endpoint(place.tenant, disabled_at=timezone.now(), disabled_reason="failing"),
        status="held",
        reason="disabled",
    )
    return workflow


@labelled(ProblemType.NOTIFICATION_MISSING)
def a_job_whose_delivery_is_tried_again(place: Place) -> Unit:
    job = make_lone_job(place)
    at = timezone.now() + timedelta(hours=2)
    tell(job, make_endpoint(place.tenant), status="pending", attempt_count=4, next_attempt_at=at)
    return job


# --- incomplete ------------------------------------------------------------------------------------


@labelled(ProblemType.WORKER_FAILED)
def failed_thrice(place: Place) -> Unit:
    return make_failed(place, {"code": "oom", "message": "CUDA out of memory"})


@labelled(ProblemType.WORKER_FAILED)
def calls_itself_expired(place: Place) -> Unit:
    return make_lone_job(place, status="failed", attempt=2, error={"code": "expired", "message": "the token"})


@labelled(ProblemType.WORKER_FAILED)
def failed_and_undelivered(place: Place) -> Unit:
    workflow = make_failed(place, {"code": "poison", "message": "killed"})
    Workflow.objects.filter(pk=workflow.pk).update(notification_status="failed")
    tell(workflow, make_endpoint(place.tenant), status="failed")
    return workflow


@labelled(ProblemType.WORKER_FAILED)
def without_its_input(place: Place) -> Unit:
    return make_failed(
        place, {"code": "missing_input", "message": "Step 'frame' needs …"}, attempt=0, worker=""
    )


@labelled(ProblemType.TIMED_OUT)
def overran(place: Place) -> Unit:
    return make_failed(place, {"code": "timed_out", "message": "The attempt ran longer than 300 s."})


@labelled(ProblemType.TIMED_OUT)
def a_job_that_overran(place: Place) -> Unit:
    return make_lone_job(place, status="failed", attempt=1, error={"code": "timed_out", "message": "…"})


@labelled(ProblemType.EXPIRED)
def begun_by_nobody(place: Place) -> Unit:
    at = ended()
    error = {"code": "expired", "message": "Nobody began the job before it expired."}
    return make_failed(place, error, attempt=0, worker="", expires_at=at, failed_at=at)


@labelled(ProblemType.EXPIRED)
def a_job_not_begun_again(place: Place) -> Unit:
    at = ended()
    error = {"code": "expired", "message": "…"}
    return make_lone_job(place, status="failed", attempt=1, error=error, expires_at=at, failed_at=at)


@labelled(ProblemType.CANCELLED)
def stopped(place: Place) -> Unit:
    error = {"code": "cancelled", "message": "Cancelled by ann."}
    return make_lone_job(place, status="cancelled", attempt=0, error=error)


@labelled(ProblemType.CANCELLED)
def stopped_while_it_ran(place: Place) -> Unit:
    error = {"code": "timed_out", "message": "what it said when it was stopped"}
    return make_lone_job(place, status="cancelled", attempt=1, error=error)


@labelled(ProblemType.STUCK)
def waits_in_spite_of_a_worker(place: Place) -> Unit:
    return make_running(place, run_at=timezone.now() - OVERDUE)


@labelled(ProblemType.STUCK)
def overruns_unended(place: Place) -> Unit:
    at = timezone.now() - timedelta(hours=1)
    return make_job(place.tenant, service_required="artgen", status="running", started_at=at)


@labelled(ProblemType.STUCK)
def moved_on_by_nobody(place: Place) -> Unit:
    return make_running(place, status="completed", attempt=1, completed_at=ended())


@labelled(ProblemType.NO_WORKER)
def wanted_by_no_worker(place: Place) -> Unit:
    return make_running(place, service_required="nobody", queue="nobody", run_at=timezone.now() - OVERDUE)


@labelled(ProblemType.NO_WORKER)
def queued_where_no_cluster_is(place: Place) -> Unit:
    return make_job(place.tenant, queue="proof-publishing", run_at=timezone.now() - OVERDUE)


@labelled(ProblemType.MISSING_OUTPUT)
def made_nothing(place: Place) -> Unit:
    return with_result(make_generation(place, outputs=[]), {"url": None})


@labelled(ProblemType.MISSING_OUTPUT)
def made_it_inline(place: Place) -> Unit:
    marker = {"$removed": "base64", "bytes": 90_000, "content_type": "image/png"}
    return with_result(make_generation(place, outputs=[]), {"image": marker})


@labelled(ProblemType.ATTESTATION_MISSING)
def without_its_own_attestation(place: Place) -> Unit:
    workflow = make_generation(place)
    Attestation.objects.filter(workflow=workflow, entity_type="workflow").delete()
    return workflow


@labelled(ProblemType.ATTESTATION_MISSING)
def without_that_of_an_earlier_run(place: Place) -> Unit:
    workflow = make_generation(place, attempt=3)
    attest_failed_run(workflow, 2)
    return workflow


@labelled(ProblemType.ATTESTATION_MISSING)
def without_that_of_a_step(place: Place) -> Unit:
    workflow = make_generation(place)
    Attestation.objects.filter(workflow=workflow, job__step_index=0).delete()
    return workflow


@labelled(ProblemType.ATTESTATION_MISSING)
def without_that_of_an_attempt(place: Place) -> Unit:
    job = make_lone_job(place, attempt=3)
    Attestation.objects.filter(job=job, retry_attempt=1).delete()
    return job


def of_artifacts(settings: Any) -> list[Label]:
    """Units whose outputs are artifacts of ours, whose bytes are looked at."""

    def made(name: str, content: bytes, declared: str, place: Place) -> Unit:
        url = store(name, content, settings)
        result = {"url": url, "content_type": declared} if declared else {"url": url}
        return with_result(make_generation(place, outputs=[url]), result)

    mistyped = ProblemType.CONTENT_TYPE_MISMATCH
    return [
        (mistyped, functools.partial(made, "output.bin", PNG, "")),
        (mistyped, functools.partial(made, "output.png", PNG, "image/jpeg")),
        (HEALTHY, functools.partial(made, "output.bin", b"\1\2\3\4 weights", "")),
        (HEALTHY, functools.partial(made, "output.png", PNG, "image/png")),
        (HEALTHY, functools.partial(made, "output", PNG, "")),
    ]


@pytest.fixture
def place(tenant: Tenant, settings: Any, tmp_path: Path) -> Place:
    settings.MEDIA_ROOT = tmp_path
    make_worker(tenant, services=["artgen"])
    make_cluster("default")
    return Place.of(tenant)


def test_precision_and_recall_are_one(place: Place, settings: Any) -> None:
    wanted = [*labels, *of_artifacts(settings)]
    assert {problem for problem, _ in wanted} >= set(ProblemType)
    units = [(problem, make, make(place)) for _ in range(EACH) for problem, make in wanted]
    assert len(units) >= 300

    evaluate(chunk=100)

    said: Counter[str] = Counter()
    right: Counter[str] = Counter()
    wrong = []
    for problem, make, unit in units:
        unit.refresh_from_db()
        found = unit.problem_type or unit.status_category
        said[found] += 1
        if found == problem:
            right[found] += 1
        else:
            wrong.append((make, problem, found, unit.problem_details))
        if unit.problem_type:
            assert unit.status_category == CATEGORIES[ProblemType(unit.problem_type)]
    labelled_so = Counter(problem for problem, _, _ in units)
    assert not wrong, wrong[:3]
    assert {problem: right[problem] / said[problem] for problem in said} == dict.fromkeys(labelled_so, 1.0)
    assert {problem: right[problem] / count for problem, count in labelled_so.items()} == dict.fromkeys(
        labelled_so, 1.0
    )
