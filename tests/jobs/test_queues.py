"""Queues as records, and tenants that take turns: what a claim leaves, and for whom."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from jobs.models import Job, Queue, Tenant
from jobs.models.jobs import PLATFORM
from jobs.queue.claim import claim_in_house, claim_remote, first_in_turn
from jobs.services.queues import limit_queue, pause_queue, resume_queue
from jobs.statements import run
from tests.factories import make_job, make_tenant

Rows = Sequence[object]


@pytest.fixture
def queue(db: None) -> Queue:
    """The default queue's record, as migrating has made it."""
    return Queue.objects.get(name="default", is_remote=False)


@pytest.fixture
def service(db: None) -> Queue:
    return Queue.objects.create(name="gpu", is_remote=True)


def seconds_until_due() -> float | None:
    """What the dispatcher of the default queue is told."""
    seconds: float | None = run("next_due", {"queue": "default"})[0].seconds
    return seconds


def test_every_queue_of_the_clusters_has_a_record(db: None) -> None:
    names = Queue.objects.filter(is_remote=False).values_list("name", flat=True)

    assert sorted(names) == sorted(settings.QUEUES)


def test_a_paused_queue_starts_nothing_and_loses_nothing(tenant: Tenant, queue: Queue) -> None:
    job = make_job(tenant)

    assert pause_queue(queue, by="alice")
    assert claim_in_house("default", "w") == []
    assert seconds_until_due() is None
    assert resume_queue(queue)

    assert seconds_until_due() is not None
    assert [row.id for row in claim_in_house("default", "w")] == [job.pk]


def test_pausing_twice_keeps_the_first_name(queue: Queue) -> None:
    pause_queue(queue, by="alice")

    assert not pause_queue(queue, by="bob")
    assert queue.paused_by == "alice"
    assert resume_queue(queue)
    assert not resume_queue(queue)


def test_a_paused_service_answers_no_claim_and_others_do(tenant: Tenant, service: Queue) -> None:
    make_job(tenant, service_required="gpu")
    other = make_job(tenant, service_required="cpu")
    pause_queue(service, by="alice")

    assert [row.id for row in claim_remote(tenant.pk, ["gpu", "cpu"], "w", limit=9)] == [other.pk]
    assert claim_remote(tenant.pk, ["gpu"], "w", limit=9) == []


def test_a_queue_and_a_service_of_one_name_are_two(tenant: Tenant, queue: Queue) -> None:
    job = make_job(tenant, service_required="default")
    pause_queue(queue, by="alice")

    assert [row.id for row in claim_remote(tenant.pk, ["default"], "w", limit=9)] == [job.pk]


def test_a_limit_counts_what_runs_over_all_claims(tenant: Tenant, queue: Queue) -> None:
    for _ in range(5):
        make_job(tenant, batch_size=10)
    limit_queue(queue, 3)

    first = claim_in_house("default", "w1", limit=2)
    second = claim_in_house("default", "w2")

    assert (len(first), len(second)) == (2, 1)
    assert claim_in_house("default", "w3") == []
    assert seconds_until_due() is None
    limit_queue(queue, None)
    assert len(claim_in_house("default", "w3")) == 2


def test_a_services_limit_holds_over_tenants_and_leaves_other_services_alone(
    tenant: Tenant, other_tenant: Tenant, service: Queue
) -> None:
    for owner in (tenant, other_tenant):
        for name in ("gpu", "gpu", "cpu"):
            make_job(owner, service_required=name)
    limit_queue(service, 3)

    mine = claim_remote(tenant.pk, ["gpu", "cpu"], "w", limit=9)
    theirs = claim_remote(other_tenant.pk, ["gpu", "cpu"], "w", limit=9)

    assert sorted(row.service_required for row in mine) == ["cpu", "gpu", "gpu"]
    assert sorted(row.service_required for row in theirs) == ["cpu", "gpu"]


