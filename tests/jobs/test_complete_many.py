"""Completing several jobs in one request: each under its own lease."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from attestations.models import Attestation
from jobs.models import Job, Tenant
from tests.conftest import ApiClient
from tests.factories import make_job, make_workflow
from tests.jobs.test_api_access import assert_problem


def running(tenant: Tenant | None, **fields: Any) -> Job:
    return make_job(tenant, **{"service_required": "gpu", "status": "running", **fields})


def word_on(job: Job, **fields: Any) -> dict[str, Any]:
    return {"id": str(job.pk), "lease_token": str(job.lease_token), **fields}


def complete(api: ApiClient, *jobs: Any) -> Any:
    return api.send("post", "/api/jobs/complete", {"jobs": list(jobs)})


def test_results_are_stored_attested_and_answered_in_the_order_given(api: ApiClient, tenant: Tenant) -> None:
    first, second = running(tenant), running(tenant)

    response = complete(api, word_on(second, result={"url": "x"}), word_on(first))

    assert response.status_code == 200
    assert response.json() == {
        "jobs": [
            {"id": str(second.pk), "status": "completed"},
            {"id": str(first.pk), "status": "completed"},
        ]
    }
    assert dict(Job.objects.values_list("pk", "result")) == {second.pk: {"url": "x"}, first.pk: None}
    assert set(Job.objects.values_list("status", flat=True)) == {"completed"}
    assert Attestation.objects.count() == 2


def test_a_stale_one_does_not_hold_up_the_others(api: ApiClient, tenant: Tenant) -> None:
    stale, live, ended = running(tenant), running(tenant), make_job(tenant, service_required="gpu")

    answers = complete(
        api,
        word_on(stale, lease_token=str(uuid4()), result="late"),
        word_on(live),
        word_on(ended, lease_token=str(uuid4())),
    )

    assert [job["status"] for job in answers.json()["jobs"]] == ["lease_lost", "completed", "lease_lost"]
    stale.refresh_from_db()
    assert (stale.status, stale.result) == ("running", None)


def test_what_is_not_the_tenants_remote_job_is_answered_as_any_lost_lease(
    api: ApiClient, tenant: Tenant, other_tenant: Tenant
) -> None:
    theirs, in_house = running(other_tenant), running(tenant, service_required="")
    unknown = {"id": str(uuid4()), "lease_token": str(uuid4())}

    answers = complete(api, word_on(theirs), word_on(in_house), unknown)

    assert [job["status"] for job in answers.json()["jobs"]] == ["lease_lost"] * 3
    assert set(Job.objects.values_list("status", flat=True)) == {"running"}
    assert not Attestation.objects.exists()


def test_the_next_steps_of_their_workflows_are_queued(api: ApiClient, tenant: Tenant) -> None:
    pairs = []
    for _ in range(2):
        workflow = make_workflow(tenant, total_steps=2)
        first = running(tenant, workflow=workflow, step_index=0)
        waiting = make_job(tenant, service_required="gpu", status="waiting", workflow=workflow, step_index=1)
        pairs.append((first, waiting))

    complete(api, *[word_on(first) for first, _ in pairs])

    for _, waiting in pairs:
        waiting.refresh_from_db()
        assert waiting.status == "queued"


def test_the_same_job_twice_is_422_and_changes_nothing(api: ApiClient, tenant: Tenant) -> None:
    job, other = running(tenant), running(tenant)

    problem = assert_problem(
        complete(api, word_on(job), word_on(other), word_on(job, lease_token=str(uuid4()))), 422, "invalid"
    )

    (error,) = problem["errors"]  # type: ignore[misc]
    assert (error["pointer"], error["code"]) == ("/jobs/2/id", "doubled")
    assert set(Job.objects.values_list("status", flat=True)) == {"running"}


@pytest.mark.parametrize(
    ("jobs", "pointer"),
    [
        ([], "/jobs"),
        ([{"id": str(uuid4()), "lease_token": str(uuid4())}] * 101, "/jobs"),
        ([{"lease_token": str(uuid4())}], "/jobs/0/id"),
        ([{"id": str(uuid4())}], "/jobs/0/lease_token"),
        ([{"id": "1", "lease_token": str(uuid4())}], "/jobs/0/id"),
        ([{"id": str(uuid4()), "lease_token": str(uuid4()), "outcome": 1}], "/jobs/0/outcome"),
        ("all", "/jobs"),
        (None, "/jobs"),
    ],
)
def test_a_wrong_list_is_422(api: ApiClient, jobs: Any, pointer: str) -> None:
    problem = assert_problem(api.send("post", "/api/jobs/complete", {"jobs": jobs}), 422, "invalid")

    assert [error["pointer"] for error in problem["errors"]] == [pointer]  # type: ignore[attr-defined]


def test_the_number_of_statements_does_not_depend_on_the_jobs(
    api: ApiClient, tenant: Tenant, statements: list[str]
) -> None:
    def count(size: int) -> int:
        jobs = [running(tenant) for _ in range(size)]
        statements.clear()
        complete(api, *[word_on(job) for job in jobs])
        return len(statements)

    count(1)  # notes the key's use, which the others need not

    assert count(1) == count(100)
    assert not Job.objects.exclude(status="completed").exists()
