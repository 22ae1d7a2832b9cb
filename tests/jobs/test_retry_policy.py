"""`retry` on submission: a job's own word on how soon it is tried again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from jobs.models import Job
from jobs.queue import handlers
from jobs.queue.backoff import RetryPolicy
from jobs.queue.handlers import NoPayload, handler
from jobs.testing import RunJobs
from tests.conftest import ApiClient
from tests.jobs.test_api_access import assert_problem

DELAYS = {"delays": [70, 700], "jitter": 0}


@pytest.fixture
def _failing() -> Iterator[None]:
    """A kind that fails, and that by itself would be tried again after 5 s."""

    def fail(envelope: object) -> None:
        raise ValueError("no such luck")

    handler("test.fail", payload=NoPayload, retry=RetryPolicy(delay_seconds=5, jitter=0))(fail)
    yield
    handlers.unregister("test.fail")


def make_due() -> None:
    Job.objects.update(run_at=timezone.now() - timedelta(seconds=1))


def wait_of(job: Job) -> float:
    """Seconds until the job is tried again, as they were when it failed."""
    job.refresh_from_db()
    return round((job.run_at - timezone.now()).total_seconds() / 5) * 5


@pytest.mark.usefixtures("_failing")
def test_a_failure_in_house_waits_as_the_job_says(api: ApiClient, run_jobs: RunJobs) -> None:
    api.send("post", "/api/jobs", {"kind": "test.fail", "retry": DELAYS})
    job = Job.objects.get()

    run_jobs()
    assert (job.max_attempts, wait_of(job)) == (3, 70)
    make_due()
    run_jobs()
    assert (job.status, wait_of(job)) == ("queued", 700)
    make_due()
    run_jobs()
    job.refresh_from_db()
    assert (job.status, job.attempt) == ("failed", 3)


def test_a_workers_fail_waits_as_the_job_says(api: ApiClient) -> None:
    api.send("post", "/api/jobs", {"service_required": "gpu", "retry": DELAYS, "max_attempts": 2})
    job = Job.objects.get()

    fail_remotely(api)
    assert wait_of(job) == 70
    make_due()
    fail_remotely(api)
    job.refresh_from_db()
    assert (job.status, job.attempt) == ("failed", 2)


def fail_remotely(api: ApiClient) -> None:
    (job,) = api.send("post", "/api/workers/claim", {"worker_id": "w", "services": ["gpu"]}).json()["jobs"]
    body = {"lease_token": job["lease_token"], "error": {"code": "oom", "message": "out of memory"}}
    assert api.send("post", f"/api/jobs/{job['id']}/fail", body).status_code == 200


@pytest.mark.usefixtures("_failing")
def test_what_the_job_leaves_out_is_as_its_kind_says(api: ApiClient, run_jobs: RunJobs) -> None:
    api.send("post", "/api/jobs", {"kind": "test.fail", "retry": {"delay_seconds": 40}, "max_attempts": 5})
    job = Job.objects.get()

    run_jobs()
    assert wait_of(job) == 40
    make_due()
    run_jobs()
    assert wait_of(job) == 80  # the kind's backoff of 2


@pytest.mark.parametrize(
    ("retry", "max_attempts", "attempts"),
    [
        ({"delays": [1, 2, 3, 4]}, None, 5),
        ({"delays": [1, 2, 3, 4]}, 2, 2),
        ({"backoff": 3, "jitter": 0.5}, None, 3),
        ({}, None, 3),
    ],
)
def test_only_what_was_given_is_stored_and_shown(
    api: ApiClient, retry: dict[str, Any], max_attempts: int | None, attempts: int
) -> None:
    body = {"service_required": "gpu", "retry": retry}

    answer = api.send("post", "/api/jobs", body | ({"max_attempts": max_attempts} if max_attempts else {}))

    assert answer.status_code == 201
    assert (answer.json()["retry"], answer.json()["max_attempts"]) == (retry, attempts)
    assert Job.objects.get().retry_policy == retry


def test_a_job_that_says_nothing_shows_nothing(api: ApiClient) -> None:
    answer = api.send("post", "/api/jobs", {"service_required": "gpu", "workflow_id": "mine-1"}).json()

    assert answer["retry"] is None
    assert Job.objects.get().retry_policy is None


def test_a_job_of_a_workflow_has_its_own_too(api: ApiClient) -> None:
    body = {"service_required": "gpu", "workflow_id": "mine-1", "retry": DELAYS}

    assert api.send("post", "/api/jobs", body).json()["retry"] == DELAYS


@pytest.mark.parametrize(
    ("retry", "pointer"),
    [
        ({"delay_seconds": -1}, "/retry/delay_seconds"),
        ({"delay_seconds": 31_536_001}, "/retry/delay_seconds"),
        ({"delay_seconds": "60"}, "/retry/delay_seconds"),
        ({"delay_seconds": "nan"}, "/retry/delay_seconds"),
        ({"delay_seconds": True}, "/retry/delay_seconds"),
        ({"delay_seconds": None}, "/retry/delay_seconds"),
        ({"backoff": 0.5}, "/retry/backoff"),
        ({"backoff": 101}, "/retry/backoff"),
        ({"cap_seconds": 31_536_001}, "/retry/cap_seconds"),
        ({"jitter": 1.1}, "/retry/jitter"),
        ({"jitter": -0.1}, "/retry/jitter"),
        ({"delays": []}, "/retry/delays"),
        ({"delays": [1] * 101}, "/retry/delays"),
        ({"delays": [1, 31_536_001]}, "/retry/delays/1"),
        ({"delays": 5}, "/retry/delays"),
        ({"delays": [1], "delay_seconds": 1}, "/retry/delays"),
        ({"delays": [1], "backoff": 1}, "/retry/delays"),
        ({"delays": [1], "cap_seconds": 1}, "/retry/delays"),
        ({"max_attempts": 3}, "/retry/max_attempts"),
        ([], "/retry"),
        (None, "/retry"),
    ],
)
def test_a_wrong_retry_is_422_naming_the_field(api: ApiClient, retry: Any, pointer: str) -> None:
    response = api.send("post", "/api/jobs", {"service_required": "gpu", "retry": retry})

    problem = assert_problem(response, 422, "invalid")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]  # type: ignore[attr-defined]
    assert not Job.objects.exists()
