"""Enqueueing: in the caller's transaction, checked, once per singleton key."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from config.tracing import Trace, bound_trace
from jobs.errors import InvalidInput
from jobs.models import Job, Tenant
from jobs.queue import wakeups
from jobs.queue.enqueue import NewJob, enqueue_job, enqueue_jobs
from tests.factories import make_job


def test_a_job_commits_or_rolls_back_with_the_callers_rows(tenant: Tenant) -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        enqueue_job("system.ping", tenant_id=tenant.pk)
        raise RuntimeError

    assert not Job.objects.exists()


def test_the_trace_of_the_request_is_on_the_job(tenant: Tenant) -> None:
    with bound_trace(Trace("c" * 32, "r-3")):
        job_id = enqueue_job("system.ping", tenant_id=tenant.pk)

    job = Job.objects.get(pk=job_id)
    assert (job.trace_id, job.request_id) == ("c" * 32, "r-3")


def test_an_unknown_kind_is_refused_by_name(tenant: Tenant) -> None:
    with pytest.raises(InvalidInput) as refused:
        enqueue_job("system.nothing", tenant_id=tenant.pk)

    assert refused.value.errors[0].pointer == "/kind"


def test_a_wrong_payload_is_refused_at_its_field(tenant: Tenant) -> None:
    with pytest.raises(InvalidInput) as refused:
        enqueue_job("system.ping", {"surprise": 1}, tenant_id=tenant.pk)

    assert [(e.pointer, e.code) for e in refused.value.errors] == [
        ("/payload/surprise", "unexpected_keyword_argument")
    ]


def test_all_or_none(tenant: Tenant) -> None:
    good = NewJob(kind="system.ping", payload={}, tenant_id=tenant.pk)
    bad = NewJob(kind="system.nothing", payload={}, tenant_id=tenant.pk)

    with pytest.raises(InvalidInput):
        enqueue_jobs([good, bad])

    assert not Job.objects.exists()


def test_a_second_job_of_a_singleton_key_is_the_first(tenant: Tenant, other_tenant: Tenant) -> None:
    first = enqueue_job("system.ping", tenant_id=tenant.pk, singleton_key="nightly")
    again = enqueue_job("system.ping", tenant_id=tenant.pk, singleton_key="nightly")
    elsewhere = enqueue_job("system.ping", tenant_id=other_tenant.pk, singleton_key="nightly")

    assert first == again != elsewhere
    Job.objects.filter(pk=first).update(status="completed", completed_at=timezone.now())
    assert enqueue_job("system.ping", tenant_id=tenant.pk, singleton_key="nightly") != first


def test_the_platforms_own_singletons_are_single_too(db: None) -> None:
    assert enqueue_job("system.ping", singleton_key="x") == enqueue_job("system.ping", singleton_key="x")


def test_expiry_counts_from_now(tenant: Tenant) -> None:
    job_id = enqueue_job("system.ping", tenant_id=tenant.pk, expires_in_seconds=60)

    job = Job.objects.get(pk=job_id)
    assert job.expires_at is not None
    assert timedelta(seconds=55) < job.expires_at - timezone.now() <= timedelta(seconds=60)


def test_a_job_with_one_attempt_shares_no_process_with_others(tenant: Tenant) -> None:
    job_id = enqueue_job("system.ping", tenant_id=tenant.pk, max_attempts=1)

    assert Job.objects.get(pk=job_id).batch_size == 1


def test_wake_ups_go_out_after_the_commit(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: object
) -> None:
    sent: list[set[str]] = []
    monkeypatch.setattr(wakeups, "announce", lambda topics: sent.append(set(topics)))

    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        enqueue_job("system.ping", tenant_id=tenant.pk)
        assert sent == []

    assert sent == [{"queue/default"}]


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "running", "lease_token": None},
        {"status": "queued", "completed_at": timezone.now()},
        {"status": "completed", "completed_at": None},
        {"status": "finished"},
        {"status": "waiting"},
        {"priority": 101},
        {"attempt": 4, "max_attempts": 3},
        {"kind": "system.ping", "service_required": "gpu"},
        {"kind": ""},
        {"timeout_seconds": 0},
    ],
)
def test_the_database_refuses_rows_that_make_no_sense(tenant: Tenant, fields: dict[str, object]) -> None:
    fields = {"queue": "default", **fields}

    with pytest.raises(IntegrityError), transaction.atomic():
        make_job(tenant, **fields)
