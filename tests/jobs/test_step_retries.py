"""Retrying and cancelling the steps of a workflow: in their order, with their payloads filled in."""

from __future__ import annotations

import pytest

from jobs.errors import InvalidTransition
from jobs.models import Job, Tenant, Workflow
from jobs.services.jobs import cancel_job, retry_job
from jobs.services.workflows import Step, start_workflow
from tests.jobs.stepping import URL, complete, expire, fail


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
