"""The sweep: what nobody ends by himself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from attestations.models import Attestation
from jobs.models import Job, Tenant, Workflow
from jobs.queue import sweep as sweeping
from jobs.queue.sweep import Swept, sweep
from tests.factories import make_endpoint, make_job, make_tenant, make_workflow
from tests.jobs.stepping import fail, make_steps
from webhooks.models import Message

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


def test_a_step_that_waits_in_a_failed_workflow_expires_no_more(tenant: Tenant) -> None:
    make_endpoint(tenant)
    workflow, (one, two) = make_steps(tenant, count=2)
    fail(one)
    verdict = {"is_cleanup_evaluated": True, "status_category": "filed", "problem_type": "worker_failed"}
    Workflow.objects.update(**verdict, evaluated_at=timezone.now())
    Job.objects.filter(pk=two.pk).update(expires_at=timezone.now() - PAST)
    told = Message.objects.count()

    assert sweep() == Swept()

    two.refresh_from_db()
    workflow.refresh_from_db()
    assert (two.status, two.expires_at) == ("waiting", None)  # and it is not looked at every second
    assert (workflow.is_cleanup_evaluated, workflow.problem_type) == (True, "worker_failed")
    assert Message.objects.count() == told


@contextmanager
def held(workflow: Workflow) -> Iterator[None]:
    """Somebody else holds a workflow."""
    is_held, may_go = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Workflow.objects.select_for_update().get(pk=workflow.pk)
            is_held.set()
            may_go.wait(10)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    assert is_held.wait(10)
    try:
        yield
    finally:
        may_go.set()
        holder.join()


@pytest.mark.django_db(transaction=True)
def test_expired_steps_of_a_workflow_that_is_held_do_not_keep_it_from_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweeping, "BATCH", 2)
    tenant = make_tenant()
    workflow = make_workflow(tenant, total_steps=3)
    past = timezone.now() - PAST
    for index in range(3):
        make_job(tenant, workflow=workflow, step_index=index, expires_at=past)
    others = [make_job(tenant, expires_at=past) for _ in range(3)]

    with held(workflow):
        swept = [sweep().expired for _ in range(3)]

    assert sum(swept) == 3
    assert {Job.objects.get(pk=job.pk).status for job in others} == {"failed"}
    assert set(workflow.jobs.values_list("status", flat=True)) == {"queued"}
