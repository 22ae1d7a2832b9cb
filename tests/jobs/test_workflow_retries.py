"""A failed workflow runs again: only what failed, with all it was started with, and leaves its own attestation."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Model
from django.utils import timezone

from attestations.models import Attestation
from jobs.errors import InvalidTransition
from jobs.models import Event, Job, Tenant, Workflow
from jobs.queue.claim import claim_remote
from jobs.queue.sweep import sweep
from jobs.services.jobs import cancel_job, complete_job, fail_job, report_progress, retry_job
from jobs.services.workflows import retry_workflow
from jobs.workflows.locks import lock_with_steps
from tests.conftest import ApiClient
from tests.factories import claim_one, make_collection, make_job, make_tenant, make_workflow
from tests.jobs.stepping import URL, complete, expire, fail, make_steps, statuses
from tests.jobs.test_api_access import assert_problem
from tests.jobs.together import at_once

VERDICT = {
    "is_cleanup_evaluated": True,
    "status_category": "incomplete",
    "problem_type": "stuck",
    "problem_details": {"missing": "Its end."},
}


def evaluated(row: Model) -> None:
    """Let the evaluator have found something."""
    type(row)._default_manager.filter(pk=row.pk).update(**VERDICT, evaluated_at=timezone.now())
    row.refresh_from_db()


def verdict_on(row: Any) -> tuple[Any, ...]:
    row.refresh_from_db()
    return (*(getattr(row, name) for name in VERDICT), row.evaluated_at)


CLEARED = (False, "", "", None, None)


def failed_at_the_second(tenant: Tenant, **fields: Any) -> tuple[Workflow, list[Job]]:
    workflow, jobs = make_steps(tenant, **fields)
    complete(jobs[0])
    fail(jobs[1], "No canvas.")
    for row in (workflow, *jobs):
        row.refresh_from_db()
    return workflow, jobs


# --- What runs --------------------------------------------------------------------------------------


def test_only_what_failed_runs_again(tenant: Tenant) -> None:
    workflow, (one, two, three) = failed_at_the_second(tenant)
    assert statuses(workflow) == ["failed", "completed", "failed", "waiting"]

    retry_workflow(workflow, by="alice")

    assert statuses(workflow) == ["running", "completed", "queued", "waiting"]
    two.refresh_from_db()
    assert (two.payload, two.attempt, two.max_attempts, two.batch_size) == ({"image": URL}, 1, 2, 1)
    complete(two)
    three.refresh_from_db()
    complete(three)
    one.refresh_from_db()
    assert statuses(workflow) == ["completed"] * 4
    assert (one.attempt, two.attempt, three.attempt) == (1, 2, 1)


def test_a_waiting_step_that_expired_meanwhile_waits_again(tenant: Tenant) -> None:
    workflow, (one, two, three) = make_steps(tenant)
    expire(three)
    fail(one)
    assert statuses(workflow) == ["failed", "failed", "waiting", "failed"]

    retry_workflow(workflow, by="alice")

    assert statuses(workflow) == ["running", "queued", "waiting", "waiting"]
    three.refresh_from_db()
    assert (three.error, three.failed_at, three.expires_at) == (None, None, None)
    for step in (one, two, three):
        step.refresh_from_db()
        complete(step)
    assert statuses(workflow) == ["completed"] * 4


def test_an_earlier_step_that_still_runs_goes_on(tenant: Tenant) -> None:
    workflow, (one, two, _) = make_steps(tenant)
    row = claim_one(one)
    expire(two)
    assert statuses(workflow) == ["failed", "running", "failed", "waiting"]

    retry_workflow(workflow, by="alice")

    assert statuses(workflow) == ["running", "running", "waiting", "waiting"]
    one.refresh_from_db()
    assert (one.attempt, one.max_attempts) == (1, 1)
    complete_job(one, row.lease_token, {"url": URL})
    assert statuses(workflow) == ["running", "completed", "queued", "waiting"]


def test_a_step_that_nobody_has_started_is_filled_in(tenant: Tenant) -> None:
    workflow, (one, two, three) = make_steps(tenant)
    expire(three)
    complete(one)
    assert statuses(workflow) == ["failed", "completed", "waiting", "failed"]

    retry_workflow(workflow, by="alice")

    two.refresh_from_db()
    assert (two.status, two.payload) == ("queued", {"image": URL})


def test_the_retry_of_the_failed_steps_job_is_one_of_its_workflow(tenant: Tenant) -> None:
    workflow, (one, two, three) = make_steps(tenant)
    expire(three)
    fail(one)

    retry_job(one, by="alice", reason="Another picture.", payload={"seed": 7})

    assert statuses(workflow) == ["running", "queued", "waiting", "waiting"]
    assert (one.payload, one.original_payload) == ({"seed": 7}, {})
    assert workflow.retry_execution_data["rerun_steps"] == ["one", "two", "three"]
    assert (workflow.attempt, workflow.last_retry_attempt) == (2, 1)
    change = {"before": {}, "after": {"seed": 7}}
    assert [event.data for event in Event.objects.filter(type="retried")] == [
        {"by": "alice", "reason": "Another picture.", **change}
    ] * 2
    assert set(Event.objects.values_list("job", "workflow")) == {(one.pk, workflow.pk), (None, workflow.pk)}


@pytest.mark.parametrize("status", ["running", "completed", "cancelled"])
def test_only_a_failed_workflow_is_retried(tenant: Tenant, status: str) -> None:
    workflow = make_workflow(tenant, status=status)
    job = make_job(tenant, status="failed", workflow=workflow, step_index=0)

    with pytest.raises(InvalidTransition, match=status):
        retry_workflow(workflow, by="alice")

    job.refresh_from_db()
    assert (job.status, workflow.attempt) == ("failed", 1)


def test_a_failed_workflow_with_nothing_left_to_run_is_refused(tenant: Tenant) -> None:
    workflow = make_workflow(tenant, status="failed")
    make_job(tenant, status="completed", workflow=workflow, step_index=0)

    with pytest.raises(InvalidTransition, match="nothing is left"):
        retry_workflow(workflow, by="alice")


def test_a_first_step_that_is_queued_goes_on_and_expires_no_more(tenant: Tenant) -> None:
    workflow, (one, two) = make_steps(tenant, count=2)
    expire(two)
    Job.objects.filter(pk=one.pk).update(expires_at=timezone.now() - timedelta(seconds=1))

    retry_workflow(workflow, by="alice")
    sweep()

    one.refresh_from_db()
    assert (one.status, one.expires_at) == ("queued", None)
    assert statuses(workflow) == ["running", "queued", "waiting"]


def test_a_workflow_whose_step_is_being_stopped_is_retried_when_that_has_ended(tenant: Tenant) -> None:
    workflow, (one, two) = make_steps(tenant, count=2)
    token = claim_one(one).lease_token
    expire(two)
    cancel_job(one, by="alice")

    with pytest.raises(InvalidTransition, match="'one' is being cancelled"):
        retry_workflow(workflow, by="bob")

    fail_job(one, token, "stopped", "As asked.", is_retryable=True)
    assert statuses(workflow) == ["failed", "cancelled", "failed"]
    retry_workflow(workflow, by="bob")
    assert statuses(workflow) == ["running", "queued", "waiting"]
    one.refresh_from_db()
    assert one.cancel_requested_at is None


def test_a_request_to_cancel_a_step_that_has_not_begun_is_taken_back(tenant: Tenant) -> None:
    workflow, (one, two) = make_steps(tenant, count=2)
    expire(two)
    Job.objects.filter(pk=one.pk).update(cancel_requested_at=timezone.now())

    retry_workflow(workflow, by="bob")

    one.refresh_from_db()
    assert (one.status, one.cancel_requested_at) == ("queued", None)


@pytest.mark.parametrize("error", ["text", ["list"], 7, {"message": None}, {"code": ["odd"]}, {}])
def test_an_odd_error_of_the_run_before_stands_in_no_retrys_way(tenant: Tenant, error: Any) -> None:
    workflow, (_, two, _) = failed_at_the_second(tenant)
    Workflow.objects.update(error=error, retry_execution_data=error)
    Job.objects.filter(pk=two.pk).update(error=error)

    retry_workflow(workflow, by="alice")

    told = workflow.retry_execution_data["previous"]["error"]
    assert told is None or all(isinstance(told[name], str) for name in ("code", "message"))
    assert statuses(workflow) == ["running", "completed", "queued", "waiting"]


def test_what_the_database_refuses_otherwise_is_not_told_as_a_taken_key(tenant: Tenant) -> None:
    workflow, (_, two, _) = failed_at_the_second(tenant)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE jobs_job ADD CONSTRAINT none_queued CHECK (status <> 'queued') NOT VALID")

    with pytest.raises(IntegrityError, match="none_queued"), transaction.atomic():
        retry_workflow(workflow, by="alice")

    assert statuses(workflow) == ["failed", "completed", "failed", "waiting"]


def test_a_step_without_its_input_is_refused_and_nothing_changes(tenant: Tenant) -> None:
    workflow, (one, two, _) = make_steps(tenant)
    complete(one, {})
    before = statuses(workflow)

    with pytest.raises(InvalidTransition, match="steps.one.result.url"):
        retry_workflow(workflow, by="alice")

    assert statuses(workflow) == before
    assert (workflow.attempt, workflow.retry_execution_data) == (1, None)
    assert not Event.objects.exists()


@pytest.mark.parametrize("taken", [0, 1])
def test_a_singleton_key_that_another_has_taken_refuses_the_retry(tenant: Tenant, taken: int) -> None:
    workflow, jobs = make_steps(tenant, count=2)
    Job.objects.filter(pk=jobs[taken].pk).update(singleton_key="only")
    expire(jobs[1])
    fail(jobs[0])
    make_job(tenant, service_required=jobs[taken].service_required, singleton_key="only")

    with pytest.raises(InvalidTransition, match="singleton"):
        retry_workflow(workflow, by="alice")

    assert statuses(workflow) == ["failed", "failed", "failed"]


# --- What stays, and what is added ------------------------------------------------------------------


def test_a_retry_keeps_collection_id_variables_and_miniapp_req(api: ApiClient, tenant: Tenant) -> None:
    collection = make_collection(tenant)
    asked = {"variables": {"prompt": "sunset", "style": "ink"}, "session_id": "s-1", "user_id": "u-1"}
    api.send("post", f"/api/collections/{collection.pk}/generations", asked)
    workflow = Workflow.objects.get()
    kept = ("data", "collection_id", "miniapp_req", "session_id", "user_id", "priority", "trace_id")
    before = {name: getattr(workflow, name) for name in kept}
    first, second = workflow.jobs.order_by("step_index")
    fail(first)

    response = api.send("post", f"/api/workflows/{workflow.workflow_id}/retry", {"reason": "GPU is back."})
    complete(first)
    second.refresh_from_db()
    complete(second, {"url": "https://example.com/2.png"})

    assert response.status_code == 200
    assert (response.json()["status"], response.json()["jobs"][0]["status"]) == ("running", "queued")
    workflow.refresh_from_db()
    assert {name: getattr(workflow, name) for name in kept} == before
    assert workflow.data["collection_id"] == str(collection.pk)
    assert workflow.data["variables"] == asked["variables"]
    assert second.ctx["miniapp_req"] == first.ctx["miniapp_req"] == before["miniapp_req"]
    assert second.payload == {"image": URL}
    assert workflow.outputs == ["https://example.com/2.png"]
    assert workflow.last_retry_attempt == 1
    assert workflow.retry_completed_at == workflow.completed_at


def test_a_retry_says_of_the_run_before_it(tenant: Tenant) -> None:
    workflow, _ = failed_at_the_second(tenant)
    failed_at = workflow.failed_at
    assert failed_at

    retry_workflow(workflow, by="alice", reason="The canvas has come.")

    said = workflow.retry_execution_data
    requested_at = datetime.fromisoformat(said.pop("requested_at"))
    assert failed_at <= requested_at <= timezone.now()
    assert said == {
        "run": 2,
        "by": "alice",
        "reason": "The canvas has come.",
        "previous": {
            "status": "failed",
            "error": {"code": "broken", "message": "No canvas."},
            "failed_at": failed_at.isoformat(),
            "outputs": [],
        },
        "kept_steps": ["one"],
        "rerun_steps": ["two", "three"],
    }
    assert (workflow.attempt, workflow.last_retry_attempt, workflow.retry_completed_at) == (2, 1, None)
    assert (workflow.error, workflow.failed_at) == (None, None)


def test_a_workflow_that_completes_at_once_was_never_retried(tenant: Tenant) -> None:
    workflow, (only,) = make_steps(tenant, count=1)

    complete(only)

    workflow.refresh_from_db()
    assert (workflow.retry_completed_at, workflow.last_retry_attempt) == (None, None)


def test_three_retries_leave_four_attestations_none_overwritten(api: ApiClient, tenant: Tenant) -> None:
    workflow, (one, two) = make_steps(tenant, count=2)
    complete(one)
    two.refresh_from_db()
    for message in ("first", "second", "third"):
        fail(two, message)
        retry_workflow(workflow, by="alice", reason=f"After the {message}.")
        two.refresh_from_db()
    complete(two)

    answer = api.send("get", "/api/workflows/w/all-attestations").json()["attestations"]

    shown = {each["attestation_key"]: each for each in answer}
    assert len(shown) == len(answer) == Attestation.objects.count() == 9
    runs = [
        "workflow-failure:w",
        "workflow-failure:w:attempt-1",
        "workflow-failure:w:attempt-2",
        "workflow-completion:w:attempt-3",
    ]
    attempts = [f"worker-failure:job-{two.pk}{n}" for n in ("", ":attempt-1", ":attempt-2")]
    attempts += [f"worker-completion:job-{one.pk}", f"worker-completion:job-{two.pk}:attempt-3"]
    assert set(shown) == {*runs, *attempts}
    assert [shown[key]["retry_attempt"] for key in runs] == [0, 1, 2, 3]
    told = [shown[key]["attestation_data"]["error"]["message"] for key in runs[:3]]
    assert told == ["first", "second", "third"]
    assert shown[runs[3]]["attestation_data"]["workflow_outputs"] == [URL]
    assert all(attestation.is_intact for attestation in Attestation.objects.all())
    story = Event.objects.filter(workflow=workflow, job=None, type="retried").order_by("id")
    assert [event.data["reason"] for event in story] == [
        "After the first.",
        "After the second.",
        "After the third.",
    ]


# --- The evaluation begins anew ---------------------------------------------------------------------


def test_a_retry_clears_the_evaluation_of_the_workflow_and_of_a_lone_job(tenant: Tenant) -> None:
    workflow, _ = failed_at_the_second(tenant)
    lone = make_job(tenant, status="failed", attempt=1)
    evaluated(workflow)
    evaluated(lone)

    retry_workflow(workflow, by="alice")
    retry_job(lone, by="alice")

    assert verdict_on(workflow) == CLEARED
    assert verdict_on(lone) == CLEARED


def test_a_stuck_job_that_is_claimed_moves_ends_or_is_cancelled_is_looked_at_anew(tenant: Tenant) -> None:
    claimed, moved, ended, stopped = (make_job(tenant, service_required=name) for name in "abcd")
    tokens = {job: claim_one(job).lease_token for job in (moved, ended)}
    for job in (claimed, moved, ended, stopped):
        evaluated(job)

    claim_one(claimed)
    report_progress(moved, tokens[moved], 50, "halfway")
    complete_job(ended, tokens[ended], {})
    cancel_job(stopped, by="alice")

    assert [verdict_on(job) for job in (claimed, moved, ended, stopped)] == [CLEARED] * 4


@pytest.mark.parametrize("how", ["progress", "attempt", "step", "cancel"])
def test_a_stuck_workflow_whose_step_moves_is_looked_at_anew(tenant: Tenant, how: str) -> None:
    workflow, (one, _) = make_steps(tenant, count=2)
    Job.objects.filter(pk=one.pk).update(max_attempts=2)
    token = claim_one(one).lease_token
    evaluated(workflow)

    match how:
        case "progress":
            report_progress(one, token, 50, "halfway")
        case "attempt":
            Job.objects.filter(pk=one.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
            assert sweep().lapsed == 1
        case "step":
            complete_job(one, token, {"url": URL})
        case "cancel":
            cancel_job(one, by="alice")

    assert verdict_on(workflow) == CLEARED
    assert workflow.status == "running"


# --- By API, and at once ----------------------------------------------------------------------------


def test_a_workflow_that_has_not_failed_409(api: ApiClient, tenant: Tenant) -> None:
    make_steps(tenant)

    response = api.send("post", "/api/workflows/w/retry")

    assert_problem(response, 409, "invalid_transition")


def test_the_caller_is_named_in_the_story(api: ApiClient, tenant: Tenant) -> None:
    workflow, _ = failed_at_the_second(tenant)

    api.send("post", "/api/workflows/w/retry", {"reason": "Why not."}, x_actor_id="alice")

    workflow.refresh_from_db()
    assert (workflow.retry_execution_data["by"], workflow.retry_execution_data["reason"]) == (
        "alice",
        "Why not.",
    )


@pytest.mark.django_db(transaction=True)
def test_of_several_retries_at_once_one_wins() -> None:
    workflow, (_, two, _) = failed_at_the_second(make_tenant())

    def by_workflow() -> str:
        return retry_workflow(Workflow.objects.get(pk=workflow.pk), by="alice").status

    def by_job() -> str:
        return retry_job(Job.objects.get(pk=two.pk), by="bob").status

    outcomes = at_once(by_workflow, by_job, by_workflow, by_job)

    assert outcomes.count("invalid_transition") == 3
    assert statuses(workflow) == ["running", "completed", "queued", "waiting"]
    two.refresh_from_db()
    assert (workflow.attempt, two.max_attempts) == (2, 2)
    assert Event.objects.filter(type="retried").count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_retry_while_a_step_ends_and_another_expires_waits_its_turn() -> None:
    tenant = make_tenant()
    for turn in range(5):
        workflow, (one, two, three) = make_steps(tenant, name=f"w-{turn}")
        token = claim_remote(tenant.pk, ["one"], "worker-1", limit=1)[0].lease_token
        expire(three)

        outcomes = at_once(
            lambda job=one, lease=token: complete_job(job, lease, {"url": URL}),
            lambda mine=workflow: retry_workflow(Workflow.objects.get(pk=mine.pk), by="alice").status,
        )

        assert outcomes == [None, "running"]
        two.refresh_from_db()
        assert (statuses(workflow), two.payload) == (
            ["running", "completed", "queued", "waiting"],
            {"image": URL},
        )
        cancel_job(two, by="cleaner")


@pytest.mark.django_db(transaction=True)
def test_retries_whose_singleton_keys_cross_do_not_block_each_other() -> None:
    tenant = make_tenant()
    for turn in range(10):
        crossed = [_of_services(tenant, turn, names) for names in ("ab", "ba")]

        outcomes = at_once(
            *(
                lambda mine=workflow: retry_workflow(Workflow.objects.get(pk=mine.pk), by="x").status
                for workflow in crossed
            )
        )

        assert sorted(outcomes) == ["invalid_transition", "running"]
        Job.objects.update(singleton_key="")


def _of_services(tenant: Tenant, turn: int, names: str) -> Workflow:
    """A failed workflow of two steps, each for a service and under the key of that service."""
    workflow = make_workflow(tenant, workflow_id=f"w-{turn}-{names}", status="failed", total_steps=2)
    for index, name in enumerate(names):
        make_job(
            tenant,
            service_required=name,
            singleton_key="only",
            status="failed",
            workflow=workflow,
            step_index=index,
        )
    return workflow


def test_steps_are_locked_in_the_order_of_their_ids_and_before_their_workflow(
    tenant: Tenant, statements: list[str]
) -> None:
    workflow, _ = make_steps(tenant)
    statements.clear()

    lock_with_steps(workflow.pk)

    steps, itself = [text for text in statements if "FOR UPDATE" in text]
    assert 'FROM "jobs_job"' in steps
    assert 'ORDER BY "jobs_job"."id" ASC FOR UPDATE' in steps
    assert 'FROM "jobs_workflow"' in itself
