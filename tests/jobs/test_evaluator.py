"""What the evaluator says of each kind of problem, and of healthy work that looks like it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone
from django_q.models import Schedule

from attestations.models import Attestation
from jobs.evaluator import runs
from jobs.evaluator.rules import Finding, Units, rules
from jobs.evaluator.runs import evaluate
from jobs.models import EvaluationRun, Job, ProblemAlert, ProblemType, Queue, Tenant, Workflow
from jobs.models.evaluation import CATEGORIES, NOT_EVALUATED
from jobs.queue.enqueue import enqueue_job
from jobs.queue.envelope import JobEnvelope
from jobs.queue.handlers import NoPayload, handler, unregister
from jobs.schedules import sync_schedules
from jobs.testing import RunJobs
from tests.factories import (
    make_cluster,
    make_delivery,
    make_endpoint,
    make_event,
    make_job,
    make_service,
    make_worker,
    make_workflow,
)
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

OVERDUE = timedelta(minutes=30)


@pytest.fixture
def place(tenant: Tenant) -> Place:
    return Place.of(tenant)


def verdict(unit: Unit) -> tuple[str, str]:
    """Evaluate, and say what became of this unit; blank where it is too early to say."""
    evaluate()
    unit.refresh_from_db()
    assert unit.is_cleanup_evaluated == bool(unit.status_category)
    assert (unit.evaluated_at is not None) == unit.is_cleanup_evaluated
    return unit.status_category, unit.problem_type


def details(unit: Unit) -> dict[str, Any]:
    assert unit.problem_details is not None
    assert unit.problem_details["missing"]
    assert unit.problem_details["what_to_do"]
    assert unit.problem_details["since"]
    found: dict[str, Any] = unit.problem_details
    return found


def test_every_problem_has_a_category() -> None:
    assert set(CATEGORIES) == set(ProblemType)


def test_a_generation_that_is_made_attested_and_told_is_complete(place: Place) -> None:
    workflow = make_generation(place)

    assert verdict(workflow) == ("complete", "")
    assert workflow.problem_details is None


def test_a_platform_job_leaves_no_evidence_to_miss(db: None) -> None:
    assert verdict(make_job(None, kind="retired.kind", status="completed", attempt=1)) == ("complete", "")


def test_a_lone_job_with_nobody_to_tell_is_complete(place: Place) -> None:
    assert verdict(make_lone_job(place)) == ("complete", "")


def test_a_job_that_opted_out_of_attestations_is_complete(place: Place) -> None:
    job = make_job(place.tenant, kind="webhooks.match_receipts", status="completed", attempt=1)

    assert verdict(job) == ("complete", "")


def test_notification_failed_when_every_delivery_failed(place: Place) -> None:
    workflow = make_generation(place, notification_status="failed", completed_at=timezone.now())
    endpoint = make_endpoint(place.tenant, description="the app")
    tell(workflow, endpoint, status="failed", status_code=500, attempt_count=10)

    # no grace: nobody is at it any more
    assert verdict(workflow) == ("filed", "notification_failed")
    assert "answered 500" in details(workflow)["missing"]
    assert details(workflow)["where"]["delivery_status"] == "failed"
    assert "/renotify" in " ".join(details(workflow)["what_to_do"])


def test_notification_missing_when_the_app_never_confirmed(place: Place) -> None:
    workflow = make_generation(place, notification_status="delivered")
    tell(workflow, make_endpoint(place.tenant), status="delivered")

    assert verdict(workflow) == ("filed", "notification_missing")
    assert "nobody has confirmed" in details(workflow)["missing"]


def test_notification_missing_when_no_endpoint_takes_it(place: Place) -> None:
    workflow = make_generation(place, notification_status="owed")

    assert verdict(workflow) == ("filed", "notification_missing")
    assert "no endpoint takes workflow.completed" in details(workflow)["missing"]


def test_notification_missing_while_its_delivery_is_held(place: Place) -> None:
    workflow = make_generation(place, notification_status="owed")
    tell(workflow, make_endpoint(place.tenant, paused_at=timezone.now()), status="held")

    assert verdict(workflow) == ("filed", "notification_missing")
    assert "paused" in details(workflow)["missing"]


@pytest.mark.parametrize("status", ["owed", "delivered"])
def test_inside_the_grace_a_unit_waits_unevaluated(place: Place, status: str, settings: Any) -> None:
    workflow = make_generation(place, notification_status=status, completed_at=timezone.now())

    assert verdict(workflow) == ("", "")

    settings.NOTIFY_GRACE_SECONDS = 1
    workflow.completed_at = timezone.now() - timedelta(seconds=2)
    workflow.save()
    assert verdict(workflow) == ("filed", "notification_missing")


def test_the_grace_begins_anew_with_the_latest_message(place: Place) -> None:
    workflow = make_generation(place, notification_status="owed")
    endpoint = make_endpoint(place.tenant)
    tell(workflow, endpoint, status="failed")
    tell(workflow, endpoint, status="pending", ago=timedelta(seconds=5))

    assert verdict(workflow) == ("", "")


def test_without_a_user_a_delivered_webhook_is_enough(place: Place) -> None:
    workflow = make_generation(place, user_id="", notification_status="delivered")

    assert verdict(workflow) == ("complete", "")


def test_without_a_user_an_undelivered_webhook_is_missing(place: Place) -> None:
    workflow = make_generation(place, user_id="", notification_status="owed")
    tell(workflow, make_endpoint(place.tenant), status="pending", next_attempt_at=timezone.now())

    assert verdict(workflow) == ("filed", "notification_missing")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("delivered", ("complete", "")),
        ("failed", ("filed", "notification_failed")),
        ("pending", ("filed", "notification_missing")),
    ],
)
def test_a_lone_job_is_told_by_its_own_message(place: Place, status: str, expected: tuple[str, str]) -> None:
    job = make_lone_job(place)
    tell(job, make_endpoint(place.tenant), status=status)

    assert verdict(job) == expected


def test_a_job_that_one_endpoint_took_is_told(place: Place) -> None:
    job = make_lone_job(place)
    message = tell(job, make_endpoint(place.tenant), status="failed")
    make_delivery(make_endpoint(place.tenant), message, status="delivered")

    assert verdict(job) == ("complete", "")


def test_worker_failed(place: Place) -> None:
    workflow = make_failed(place, {"code": "oom", "message": "CUDA out of memory"})

    assert verdict(workflow) == ("incomplete", "worker_failed")
    found = details(workflow)
    assert found["missing"] == "Step 'paint' failed in attempt 3 of 3 on art-1: oom: CUDA out of memory"
    assert found["where"]["job_id"] == str(workflow.jobs.get(step_index=0).pk)
    assert f"/api/workflows/{workflow.workflow_id}/retry" in " ".join(found["what_to_do"])


def test_worker_failed_of_a_lone_job(place: Place) -> None:
    job = make_lone_job(place, status="failed", attempt=3, error={"code": "poison", "message": "killed"})

    assert verdict(job) == ("incomplete", "worker_failed")
    assert f"/api/jobs/{job.pk}/retry" in " ".join(details(job)["what_to_do"])


def test_timed_out(place: Place) -> None:
    error = {"code": "timed_out", "message": "The attempt ran longer than 300 s."}

    assert verdict(make_failed(place, error)) == ("incomplete", "timed_out")


def test_timed_out_by_the_word_of_its_worker_says_what_the_worker_said(place: Place) -> None:
    job = make_lone_job(
        place,
        status="failed",
        attempt=1,
        started_at=timezone.now(),
        error={"code": "timed_out", "message": "the model's API timed out after 2 s"},
    )

    assert verdict(job) == ("incomplete", "timed_out")
    assert "the model's API timed out after 2 s" in details(job)["missing"]


def test_expired_before_its_next_attempt(place: Place) -> None:
    at = ended()
    job = make_lone_job(
        place,
        status="failed",
        attempt=1,
        started_at=at - timedelta(minutes=9),
        run_at=at - timedelta(minutes=8),
        expires_at=at,
        failed_at=at,
        error={"code": "expired", "message": "…"},
    )

    assert verdict(job) == ("incomplete", "expired")
    assert "attempt 2" in details(job)["missing"]


def test_an_attempt_that_outlived_its_expiry_and_failed_has_failed(place: Place) -> None:
    at = ended()
    job = make_lone_job(
        place,
        status="failed",
        attempt=1,
        run_at=at - timedelta(minutes=9),
        started_at=at - timedelta(minutes=8),
        expires_at=at - timedelta(minutes=5),
        failed_at=at,
        error={"code": "expired", "message": "my API token expired"},
    )

    assert verdict(job) == ("incomplete", "worker_failed")


@pytest.mark.parametrize("error", ["text", ["list"], 5, {"code": None}, {}])
def test_odd_errors_are_read_all_the_same(place: Place, error: Any) -> None:
    assert verdict(make_lone_job(place, status="failed", attempt=1, error=error)) == (
        "incomplete",
        "worker_failed",
    )


def test_expired(place: Place) -> None:
    at = ended()
    error = {"code": "expired", "message": "Nobody began the job before it expired."}
    workflow = make_failed(place, error, attempt=0, worker="", expires_at=at, failed_at=at)

    assert verdict(workflow) == ("incomplete", "expired")
    assert "artgen" in " ".join(details(workflow)["what_to_do"])


def test_a_worker_that_calls_its_failure_expired_has_failed(place: Place) -> None:
    job = make_lone_job(place, status="failed", attempt=1, error={"code": "expired", "message": "the token"})

    assert verdict(job) == ("incomplete", "worker_failed")


def test_cancelled(place: Place) -> None:
    job = make_lone_job(
        place, status="cancelled", attempt=0, error={"code": "cancelled", "message": "Cancelled by ann."}
    )

    assert verdict(job) == ("incomplete", "cancelled")
    assert details(job)["missing"] == "Cancelled by ann."


def test_cancelled_while_it_ran_says_by_whom(place: Place) -> None:
    error = {"code": "worker_lost", "message": "The worker stopped renewing its lease."}
    job = make_lone_job(place, status="cancelled", attempt=1, error=error)
    make_event(job, "cancel_requested", by="ann")

    assert verdict(job) == ("incomplete", "cancelled")
    assert details(job)["missing"].startswith("Cancelled by ann.")


def test_missing_output_of_a_generation(place: Place) -> None:
    workflow = make_generation(place, outputs=[])

    assert verdict(workflow) == ("incomplete", "missing_output")
    assert "no http(s) URL" in details(workflow)["missing"]


def test_an_output_that_was_given_inline_is_missing_and_says_why(place: Place) -> None:
    workflow = make_generation(place, outputs=[])
    Job.objects.filter(workflow=workflow, step_index=1).update(
        result={"image": {"$removed": "base64", "bytes": 9_000, "content_type": "image/png"}}
    )

    assert verdict(workflow) == ("incomplete", "missing_output")
    assert "base64" in details(workflow)["missing"]


def test_a_workflow_without_a_collection_needs_no_output(place: Place) -> None:
    workflow = make_generation(place, collection=None, outputs=[])

    assert verdict(workflow) == ("complete", "")


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({}, ("incomplete", "missing_output")),
        (None, ("incomplete", "missing_output")),
        ("", ("incomplete", "missing_output")),
        ([], ("incomplete", "missing_output")),
        ({"image": {"$removed": "base64", "bytes": 9}}, ("incomplete", "missing_output")),
        ({"image": {"$removed": "base64", "bytes": 9}, "proof": "0x12"}, ("complete", "")),
        ({"proof": "0x12"}, ("complete", "")),
        (0, ("complete", "")),
    ],
)
def test_a_kind_that_declares_an_output_must_give_one(
    place: Place, result: Any, expected: tuple[str, str]
) -> None:
    @handler("tests.proves", payload=NoPayload, declares_output=True)
    def prove(envelope: JobEnvelope[NoPayload]) -> None: ...

    try:
        assert verdict(make_lone_job(place, kind="tests.proves", result=result)) == expected
    finally:
        unregister("tests.proves")


def test_attestation_missing_of_a_run(place: Place) -> None:
    workflow = make_generation(place)
    Attestation.objects.filter(workflow=workflow, entity_type="workflow").delete()

    assert verdict(workflow) == ("incomplete", "attestation_missing")
    assert details(workflow)["where"]["attestation_keys"] == [f"workflow-completion:{workflow.workflow_id}"]


def test_attestation_missing_of_a_step(place: Place) -> None:
    workflow = make_generation(place)
    job = workflow.jobs.get(step_index=0)
    Attestation.objects.filter(job=job).delete()

    assert verdict(workflow) == ("incomplete", "attestation_missing")
    assert details(workflow)["where"]["job_ids"] == [str(job.pk)]


def test_attestation_missing_of_an_earlier_attempt(place: Place) -> None:
    job = make_lone_job(place, attempt=3)
    Attestation.objects.filter(job=job, retry_attempt=1).delete()

    assert verdict(job) == ("incomplete", "attestation_missing")
    assert details(job)["where"]["attempts"] == [2]


def test_an_attestation_of_an_earlier_run_is_none_of_this_one(place: Place) -> None:
    workflow = make_generation(place, attempt=2)
    Attestation.objects.filter(workflow=workflow, entity_type="workflow").delete()
    attest_failed_run(workflow, 1)

    assert verdict(workflow) == ("incomplete", "attestation_missing")
    assert details(workflow)["where"]["attestation_keys"] == [
        f"workflow-completion:{workflow.workflow_id}:attempt-1"
    ]


def test_attestation_missing_of_an_earlier_run(place: Place) -> None:
    workflow = make_generation(place, attempt=3)
    attest_failed_run(workflow, 1)

    assert verdict(workflow) == ("incomplete", "attestation_missing")
    assert details(workflow)["where"]["attestation_keys"] == [
        f"workflow-failure:{workflow.workflow_id}:attempt-1"
    ]


def test_a_kind_that_is_registered_no_more_is_not_asked_for_attestations(place: Place) -> None:
    job = make_job(place.tenant, kind="retired.kind", status="completed", attempt=1)

    assert verdict(job) == ("complete", "")


def test_attestations_are_not_missed_beyond_their_retention(place: Place) -> None:
    workflow = make_generation(place, completed_at=ended(timedelta(days=8)))
    Attestation.objects.all().delete()

    assert verdict(workflow) == ("complete", "")


def test_a_retried_workflow_keeps_steps_whose_attestations_have_expired(place: Place) -> None:
    workflow = make_generation(place, attempt=2)
    attest_failed_run(workflow, 1)
    old = ended(timedelta(days=20))
    step = workflow.jobs.get(step_index=0)
    Job.objects.filter(pk=step.pk).update(created_at=old, completed_at=old)
    Attestation.objects.filter(job=step).delete()

    assert verdict(workflow) == ("complete", "")


def test_old_attestations_without_the_request_are_evaluated(place: Place) -> None:
    workflow = make_generation(place)
    Attestation.objects.filter(workflow=workflow).delete()
    for job in workflow.jobs.all():
        attest(job, attestation_data={"result": "https://cdn.example.com/old.png"})
    attest_run(workflow, attestation_data={"workflow_outputs": []})

    assert verdict(workflow) == ("complete", "")


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
        {"run_at": timezone.now() + timedelta(hours=1)},
        {"run_at": timezone.now() - timedelta(minutes=5)},
        {"status": "running", "started_at": timezone.now() - timedelta(minutes=12)},
        {
            "status": "running",
            "started_at": timezone.now() - timedelta(hours=3),
            "timeout_seconds": 20_000,
        },
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

    assert verdict(make_job(place.tenant, **fields)) == ("", "")


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


def test_of_several_problems_the_weightiest_counts_and_the_others_are_named(place: Place) -> None:
    workflow = make_generation(place, outputs=[], notification_status="failed")
    Attestation.objects.filter(workflow=workflow).delete()

    assert verdict(workflow) == ("incomplete", "missing_output")
    assert details(workflow)["also"] == ["attestation_missing", "notification_failed"]


def test_what_no_waiting_would_mend_is_said_inside_the_grace(place: Place) -> None:
    workflow = make_generation(place, outputs=[], notification_status="owed", completed_at=timezone.now())

    assert verdict(workflow) == ("incomplete", "missing_output")


def test_steps_of_workflows_are_no_units(place: Place) -> None:
    workflow = make_generation(place)

    evaluate()

    assert not workflow.jobs.filter(is_cleanup_evaluated=True).exists()


def test_what_was_evaluated_is_left_alone_until_it_changes(place: Place) -> None:
    workflow = make_generation(place)
    evaluate()
    workflow.refresh_from_db()
    before = workflow.evaluated_at

    run = evaluate()

    workflow.refresh_from_db()
    assert (run.evaluated_count, workflow.evaluated_at) == (0, before)


def test_a_run_is_recorded(place: Place) -> None:
    make_generation(place)
    make_generation(place, outputs=[])
    make_generation(place, notification_status="owed", completed_at=timezone.now())

    run = evaluate()

    assert (run.evaluated_count, run.waiting_count) == (2, 1)
    assert run.categories == {"complete": 1, "incomplete": 1}
    assert run.problems == {"missing_output": 1}
    assert run.finished_at is not None
    assert run.duration_ms is not None


def test_chunks_cover_everything_once(place: Place) -> None:
    made = [make_generation(place) for _ in range(5)] + [make_lone_job(place) for _ in range(5)]
    stuck = [make_running(place, run_at=timezone.now() - OVERDUE) for _ in range(5)]

    run = evaluate(chunk=2)

    assert run.categories == {"complete": len(made), "incomplete": len(stuck)}


def test_the_statements_do_not_grow_with_the_units(place: Place, statements: list[str]) -> None:
    def count() -> int:
        statements.clear()
        evaluate()
        return len(statements)

    make_generation(place, outputs=[], notification_status="failed")
    few = count()
    for _ in range(30):
        make_generation(place, outputs=[], notification_status="failed")
        make_generation(place)

    assert count() <= few


def test_evaluating_clears_what_it_said_before(place: Place) -> None:
    workflow = make_generation(place, outputs=[])
    assert verdict(workflow) == ("incomplete", "missing_output")
    Workflow.objects.filter(pk=workflow.pk).update(outputs=["https://cdn.example.com/a.png"], **NOT_EVALUATED)

    assert verdict(workflow) == ("complete", "")
    assert workflow.problem_details is None


def test_a_unit_that_no_rule_can_bear_holds_up_no_other(
    place: Place, monkeypatch: pytest.MonkeyPatch, run_jobs: RunJobs
) -> None:
    units = [make_generation(place, outputs=[]) for _ in range(9)]
    bad = units[4]

    def fail(chunk: Units) -> list[Finding]:
        if bad.pk in chunk.ids:
            raise ZeroDivisionError("a rule with a fault")
        return []

    monkeypatch.setattr(runs, "rules", [*rules, fail])
    with pytest.raises(runs.NotEvaluated, match="1 unit"):
        evaluate()

    judged = Workflow.objects.filter(is_cleanup_evaluated=True)
    assert set(judged) == {unit for unit in units if unit != bad}
    assert EvaluationRun.objects.get().evaluated_count == 8
    assert ProblemAlert.objects.get().told_at is not None
    enqueue_job("system.evaluate", {})
    (job,) = run_jobs()
    assert (job.status, job.error["code"], job.attempt) == ("failed", "not_evaluated", 1)

    monkeypatch.undo()
    assert verdict(bad) == ("incomplete", "missing_output")


def test_the_command_says_what_it_found(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    make_generation(place)
    make_generation(place, outputs=[])

    call_command("evaluate_jobs")

    said = capsys.readouterr().out.split()
    assert said[:2] == ["2", "evaluated"]
    assert ("missing_output", "1") in zip(said, said[1:], strict=False)


def test_the_command_looks_anew_at_what_has_a_problem(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    mended, other = make_generation(place, outputs=[]), make_failed(place, {"code": "oom", "message": "no"})
    evaluate()
    Workflow.objects.filter(pk=mended.pk).update(outputs=["https://cdn.example.com/a.png"])

    call_command("evaluate_jobs", again="missing_output")

    mended.refresh_from_db()
    assert mended.status_category == "complete"
    assert "1 to be looked at anew" in capsys.readouterr().out
    assert verdict(other) == ("incomplete", "worker_failed")


def test_the_schedule_evaluates_every_ten_minutes(db: None) -> None:
    sync_schedules()

    schedule = Schedule.objects.get(func="system.evaluate")

    assert (schedule.schedule_type, schedule.minutes) == (Schedule.MINUTES, 10)


def test_the_job_of_the_schedule_evaluates(place: Place, run_jobs: RunJobs) -> None:
    workflow = make_generation(place)
    enqueue_job("system.evaluate", {})

    (job,) = run_jobs()

    workflow.refresh_from_db()
    assert workflow.status_category == "complete"
    assert job.result["categories"] == {"complete": 1}
