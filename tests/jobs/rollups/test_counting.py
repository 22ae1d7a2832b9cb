"""What is counted when work ends, is judged or delivered: in its own transaction, and nothing twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from jobs.evaluator.runs import evaluate
from jobs.models import Job, Measure, Tally, Tenant
from jobs.models.jobs import PLATFORM
from jobs.queue.claim import Lease
from jobs.queue.enqueue import enqueue_job
from jobs.queue.finish import finish
from jobs.queue.outcomes import Outcome, make_error
from jobs.queue.sweep import sweep
from jobs.rollups.buckets import bucket_of
from jobs.rollups.counting import Count, write_counts
from jobs.rollups.errors import fingerprint_of
from jobs.services.jobs import cancel_job, retry_job
from jobs.services.workflows import cancel_workflow, retry_workflow
from jobs.testing import RunJobs
from tests.conftest import MakeEndpoint
from tests.factories import make_job
from tests.jobs.stepping import fail, make_steps
from tests.receivers import Receiver, answer
from webhooks.sending.loop import send_due


def outcome_of(job: Job, status: str = "completed", message: str = "", **fields: Any) -> Outcome:
    assert job.lease_token
    error = make_error("broken", message) if message else None
    return Outcome(lease=Lease(job.pk, job.lease_token), status=status, error=error, **fields)


def counted(measure: str) -> dict[tuple[UUID, str, str], int]:
    """What was counted, by scope, name and key."""
    rows = Tally.objects.filter(measure=measure).values_list("scope", "name", "key", "count")
    return {(scope, name, key): count for scope, name, key, count in rows}


def counts_of_tenant(measure: str) -> dict[str, int]:
    """What was counted of one kind or service, by key."""
    return {key: count for (_, _, key), count in counted(measure).items()}


# --- Attempts --------------------------------------------------------------------------------------


def test_a_batch_is_counted_by_how_its_attempts_ended(tenant: Tenant) -> None:
    mine = [make_job(tenant, status="running", service_required="artgen") for _ in range(4)]
    own = make_job(None, status="running")

    finish(
        [
            outcome_of(mine[0]),
            outcome_of(mine[1]),
            outcome_of(mine[2], "failed", "It broke."),
            outcome_of(mine[3], "queued", "It broke."),
            outcome_of(own, "cancelled", "Stopped."),
        ]
    )

    assert counted(Measure.ENDED) == {
        (tenant.pk, "artgen", "completed"): 2,
        (tenant.pk, "artgen", "failed"): 1,
        (tenant.pk, "artgen", "retried"): 1,
        (PLATFORM, "system.ping", "cancelled"): 1,
    }


def test_a_batch_of_any_size_costs_one_statement(tenant: Tenant, statements: list[str]) -> None:
    jobs = [
        make_job(tenant, status="running", kind=kind) for kind in ("system.ping", "a", "b") for _ in "1234"
    ]
    statements.clear()

    finish([outcome_of(job, "failed", f"It broke for {index}.") for index, job in enumerate(jobs)])

    assert sum("jobs_tally" in each for each in statements) == 1


def test_how_long_an_attempt_waited_and_ran_is_counted_by_bucket(tenant: Tenant) -> None:
    now = timezone.now()
    job = make_job(
        tenant, status="running", run_at=now - timedelta(seconds=100), started_at=now - timedelta(seconds=40)
    )

    finish(
        [outcome_of(job, "queued", "It broke.", delay_seconds=3_600)]
    )  # when it is due next is another matter

    assert counts_of_tenant(Measure.WAITED) == {str(bucket_of(60)): 1}
    assert counts_of_tenant(Measure.RAN) == {str(bucket_of(40)): 1}


def test_of_a_lost_attempt_nobody_knows_how_long_it_ran(tenant: Tenant) -> None:
    make_job(tenant, status="running", lease_expires_at=timezone.now() - timedelta(seconds=1))

    sweep()

    assert counts_of_tenant(Measure.ENDED) == {"retried": 1}
    assert len(counts_of_tenant(Measure.WAITED)) == 1
    assert counts_of_tenant(Measure.RAN) == {}


def test_an_outcome_that_came_too_late_is_not_counted(tenant: Tenant) -> None:
    job = make_job(tenant, status="running")

    finish([Outcome(lease=Lease(job.pk, uuid4()), status="completed")])

    assert not Tally.objects.exists()


def test_what_is_rolled_back_was_never_counted(tenant: Tenant) -> None:
    job = make_job(tenant, status="running")

    with transaction.atomic():
        finish([outcome_of(job)])
        assert Tally.objects.exists()
        transaction.set_rollback(True)

    assert not Tally.objects.exists()


def test_the_platforms_own_work_is_counted_as_well(run_jobs: RunJobs) -> None:
    enqueue_job("system.evaluate")

    run_jobs()

    assert (PLATFORM, "system.evaluate", "completed") in counted(Measure.ENDED)


def test_a_job_that_ends_in_the_queue_has_no_times(tenant: Tenant) -> None:
    cancel_job(make_job(tenant), by="test")
    make_job(tenant, kind="other", expires_at=timezone.now() - timedelta(seconds=1))
    sweep()

    assert counted(Measure.ENDED) == {
        (tenant.pk, "system.ping", "cancelled"): 1,
        (tenant.pk, "other", "failed"): 1,
    }
    assert [name for _, name, _ in counted(Measure.ERROR)] == ["other"]
    assert counted(Measure.WAITED) == counted(Measure.RAN) == {}


def test_steps_that_end_with_their_workflow_are_counted(tenant: Tenant) -> None:
    workflow, _ = make_steps(tenant)

    cancel_workflow(workflow, by="test")

    assert counted(Measure.ENDED) == {(tenant.pk, name, "cancelled"): 1 for name in ("one", "two", "three")}


# --- Errors ----------------------------------------------------------------------------------------


def test_a_failed_job_bears_the_fingerprint_of_its_error(tenant: Tenant) -> None:
    remote = make_job(tenant, status="running", service_required="artgen")
    own = make_job(None, status="running")

    finish([outcome_of(remote, "failed", "No room for 17."), outcome_of(own, "failed", "No room for 17.")])

    for job, owner, name in ((remote, tenant.pk, "artgen"), (own, None, "system.ping")):
        job.refresh_from_db()
        assert job.error_fingerprint == fingerprint_of(owner, name, "broken", "No room for 99.")


def test_a_job_that_ends_unstarted_bears_it_too(tenant: Tenant) -> None:
    job = make_job(tenant, expires_at=timezone.now() - timedelta(seconds=1))

    sweep()

    job.refresh_from_db()
    assert job.error
    assert job.error_fingerprint == fingerprint_of(
        tenant.pk, "system.ping", job.error["code"], job.error["message"]
    )


@pytest.mark.parametrize("status", ["completed", "cancelled"])
def test_a_job_that_did_not_fail_bears_none(tenant: Tenant, status: str) -> None:
    job = make_job(tenant, status="running", error_fingerprint=uuid4(), error={"code": "broken"})

    finish([outcome_of(job, status, "Stopped." if status == "cancelled" else "")])

    job.refresh_from_db()
    assert job.error_fingerprint is None
    assert counted(Measure.ERROR) == {}


def test_a_retry_that_succeeds_clears_the_fingerprint(tenant: Tenant, run_jobs: RunJobs) -> None:
    job = make_job(tenant, status="running")
    finish([outcome_of(job, "failed", "It broke.")])
    retry_job(job, by="test")

    run_jobs()

    job.refresh_from_db()
    assert (job.status, job.error_fingerprint) == ("completed", None)


def test_a_step_that_waits_again_has_no_error_any_more(tenant: Tenant) -> None:
    workflow, steps = make_steps(tenant)
    Job.objects.filter(pk=steps[1].pk).update(error={"code": "old"}, error_fingerprint=uuid4())
    fail(steps[0])
    workflow.refresh_from_db()

    retry_workflow(workflow, by="test")

    steps[1].refresh_from_db()
    assert (steps[1].status, steps[1].error, steps[1].error_fingerprint) == ("waiting", None, None)


def test_errors_are_counted_by_fingerprint_with_a_sample(tenant: Tenant) -> None:
    jobs = [make_job(tenant, status="running") for _ in range(3)]

    finish([outcome_of(job, "failed", f"No room for {index}.") for index, job in enumerate(jobs)])

    (tally,) = Tally.objects.filter(measure=Measure.ERROR)
    assert (tally.scope, tally.name, tally.count) == (tenant.pk, "system.ping", 3)
    assert tally.details
    assert UUID(tally.key) == fingerprint_of(tenant.pk, "system.ping", "broken", "No room for 0.")
    assert tally.details == {
        "tenant": str(tenant.pk),
        "code": "broken",
        "message": "No room for <n>.",
        "job": tally.details["job"],
    }
    assert UUID(tally.details["job"]) in {job.pk for job in jobs}


# --- Verdicts and deliveries -----------------------------------------------------------------------


def test_verdicts_are_counted_by_category_and_problem(tenant: Tenant) -> None:
    for _ in range(2):
        make_job(tenant, status="failed", error={"code": "broken", "message": "It broke."}, attempt=1)
    make_job(None, status="cancelled")

    evaluate()
    evaluate()  # what was judged is not judged again

    found = counted(Measure.EVALUATED)
    assert sum(found.values()) == 3
    assert {(scope, name) for scope, name, _ in found} == {
        (tenant.pk, "incomplete"),
        (PLATFORM, "incomplete"),
    }
    assert found[PLATFORM, "incomplete", "cancelled"] == 1
    assert not any(problem == "" for _, _, problem in found)


def test_attempts_at_deliveries_are_counted_by_endpoint(
    tenant: Tenant, run_jobs: RunJobs, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    endpoint, _ = make_endpoint(event_types=["job.completed"])
    enqueue_job("system.ping", tenant_id=tenant.pk)
    run_jobs()
    send_due()
    receiver.behaviour = answer(500)
    enqueue_job("system.ping", tenant_id=tenant.pk)
    run_jobs()
    send_due()

    delivered, answered = counted(Measure.DELIVERED), counted(Measure.ANSWERED)

    name = str(endpoint.pk)
    assert delivered == {(tenant.pk, name, "succeeded"): 1, (tenant.pk, name, "failed"): 1}
    assert {(scope, each) for scope, each, _ in answered} == {(tenant.pk, name)}
    assert sum(Tally.objects.filter(measure=Measure.ANSWERED).values_list("count", flat=True)) == 2


def test_an_endpoint_that_does_not_answer_took_no_time_to_answer(
    tenant: Tenant, run_jobs: RunJobs, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint(event_types=["job.completed"], url="http://127.0.0.1:1/hook")
    enqueue_job("system.ping", tenant_id=tenant.pk)
    run_jobs()

    send_due()

    assert counts_of_tenant(Measure.DELIVERED) == {"failed": 1}
    assert counted(Measure.ANSWERED) == {}


# --- Merging ---------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_equal_counts_are_written_as_one() -> None:
    scope = uuid4()
    one: dict[str, Any] = {"scope": scope, "measure": Measure.ENDED, "name": "artgen", "key": "failed"}

    write_counts(
        [
            Count(**one, details={"job": "1"}),
            Count(**one, count=4, details={"job": "2"}),
            Count(**one),
            Count(**one | {"key": "completed"}),
        ]
    )

    rows = Tally.objects.order_by("key").values_list("key", "count", "details")
    assert list(rows) == [("completed", 1, None), ("failed", 6, {"job": "2"})]


@pytest.mark.django_db
def test_nothing_counted_is_no_statement(statements: list[str]) -> None:
    write_counts([])

    assert statements == []
