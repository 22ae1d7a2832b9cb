"""A workflow is stopped: at once where no step runs, else when the running step has ended."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from attestations.models import Attestation
from jobs.errors import InvalidTransition
from jobs.models import Event, Job, Tenant, Workflow
from jobs.queue.claim import claim_remote
from jobs.queue.sweep import Swept, sweep
from jobs.services.jobs import cancel_job, complete_job, fail_job
from jobs.services.workflows import cancel_workflow, retry_workflow
from tests.conftest import ApiClient
from tests.factories import claim_one, make_job, make_tenant, make_workflow
from tests.jobs.stepping import URL, complete, make_steps, statuses
from tests.jobs.test_api_access import assert_problem
from tests.jobs.together import at_once


def test_steps_that_have_not_begun_end_with_their_workflow(tenant: Tenant) -> None:
    workflow, (one, two, three) = make_steps(tenant)
    complete(one)

    cancel_workflow(workflow, by="alice", reason="Nobody wants it.")

    assert statuses(workflow) == ["cancelled", "completed", "cancelled", "cancelled"]
    for step in (two, three):
        step.refresh_from_db()
        assert step.error == {"code": "cancelled", "message": "Cancelled by alice."}
    assert workflow.error == two.error
    event = Event.objects.get()
    assert (event.type, event.workflow, event.job) == ("cancelled", workflow, None)
    assert event.data == {"by": "alice", "reason": "Nobody wants it."}
    assert Attestation.objects.get(job=None).attestation_key == "workflow-failure:w"


def test_a_running_step_is_asked_and_the_workflow_ends_with_it(tenant: Tenant) -> None:
    workflow, (one, two, three) = make_steps(tenant)
    row = claim_one(one)

    cancel_workflow(workflow, by="alice")

    assert statuses(workflow) == ["running", "running", "waiting", "waiting"]
    one.refresh_from_db()
    assert one.cancel_requested_at is not None
    asked = Event.objects.filter(type="cancel_requested").order_by("id")
    assert [(event.job_id, event.data["by"]) for event in asked] == [(None, "alice"), (one.pk, "alice")]
    fail_job(one, row.lease_token, "stopped", "As asked.", is_retryable=True)
    assert statuses(workflow) == ["cancelled"] * 4


def test_a_step_that_completes_before_it_hears_of_it_is_the_last(tenant: Tenant) -> None:
    workflow, (one, two, three) = make_steps(tenant)
    row = claim_one(one)
    cancel_workflow(workflow, by="alice")

    complete_job(one, row.lease_token, {"url": URL})

    assert statuses(workflow) == ["cancelled", "completed", "cancelled", "cancelled"]
    assert workflow.error == {"code": "cancelled", "message": "The workflow was cancelled."}


def test_a_last_step_that_completes_before_it_hears_of_it_counts(tenant: Tenant) -> None:
    workflow, (only,) = make_steps(tenant, count=1)
    row = claim_one(only)
    cancel_workflow(workflow, by="alice")

    complete_job(only, row.lease_token, {"url": URL})

    assert statuses(workflow) == ["completed", "completed"]


@pytest.mark.parametrize("is_done", [True, False])
def test_a_waiting_step_whose_time_runs_out_meanwhile_does_not_undo_it(tenant: Tenant, is_done: bool) -> None:
    workflow, (one, two, three) = make_steps(tenant)
    row = claim_one(one)
    cancel_workflow(workflow, by="alice")
    Job.objects.filter(pk__in=[two.pk, three.pk]).update(expires_at=timezone.now() - timedelta(seconds=1))

    assert sweep() == Swept()

    assert statuses(workflow) == ["running", "running", "waiting", "waiting"]
    if is_done:
        complete_job(one, row.lease_token, {"url": URL})
    else:
        fail_job(one, row.lease_token, "broken", "It broke.", is_retryable=True)
    first = "completed" if is_done else "cancelled"
    assert statuses(workflow) == ["cancelled", first, "cancelled", "cancelled"]


def test_a_queued_step_that_was_to_be_cancelled_is_so_when_it_expires(tenant: Tenant) -> None:
    workflow, (one, two) = make_steps(tenant, count=2)
    now = timezone.now()
    Job.objects.filter(pk=one.pk).update(cancel_requested_at=now, expires_at=now - timedelta(seconds=1))

    sweep()

    assert statuses(workflow) == ["cancelled"] * 3
    one.refresh_from_db()
    assert (one.failed_at, one.cancelled_at is None) == (None, False)


@pytest.mark.parametrize("steps", [[], ["completed"], ["completed", "failed"]])
def test_an_orphan_that_nothing_would_end_is_ended(tenant: Tenant, steps: list[str]) -> None:
    workflow = make_workflow(tenant, total_steps=2)
    for index, status in enumerate(steps):
        make_job(tenant, workflow=workflow, step_index=index, status=status)

    cancel_workflow(workflow, by="alice")

    assert statuses(workflow) == ["cancelled", *steps]
    attestation = Attestation.objects.get()
    assert (attestation.attestation_key, attestation.status) == (
        f"workflow-failure:{workflow.workflow_id}",
        "cancelled",
    )
    assert attestation.attestation_data["completed_steps"] == steps.count("completed")


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_workflow_that_has_ended_409(api: ApiClient, tenant: Tenant, status: str) -> None:
    workflow = make_workflow(tenant, status=status)

    response = api.send("post", f"/api/workflows/{workflow.workflow_id}/cancel")

    assert_problem(response, 409, "invalid_transition")
    assert not Event.objects.exists()


def test_cancelling_by_api_answers_the_workflow_with_its_jobs(api: ApiClient, tenant: Tenant) -> None:
    make_steps(tenant)

    response = api.send("post", "/api/workflows/w/cancel", {"reason": "Too dear."}, x_actor_id="alice")

    assert response.status_code == 200
    body = response.json()
    assert [body["status"], *(job["status"] for job in body["jobs"])] == ["cancelled"] * 4
    assert Event.objects.get().data == {"by": "alice", "reason": "Too dear."}


def test_a_cancelled_workflow_is_not_retried(tenant: Tenant) -> None:
    workflow, _ = make_steps(tenant)
    cancel_workflow(workflow, by="alice")

    with pytest.raises(InvalidTransition, match="cancelled"):
        retry_workflow(workflow, by="alice")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", ["complete", "fail"])
def test_cancelling_while_a_step_ends_leaves_no_step_alive(how: str) -> None:
    tenant = make_tenant()
    for turn in range(5):
        workflow, (one, *_) = make_steps(tenant, name=f"w-{turn}")
        token = claim_remote(tenant.pk, ["one"], "worker-1", limit=1)[0].lease_token

        def end(job: Job = one, lease: object = token) -> None:
            if how == "complete":
                complete_job(job, lease, {"url": URL})
            else:
                fail_job(job, lease, "broken", "It broke.", is_retryable=False)

        ended, cancelled = at_once(
            end, lambda mine=workflow: cancel_workflow(Workflow.objects.get(pk=mine.pk), by="alice").status
        )

        assert ended is None
        workflow_ended, first, second, third = statuses(workflow)
        if how == "complete":
            assert (workflow_ended, first, second, third) == (
                "cancelled",
                "completed",
                "cancelled",
                "cancelled",
            )
        elif cancelled == "invalid_transition":  # it came too late
            assert (workflow_ended, first, second, third) == ("failed", "failed", "waiting", "waiting")
        else:
            assert (workflow_ended, first, second, third) == ("cancelled",) * 4
        runs = Attestation.objects.filter(workflow=workflow, job=None)
        assert [run.status for run in runs] == [workflow_ended]


@pytest.mark.django_db(transaction=True)
def test_cancelling_a_waiting_step_while_the_one_before_completes_blocks_nobody() -> None:
    tenant = make_tenant()
    for turn in range(5):
        workflow, (one, two, three) = make_steps(tenant, name=f"w-{turn}")
        token = claim_remote(tenant.pk, ["one"], "worker-1", limit=1)[0].lease_token

        outcomes = at_once(
            lambda job=one, lease=token: complete_job(job, lease, {"url": URL}),
            lambda job=two: cancel_job(Job.objects.get(pk=job.pk), by="alice").status,
            lambda mine=workflow: cancel_workflow(Workflow.objects.get(pk=mine.pk), by="bob").status,
        )

        assert outcomes[0] is None
        assert statuses(workflow) == ["cancelled", "completed", "cancelled", "cancelled"]
