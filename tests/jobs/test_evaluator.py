"""What the evaluator says of work that has ended, and of healthy work that looks like it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from attestations.models import Attestation
from jobs.models import Job, ProblemType, Tenant
from jobs.models.evaluation import CATEGORIES
from jobs.queue.envelope import JobEnvelope
from jobs.queue.handlers import NoPayload, handler, unregister
from tests.factories import (
    make_delivery,
    make_endpoint,
    make_event,
    make_job,
)
from tests.jobs.judging import details, verdict
from tests.units import (
    Place,
    attest,
    attest_failed_run,
    attest_run,
    ended,
    make_failed,
    make_generation,
    make_lone_job,
    tell,
)


@pytest.fixture
def place(tenant: Tenant) -> Place:
    return Place.of(tenant)


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


def test_of_several_problems_the_weightiest_counts_and_the_others_are_named(place: Place) -> None:
    workflow = make_generation(place, outputs=[], notification_status="failed")
    Attestation.objects.filter(workflow=workflow).delete()

    assert verdict(workflow) == ("incomplete", "missing_output")
    assert details(workflow)["also"] == ["attestation_missing", "notification_failed"]


def test_what_no_waiting_would_mend_is_said_inside_the_grace(place: Place) -> None:
    workflow = make_generation(place, outputs=[], notification_status="owed", completed_at=timezone.now())

    assert verdict(workflow) == ("incomplete", "missing_output")
