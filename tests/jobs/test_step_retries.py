"""Retrying and cancelling the steps of a workflow: in their order, with their payloads filled in."""

from __future__ import annotations

import pytest
from django.utils import timezone

from jobs.errors import InvalidTransition
from jobs.models import Job, Tenant, Workflow
from jobs.services.jobs import cancel_job, complete_job, fail_job, retry_job
from jobs.services.workflows import Step, retry_workflow, start_workflow
from tests.conftest import ApiClient
from tests.factories import claim_one, make_job
from tests.jobs.stepping import URL, complete, expire, fail, make_steps, statuses


@pytest.fixture
def steps(tenant: Tenant) -> list[Job]:
    """Two steps of a workflow, the second of which wants the first one's `url`."""
    _, jobs = start_workflow(
        tenant,
        workflow_id="w",
        steps=[
            Step(name="one", service_required="gpu", payload={}, options={"max_attempts": 1}),
            Step(name="two", service_required="cpu", payload={"image": "${steps.one.result.url}"}),
        ],
        actor_id="test",
        data={},
    )
    return jobs


def refreshed(job: Job) -> Job:
    job.refresh_from_db()
    return job


def test_a_step_that_a_failed_workflow_still_needs_is_not_cancelled(steps: list[Job]) -> None:
    one, two = steps
    fail(one)

    with pytest.raises(InvalidTransition):
        cancel_job(refreshed(two), by="alice")

    retry_job(one, by="alice")
    complete(one, {"url": URL})
    complete(refreshed(two), "done")
    assert Workflow.objects.get().status == "completed"


def test_a_step_is_retried_after_those_before_it_and_gets_what_they_made(steps: list[Job]) -> None:
    one, two = steps
    expire(two)
    with pytest.raises(InvalidTransition):
        retry_job(two, by="alice")
    with pytest.raises(InvalidTransition):
        retry_job(two, by="alice", payload={"image": "mine"})
    complete(one, {"url": URL})

    retried = retry_job(refreshed(two), by="alice")

    assert (retried.payload, retried.original_payload) == ({"image": URL}, None)
    complete(retried, "done")
    assert Workflow.objects.get().status == "completed"


def test_a_step_without_its_input_is_retried_with_another_payload_alone(steps: list[Job]) -> None:
    one, two = steps
    complete(one, {})
    assert (refreshed(two).status, two.error and two.error["code"]) == ("failed", "missing_input")
    with pytest.raises(InvalidTransition, match="steps.one.result.url"):
        retry_job(two, by="alice")

    retried = retry_job(two, by="alice", payload={"image": "mine"})

    assert retried.payload == {"image": "mine"}


def test_a_step_whose_successor_has_ended_is_retried_and_that_one_waits_again(steps: list[Job]) -> None:
    one, two = steps
    expire(two)
    fail(one)

    retried = retry_job(one, by="alice")

    assert (retried.status, refreshed(two).status, two.error) == ("queued", "waiting", None)
    complete(retried, {"url": URL})
    assert refreshed(two).payload == {"image": URL}


# --- A payload is filled in once --------------------------------------------------------------------


@pytest.mark.parametrize("text", ["${steps.one.result.secret}", "${steps.one.result.nothing}", "${anything}"])
def test_a_worker_that_wants_input_gets_the_same_payload_again(steps: list[Job], text: str) -> None:
    one, two = steps
    complete(one, {"url": text, "secret": "S3CRET"})
    row = claim_one(refreshed(two))
    fail_job(two, row.lease_token, "missing_input", "The picture could not be fetched.", is_retryable=False)

    retry_workflow(Workflow.objects.get(), by="alice")

    assert (refreshed(two).status, two.payload) == ("queued", {"image": text})


def test_what_was_queued_and_never_begun_is_not_filled_in_again(steps: list[Job]) -> None:
    one, two = steps
    complete(one, {"url": "${steps.one.result.secret}", "secret": "S3CRET"})
    expire(refreshed(two))
    assert two.attempt == 0

    retry_workflow(Workflow.objects.get(), by="alice")

    assert refreshed(two).payload == {"image": "${steps.one.result.secret}"}


def test_a_payload_of_an_operators_own_is_not_filled_in(steps: list[Job]) -> None:
    one, two = steps
    complete(one, {})
    retry_job(two, by="alice", payload={"image": "${steps.one.result.url}"})
    expire(refreshed(two))

    retry_workflow(Workflow.objects.get(), by="alice")

    assert refreshed(two).payload == {"image": "${steps.one.result.url}"}


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_step_that_ended_after_the_one_before_but_never_had_its_turn_is_filled_in(
    steps: list[Job], end: str
) -> None:
    one, two = steps
    complete(one, {"url": URL})
    Workflow.objects.update(status="failed", failed_at=timezone.now())
    # As rows are that ended before a waiting step was spared.
    Job.objects.filter(pk=two.pk).update(
        status=end,
        payload={"image": "${steps.one.result.url}"},
        is_filled_in=False,
        **{f"{end}_at": timezone.now()},
    )

    retry_workflow(Workflow.objects.get(), by="alice")

    assert (refreshed(two).status, two.payload) == ("queued", {"image": URL})


# --- No dead end ------------------------------------------------------------------------------------


@pytest.fixture
def stranded(tenant: Tenant) -> list[Job]:
    """Three steps: the second waits in a workflow that has failed, for what the first has not made."""
    workflow, jobs = make_steps(tenant)
    row = claim_one(jobs[0])
    expire(jobs[2])
    complete_job(jobs[0], row.lease_token, {})
    assert statuses(workflow) == ["failed", "completed", "waiting", "failed"]
    return jobs


def test_a_step_that_waits_for_what_does_not_exist_is_retried_with_another_payload(
    api: ApiClient, stranded: list[Job]
) -> None:
    _, two, _ = stranded
    assert api.send("post", "/api/workflows/w/retry").status_code == 409
    assert api.send("post", f"/api/jobs/{two.pk}/retry").status_code == 409

    response = api.send("post", f"/api/jobs/{two.pk}/retry", {"payload": {"image": "mine"}})

    assert response.status_code == 200
    assert (response.json()["status"], response.json()["payload"]) == ("queued", {"image": "mine"})
    assert statuses(Workflow.objects.get()) == ["running", "completed", "queued", "waiting"]


def test_only_the_first_of_the_steps_that_wait_is_retried(stranded: list[Job]) -> None:
    _, _, three = stranded
    fine = make_job(stranded[0].tenant, service_required="gpu", status="queued")

    for job in (three, fine):
        with pytest.raises(InvalidTransition):
            retry_job(job, by="alice", payload={"image": "mine"})


def test_a_step_that_waits_in_a_running_workflow_is_not_retried(steps: list[Job]) -> None:
    with pytest.raises(InvalidTransition, match="waiting"):
        retry_job(steps[1], by="alice", payload={"image": "mine"})


# --- One attempt more -------------------------------------------------------------------------------


def test_a_retry_allows_one_attempt_more_whatever_was_left(tenant: Tenant) -> None:
    job = make_job(tenant, service_required="gpu", max_attempts=3)
    fail(job)
    assert (job.attempt, job.attempts_left) == (1, 2)

    retry_job(job, by="alice")

    assert (job.attempt, job.max_attempts) == (1, 2)
    row = claim_one(job)
    fail_job(refreshed(job), row.lease_token, "broken", "Again.", is_retryable=True)
    assert (refreshed(job).status, job.attempt) == ("failed", 2)
