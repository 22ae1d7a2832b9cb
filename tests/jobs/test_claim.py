"""Claiming: what is taken, in which order, and what is left."""

from __future__ import annotations

import threading
from datetime import timedelta

import psycopg
import psycopg.conninfo
import pytest
from django.db import connection
from django.utils import timezone

from jobs.models import Job, Tenant
from jobs.queue.claim import Lease, claim_in_house, claim_remote, renew
from tests.factories import make_job


def test_a_claim_counts_the_attempt_and_gives_a_lease(tenant: Tenant) -> None:
    job = make_job(tenant)

    (row,) = claim_in_house("default", "worker-1")

    job.refresh_from_db()
    assert (job.status, job.attempt, job.worker) == ("running", 1, "worker-1")
    assert job.lease_token == row.lease_token
    assert job.lease_expires_at is not None
    assert timedelta(seconds=25) < job.lease_expires_at - timezone.now() <= timedelta(seconds=30)


def test_a_claim_takes_the_most_urgent_then_the_oldest(tenant: Tenant) -> None:
    now = timezone.now()
    late = make_job(tenant, service_required="gpu", run_at=now - timedelta(seconds=1))
    early = make_job(tenant, service_required="gpu", run_at=now - timedelta(seconds=9))
    urgent = make_job(tenant, service_required="gpu", priority=60)

    rows = claim_remote(tenant.pk, ["gpu"], "worker-1", limit=3)

    assert [row.id for row in rows] == [urgent.pk, early.pk, late.pk]


def test_jobs_due_later_are_left_and_hide_nothing(tenant: Tenant) -> None:
    for _ in range(3):
        make_job(tenant, priority=90, run_at=timezone.now() + timedelta(hours=1))
    due = make_job(tenant, priority=10)

    (row,) = claim_in_house("default", "worker-1")

    assert row.id == due.pk


def test_light_jobs_of_one_kind_are_claimed_together(tenant: Tenant) -> None:
    light = {make_job(tenant, batch_size=10).pk for _ in range(3)}
    make_job(tenant, kind="system.apply_retention", batch_size=10)
    alone = make_job(tenant, batch_size=1)

    rows = claim_in_house("default", "worker-1")

    assert {row.id for row in rows} == light
    assert alone.pk not in light


def test_a_batch_is_no_larger_than_its_jobs_allow(tenant: Tenant) -> None:
    for _ in range(5):
        make_job(tenant, batch_size=2)

    assert len(claim_in_house("default", "worker-1")) == 2


def test_other_queues_services_and_tenants_are_left_alone(tenant: Tenant, other_tenant: Tenant) -> None:
    make_job(tenant, queue="webhooks")
    make_job(other_tenant, service_required="gpu")
    make_job(tenant, service_required="cpu")
    in_house = make_job(tenant, queue="default")

    assert claim_remote(tenant.pk, ["gpu"], "worker-1", limit=9) == []
    assert claim_remote(tenant.pk, ["default"], "worker-1", limit=9) == []
    assert [row.id for row in claim_in_house("default", "worker-1")] == [in_house.pk]


def test_a_worker_may_offer_several_services(tenant: Tenant) -> None:
    first = make_job(tenant, service_required="gpu", priority=50)
    second = make_job(tenant, service_required="cpu", priority=70)

    rows = claim_remote(tenant.pk, ["gpu", "cpu"], "worker-1", limit=2)

    assert [row.id for row in rows] == [second.pk, first.pk]


@pytest.mark.django_db(transaction=True)
def test_claims_at_the_same_moment_share_no_job() -> None:
    from tests.factories import make_tenant

    tenant = make_tenant()
    for _ in range(40):
        make_job(tenant, batch_size=5)
    claimed: list[object] = []
    lock = threading.Lock()

    def claim() -> None:
        while rows := claim_in_house("default", threading.current_thread().name):
            with lock:
                claimed.extend(row.id for row in rows)
        connection.close()

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(claimed) == len(set(claimed)) == 40
    assert Job.objects.filter(status="running", attempt=1).count() == 40


@pytest.mark.django_db(transaction=True)
def test_a_job_that_somebody_has_locked_hides_no_others() -> None:
    from tests.factories import make_tenant

    tenant = make_tenant()
    first = make_job(tenant, priority=90)
    other = make_job(tenant, kind="system.apply_retention")
    with psycopg.connect(_dsn()) as somebody:
        somebody.execute("SELECT FROM jobs_job WHERE id = %s FOR UPDATE", [first.pk])

        assert [row.id for row in claim_in_house("default", "worker-1")] == [other.pk]


def _dsn() -> str:
    """The test database, for a connection that is not Django's."""
    params = connection.get_connection_params()
    return psycopg.conninfo.make_conninfo(
        **{name: params[name] for name in ("host", "port", "user", "password", "dbname") if params.get(name)}
    )


def test_a_renewal_puts_off_the_end_and_tells_of_a_cancellation(tenant: Tenant) -> None:
    job = make_job(tenant, status="running", lease_expires_at=timezone.now() + timedelta(seconds=1))
    lease = Lease(job.pk, job.lease_token)  # type: ignore[arg-type]

    renewal = renew([lease])[job.pk]

    assert renewal.expires_at > timezone.now() + timedelta(seconds=25)
    assert not renewal.is_cancel_requested
    Job.objects.filter(pk=job.pk).update(cancel_requested_at=timezone.now())
    assert renew([lease])[job.pk].is_cancel_requested


def test_a_lost_lease_is_not_renewed(tenant: Tenant) -> None:
    job = make_job(tenant, status="running")
    other = make_job(tenant, status="running")

    assert renew([Lease(job.pk, other.lease_token)]) == {}  # type: ignore[arg-type]