@pytest.mark.django_db(transaction=True)
def test_claims_at_the_same_moment_stay_within_the_limit() -> None:
    tenant = make_tenant()
    for _ in range(30):
        make_job(tenant)
    limit_queue(Queue.objects.get(name="default", is_remote=False), 4)
    start = threading.Barrier(4)

    def claim() -> None:
        start.wait()
        for _ in range(5):
            claim_in_house("default", threading.current_thread().name)
        connection.close()

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Job.objects.filter(status="running").count() == 4


def test_tenants_take_turns_whatever_their_priorities(tenant: Tenant, other_tenant: Tenant) -> None:
    for _ in range(6):
        make_job(tenant, priority=100)
    for _ in range(2):
        make_job(other_tenant, priority=0)
    make_job(None, priority=50)

    served, after = [], PLATFORM
    while rows := claim_in_house("default", "w", after=after):
        after = first_in_turn(rows, after)
        served += [row.tenant_id for row in rows]

    a, b = sorted([tenant.pk, other_tenant.pk])
    many = tenant.pk
    assert served == [a, b, None, a, b] + [many] * 4


def test_a_batch_is_filled_from_the_tenants_next_in_turn(tenant: Tenant, other_tenant: Tenant) -> None:
    first, second = sorted([tenant, other_tenant], key=lambda t: t.pk)
    for owner, count in ((first, 2), (second, 9)):
        for _ in range(count):
            make_job(owner, batch_size=5)

    rows = claim_in_house("default", "w", after=PLATFORM)

    assert sorted(row.tenant_id for row in rows) == [first.pk] * 2 + [second.pk] * 3


def test_a_tenant_of_another_kind_is_not_passed_over_by_batches(db: None) -> None:
    first, between, last = sorted((make_tenant() for _ in range(3)), key=lambda t: t.pk)
    rare = make_job(between, kind="system.apply_retention")
    for _ in range(30):
        make_job(last, batch_size=10)

    served, after = [], PLATFORM
    for _ in range(3):
        make_job(first, batch_size=10)  # and so its turn comes with the last one's jobs to fill the batch
        rows = claim_in_house("default", "w", after=after)
        after = first_in_turn(rows, after)
        served += [row.id for row in rows]

    assert rare.pk in served


def test_priority_orders_a_tenants_own_jobs(tenant: Tenant) -> None:
    low, high = make_job(tenant, priority=10), make_job(tenant, priority=90)

    order = [claim_in_house("default", "w")[0].id for _ in range(2)]

    assert order == [high.pk, low.pk]


def test_a_tenant_with_nothing_due_is_passed_over(tenant: Tenant, other_tenant: Tenant) -> None:
    make_job(tenant, run_at=timezone.now() + timedelta(hours=1))
    due = make_job(other_tenant)

    for after in (PLATFORM, tenant.pk, other_tenant.pk, UUID(int=2**128 - 1)):
        Job.objects.filter(pk=due.pk).update(
            status="queued", lease_token=None, lease_expires_at=None, attempt=0, started_at=None
        )
        assert [row.id for row in claim_in_house("default", "w", after=after)] == [due.pk]


def test_the_dispatcher_learns_when_the_next_job_is_due(tenant: Tenant, other_tenant: Tenant) -> None:
    assert seconds_until_due() is None
    make_job(tenant, run_at=timezone.now() + timedelta(seconds=60), priority=90)
    make_job(tenant, run_at=timezone.now() + timedelta(seconds=30), priority=10)
    assert 28 < (seconds_until_due() or 0) <= 30
    make_job(other_tenant, run_at=timezone.now() + timedelta(seconds=10))
    assert 8 < (seconds_until_due() or 0) <= 10


def test_what_has_expired_is_not_begun_even_before_the_sweep_has_seen_it(tenant: Tenant) -> None:
    past = timezone.now() - timedelta(seconds=1)
    make_job(tenant, expires_at=past)
    make_job(tenant, service_required="gpu", expires_at=past)

    assert claim_in_house("default", "w") == []
    assert claim_remote(tenant.pk, ["gpu"], "w", limit=9) == []
