"""The sweep: what nobody ends by himself."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from attestations.models import Attestation
from jobs.models import Job, Tenant
from jobs.queue.sweep import Swept, sweep
from tests.factories import make_job, make_workflow

PAST = timedelta(seconds=5)


def lapsed(tenant: Tenant, **fields: object) -> Job:
    return make_job(tenant, status="running", lease_expires_at=timezone.now() - PAST, **fields)


def test_a_lapsed_lease_sends_the_job_back_at_once_and_alone(tenant: Tenant) -> None:
    job = lapsed(tenant, batch_size=50)

    assert sweep() == Swept(lapsed=1)

    job.refresh_from_db()
    assert (job.status, job.attempt, job.batch_size) == ("queued", 1, 1)
    assert job.run_at <= timezone.now()
    attestation = Attestation.objects.get()
    assert attestation.attestation_type == "worker_failure"
    assert attestation.attestation_data["error"]["code"] == "worker_lost"


def test_a_live_lease_is_left_alone(tenant: Tenant) -> None:
    job = make_job(tenant, status="running")

    assert sweep() == Swept()

    job.refresh_from_db()
    assert job.status == "running"


def test_a_job_that_takes_every_worker_with_it_is_poison(tenant: Tenant) -> None:
    job = lapsed(tenant, attempt=3, max_attempts=3)

    sweep()

    job.refresh_from_db()
    assert (job.status, job.error and job.error["code"]) == ("failed", "poison")


def test_a_lapsed_job_that_overran_has_timed_out(tenant: Tenant) -> None:
    job = lapsed(
        tenant,
        attempt=3,
        max_attempts=3,
        timeout_seconds=10,
        started_at=timezone.now() - timedelta(seconds=60),
    )

    sweep()

    job.refresh_from_db()
    assert (job.status, job.error and job.error["code"]) == ("failed", "timed_out")


def test_a_lapsed_job_whose_end_was_asked_for_is_cancelled(tenant: Tenant) -> None:
    job = lapsed(tenant, cancel_requested_at=timezone.now())

    sweep()

    job.refresh_from_db()
    assert job.status == "cancelled"


def test_an_expired_job_fails_without_an_attestation(tenant: Tenant) -> None:
    job = make_job(tenant, expires_at=timezone.now() - PAST)

    assert sweep() == Swept(expired=1)

    job.refresh_from_db()
    assert (job.status, job.error and job.error["code"]) == ("failed", "expired")
    assert not Attestation.objects.exists()


def test_an_expired_step_fails_its_workflow_which_is_attested(tenant: Tenant) -> None:
    workflow = make_workflow(tenant)
    make_job(tenant, workflow=workflow, step_index=0, expires_at=timezone.now() - PAST)

    sweep()

    workflow.refresh_from_db()
    assert workflow.status == "failed"
    assert Attestation.objects.get().attestation_key == f"workflow-failure:{workflow.workflow_id}"
