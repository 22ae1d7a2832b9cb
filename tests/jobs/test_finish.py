"""Finishing: outcomes count once, under a live lease, and leave everything they must in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, transaction
from django.utils import timezone

from attestations.models import Attestation
from jobs.errors import OutcomeNotStored
from jobs.models import Job, Tenant
from jobs.queue.claim import Lease
from jobs.queue.finish import finish
from jobs.queue.outcomes import Outcome, failed_or_retried, make_error, policy_of
from jobs.queue.sweep import sweep
from jobs.services.jobs import complete_job
from jobs.signals import FinishedAttempt, work_finished
from tests.factories import claim_one, make_job


def lease_of(job: Job) -> Lease:
    assert job.lease_token
    return Lease(job.pk, job.lease_token)


def completed(job: Job, result: Any = None) -> Outcome:
    return Outcome(lease=lease_of(job), status="completed", result=result)


def test_a_completed_job_has_its_result_and_its_attestation(tenant: Tenant) -> None:
    job = make_job(tenant, status="running", payload={"n": 1}, ctx={"miniapp_req": {"a": 1}})

    assert finish([completed(job, {"ok": True})]) == {job.pk}

    job.refresh_from_db()
    assert (job.status, job.result, job.progress) == ("completed", {"ok": True}, 100)
    assert job.completed_at
    assert job.lease_token is None
    attestation = Attestation.objects.get(job=job)
    assert attestation.attestation_key == f"worker-completion:job-{job.pk}"
    assert attestation.attestation_data["result"] == {"ok": True}


def test_an_outcome_under_a_stale_lease_changes_nothing(tenant: Tenant) -> None:
    job = make_job(tenant, status="running")
    stale = Outcome(lease=Lease(job.pk, uuid4()), status="completed", result=1)

    assert finish([stale]) == set()

    job.refresh_from_db()
    assert job.status == "running"
    assert not Attestation.objects.exists()


def test_the_same_outcome_counts_once(tenant: Tenant) -> None:
    job = make_job(tenant, status="running")
    outcome = completed(job)

    assert finish([outcome]) == {job.pk}
    assert finish([outcome]) == set()
    assert Attestation.objects.count() == 1


def test_a_failed_attempt_goes_back_to_the_queue_after_its_delay(tenant: Tenant) -> None:
    job = make_job(tenant, status="running", max_attempts=2)
    error = make_error("broken", "It broke.")

    outcome = Outcome(lease=lease_of(job), status="queued", error=error, delay_seconds=60)
    finish([outcome])

    job.refresh_from_db()
    assert (job.status, job.error) == ("queued", error)
    assert timedelta(seconds=55) < job.run_at - timezone.now() <= timedelta(seconds=60)
    attestation = Attestation.objects.get(job=job)
    assert (attestation.attestation_type, attestation.status) == ("worker_failure", "failed")


def test_each_attempt_is_attested_under_a_key_of_its_own(tenant: Tenant) -> None:
    job = make_job(tenant, max_attempts=3)
    for _ in range(2):
        row = claim_one(job)
        error = make_error("flaky", "Not yet.")
        lease = Lease(row.id, row.lease_token)
        finish([Outcome(lease=lease, status="queued", error=error)])
    row = claim_one(job)
    finish([Outcome(lease=Lease(row.id, row.lease_token), status="completed", result={})])

    keys = Attestation.objects.order_by("id").values_list("attestation_key", flat=True)
    assert list(keys) == [
        f"worker-failure:job-{job.pk}",
        f"worker-failure:job-{job.pk}:attempt-1",
        f"worker-completion:job-{job.pk}:attempt-2",
    ]


def test_retries_end_when_attempts_are_used_up(tenant: Tenant) -> None:
    job = make_job(tenant, status="running", attempt=3, max_attempts=3)

    error = make_error("broken", "It broke.")
    outcome = failed_or_retried(job, lease_of(job), error, policy=policy_of(job))

    assert outcome.status == "failed"


def test_an_unattested_kind_leaves_no_attestation(tenant: Tenant) -> None:
    job = make_job(tenant, kind="system.apply_retention", status="running")

    finish([completed(job)])

    assert not Attestation.objects.exists()


def test_a_result_that_cannot_be_stored_fails_its_job_alone(tenant: Tenant) -> None:
    good = make_job(tenant, status="running")
    bad = make_job(tenant, status="running")

    finished = finish([completed(good, "fine"), completed(bad, "NUL \0 here")])

    assert finished == {good.pk, bad.pk}
    good.refresh_from_db()
    bad.refresh_from_db()
    assert good.status == "completed"
    assert (bad.status, bad.error and bad.error["code"]) == ("failed", "finish_failed")
    assert Attestation.objects.count() == 2


@pytest.fixture
def unattestable() -> Iterator[set[UUID]]:
    """Jobs whose end can't be attested, whatever it is."""
    ids: set[UUID] = set()

    def refuse(attempts: list[FinishedAttempt], **_: Any) -> None:
        if ids & {attempt.job_id for attempt in attempts}:
            raise RuntimeError("no room for attestations")

    work_finished.connect(refuse)
    yield ids
    work_finished.disconnect(refuse)


def test_no_outcome_without_its_attestation(tenant: Tenant, unattestable: set[UUID]) -> None:
    job = make_job(tenant, status="running")
    unattestable.add(job.pk)

    assert finish([completed(job)]) == set()

    job.refresh_from_db()
    assert (job.status, job.result) == ("running", None)
    with pytest.raises(OutcomeNotStored):
        complete_job(job, job.lease_token, "done")  # type: ignore[arg-type]


def test_an_outcome_that_can_not_be_stored_holds_up_no_others(
    tenant: Tenant, unattestable: set[UUID]
) -> None:
    lapsed = timezone.now() - timedelta(seconds=1)
    bad, good = [make_job(tenant, status="running", lease_expires_at=lapsed) for _ in range(2)]
    overdue = make_job(tenant, expires_at=lapsed)
    unattestable.add(bad.pk)

    swept = sweep()

    assert (swept.lapsed, swept.expired) == (1, 1)
    for job, status in ((bad, "running"), (good, "queued"), (overdue, "failed")):
        job.refresh_from_db()
        assert job.status == status
    assert bad.lease_expires_at
    assert bad.lease_expires_at > timezone.now() + timedelta(seconds=30)


def test_the_number_of_statements_does_not_depend_on_the_batch(tenant: Tenant, statements: list[str]) -> None:
    jobs = [make_job(tenant, status="running") for _ in range(25)]

    statements.clear()
    finish([completed(jobs[0])])
    for_one = len(statements)
    statements.clear()
    finish([completed(job) for job in jobs[1:]])

    assert len(statements) == for_one


def test_an_attestation_is_never_changed(tenant: Tenant) -> None:
    job = make_job(tenant, status="running")
    finish([completed(job)])

    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        Attestation.objects.update(status="failed")
    assert Attestation.objects.get().is_intact


def test_the_last_attempt_is_shared_with_nobody(tenant: Tenant) -> None:
    job = make_job(tenant, status="running", batch_size=10, max_attempts=3)

    finish([failed_or_retried(job, lease_of(job), make_error("broken", ""), policy=policy_of(job))])
    job.refresh_from_db()
    assert (job.attempt, job.batch_size) == (1, 10)
    Job.objects.filter(pk=job.pk).update(run_at=timezone.now())
    row = claim_one(job)
    finish(
        [
            failed_or_retried(
                row, Lease(row.id, row.lease_token), make_error("broken", ""), policy=policy_of(job)
            )
        ]
    )

    job.refresh_from_db()
    assert (job.attempt, job.batch_size) == (2, 1)
