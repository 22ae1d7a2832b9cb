"""Cancelling: what has not begun ends at once, what runs at its worker's next word or checkpoint."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from attestations.models import Attestation
from jobs.models import Job, Tenant
from jobs.queue import handlers
from jobs.queue.backoff import RetryPolicy
from jobs.queue.claim import Lease
from jobs.queue.enqueue import enqueue_job
from jobs.queue.envelope import JobEnvelope
from jobs.queue.finish import finish
from jobs.queue.handlers import NoPayload, handler
from jobs.queue.outcomes import Outcome, failed_or_retried, make_error
from jobs.queue.runner import run_due_jobs, stop_keeper
from jobs.queue.sweep import sweep
from jobs.services.jobs import cancel_job
from tests.factories import claim_one, make_job, make_tenant

ERROR = make_error("broken", "It broke.")


def cancelled_meanwhile(job: Job) -> Any:
    """Claim the job, then ask for its end; the claimed row."""
    row = claim_one(job)
    cancel_job(job, by="alice")
    return row


def test_a_retryable_failure_of_a_cancelled_attempt_is_not_tried_again(tenant: Tenant) -> None:
    job = make_job(tenant)
    row = cancelled_meanwhile(job)

    finish([failed_or_retried(row, Lease(row.id, row.lease_token), ERROR, policy=RetryPolicy())])

    job.refresh_from_db()
    assert (job.status, job.error) == ("cancelled", ERROR)
    assert Attestation.objects.get(job=job).status == "cancelled"


def test_work_that_was_done_before_it_heard_of_the_cancellation_counts(tenant: Tenant) -> None:
    job = make_job(tenant)
    row = cancelled_meanwhile(job)

    finish([Outcome(lease=Lease(row.id, row.lease_token), status="completed", result=1)])

    job.refresh_from_db()
    assert job.status == "completed"


def test_a_cancelled_attempt_whose_worker_vanishes_is_not_tried_again(tenant: Tenant) -> None:
    job = make_job(tenant)
    cancelled_meanwhile(job)
    Job.objects.filter(pk=job.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))

    sweep()

    job.refresh_from_db()
    assert (job.status, job.attempt) == ("cancelled", 1)


@pytest.fixture
def keeper(transactional_db: None) -> Iterator[None]:
    """What a process of a cluster has: a thread that keeps its leases, and learns what became of them."""
    yield
    stop_keeper()


@pytest.fixture
def long_kind() -> Iterator[str]:
    """A kind that works for ever, cancels itself on the way, and stops at a checkpoint."""

    @handler("test.long", payload=NoPayload, timeout_seconds=20)
    def work(envelope: JobEnvelope[NoPayload]) -> None:
        cancel_job(Job.objects.get(pk=envelope.job_id), by="alice")
        while True:
            time.sleep(0.05)
            envelope.checkpoint()

    yield "test.long"
    handlers.unregister("test.long")


def test_a_handler_stops_at_its_next_checkpoint(keeper: None, long_kind: str) -> None:
    job_id = enqueue_job(long_kind, tenant_id=make_tenant().pk)
    began = time.monotonic()

    run_due_jobs("default")

    job = Job.objects.get(pk=job_id)
    assert (job.status, job.attempt) == ("cancelled", 1)
    assert time.monotonic() - began < 5
    assert Attestation.objects.get(job=job).status == "cancelled"


def test_a_checkpoint_stops_work_whose_lease_was_lost(keeper: None, settings: Any) -> None:
    settings.LEASE_SECONDS = 3

    @handler("test.robbed", payload=NoPayload, timeout_seconds=20)
    def work(envelope: JobEnvelope[NoPayload]) -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE jobs_job SET lease_token = gen_random_uuid()")
        while True:
            time.sleep(0.05)
            envelope.checkpoint()

    job_id = enqueue_job("test.robbed", tenant_id=make_tenant().pk)
    try:
        run_due_jobs("default")
    finally:
        handlers.unregister("test.robbed")

    assert Job.objects.get(pk=job_id).status == "running"  # its new holder's now
    assert not Attestation.objects.exists()
