"""Leases: how long they last, and what a process remembers of those it has lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from jobs.models import Job, Tenant
from jobs.queue import handlers, leases
from jobs.queue.claim import Lease, renew
from jobs.queue.enqueue import enqueue_job
from jobs.queue.envelope import JobEnvelope, JobStopped
from jobs.queue.handlers import NoPayload, handler
from jobs.queue.leases import LeaseKeeper
from jobs.queue.runner import run_due_jobs, stop_keeper
from jobs.queue.sweep import sweep
from jobs.testing import RunJobs
from tests.factories import claim_one, make_job, make_tenant


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch) -> LeaseKeeper:
    """A keeper whose thread is not there, so that the test says when it renews."""
    monkeypatch.setattr(LeaseKeeper, "start", lambda self: None)
    return LeaseKeeper("default@here:1", "default")


def test_a_renewal_that_crosses_the_end_of_its_job_marks_no_later_lease(
    tenant: Tenant, keeper: LeaseKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(tenant)
    first = claim_one(job)
    lease = Lease(first.id, first.lease_token)
    keeper.hold([lease])

    def ended_meanwhile(held: list[Lease]) -> dict[Any, Any]:
        keeper.let_go(held)
        return {}

    monkeypatch.setattr(leases, "renew", ended_meanwhile)
    keeper.renew_all()

    again = Lease(job.pk, lease.token.__class__(int=1))
    keeper.hold([again])
    assert not keeper.has_lost(again)
    assert not keeper.is_stopped(again)


def test_a_lease_that_is_not_renewed_is_lost_and_its_successor_is_not(
    tenant: Tenant, keeper: LeaseKeeper
) -> None:
    job = make_job(tenant, status="running")
    lost = Lease(job.pk, make_job(tenant, status="running").lease_token)  # type: ignore[arg-type]
    keeper.hold([lost])
    keeper.renew_all()
    assert keeper.has_lost(lost)

    mine = Lease(job.pk, job.lease_token)  # type: ignore[arg-type]
    keeper.hold([mine])
    keeper.let_go([lost])

    keeper.renew_all()
    assert not keeper.is_stopped(mine)


def test_a_remote_attempt_is_renewed_no_longer_than_its_timeout(tenant: Tenant) -> None:
    long_ago = timezone.now() - timedelta(seconds=61)
    remote, in_house = (
        make_job(tenant, status="running", timeout_seconds=60, started_at=long_ago, service_required=service)
        for service in ("gpu", "")
    )

    answers = renew([Lease(job.pk, job.lease_token) for job in (remote, in_house)])  # type: ignore[arg-type]

    assert answers.keys() == {in_house.pk}  # whose own process ends it
    Job.objects.filter(pk=remote.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    sweep()
    remote.refresh_from_db()
    assert (remote.status, remote.error and remote.error["code"]) == ("queued", "timed_out")


@pytest.fixture
def stopping() -> Iterator[str]:
    """A kind that stops, though nobody has asked it to."""

    @handler("test.stopping", payload=NoPayload)
    def stop(envelope: JobEnvelope[NoPayload]) -> None:
        raise JobStopped

    yield "test.stopping"
    handlers.unregister("test.stopping")


def test_a_job_that_nobody_cancelled_does_not_end_as_cancelled(
    tenant: Tenant, stopping: str, run_jobs: RunJobs
) -> None:
    enqueue_job(stopping, tenant_id=tenant.pk)

    (job,) = run_jobs()

    assert (job.status, job.error and job.error["code"]) == ("queued", "stopped")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("leave", ["without autocommit", "in a block"])
def test_a_transaction_that_a_handler_leaves_open_costs_it_its_writes_and_nothing_else(leave: str) -> None:
    @handler("test.untidy", payload=NoPayload)
    def work(envelope: JobEnvelope[NoPayload]) -> str:
        if leave == "in a block":
            transaction.atomic().__enter__()
        else:
            transaction.set_autocommit(False)
        make_tenant("never-committed")
        return "done"

    try:
        job_id = enqueue_job("test.untidy", tenant_id=make_tenant().pk)
        run_due_jobs("default")
        connection.close()
        assert Job.objects.get(pk=job_id).status == "completed"
        assert not Tenant.objects.filter(slug="never-committed").exists()
    finally:
        handlers.unregister("test.untidy")
        stop_keeper()
