"""Attestations go when they expire, and are read, however long ago their work has gone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from attestations.models import Attestation
from attestations.retention import forget_attestations
from jobs.admin.displays import page_url
from jobs.hygiene import retention
from jobs.ids import uuid7
from jobs.models import Job, Tenant
from tests.conftest import ApiClient
from tests.factories import make_attestation, make_job, make_superuser, make_workflow

NOW = timezone.now


def test_what_has_expired_goes_whatever_became_of_its_work(tenant: Tenant) -> None:
    live = make_job(tenant)
    make_attestation(live, expires_at=NOW() - timedelta(seconds=1))
    make_attestation(expires_at=NOW() - timedelta(days=300), job_id=uuid7(), workflow_id=uuid7())
    kept = make_attestation(expires_at=NOW() + timedelta(seconds=60))

    assert forget_attestations() == 2

    assert list(Attestation.objects.all()) == [kept]
    assert Job.objects.get() == live


def test_many_go_in_batches(tenant: Tenant, monkeypatch: pytest.MonkeyPatch, statements: list[str]) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    same = NOW() - timedelta(days=1)
    for _ in range(5):
        make_attestation(expires_at=same)
    statements.clear()

    assert forget_attestations() == 5

    assert len([text for text in statements if text.startswith("DELETE")]) == 3


def test_an_attestation_whose_work_is_gone_is_shown(client: Client, tenant: Tenant) -> None:
    attestation = make_attestation(
        tenant=tenant, job_id=uuid7(), workflow_id=uuid7(), workflow_key="workflow-gone"
    )
    client.force_login(make_superuser())

    page = client.get(page_url(attestation))
    rows = client.get("/admin/attestations/attestation/")

    assert page.status_code == rows.status_code == 200
    assert str(attestation.job_id) in page.content.decode()
    assert attestation.attestation_key in rows.content.decode()


def test_the_attestations_of_a_workflow_are_read_after_their_jobs(api: ApiClient, tenant: Tenant) -> None:
    workflow: Any = make_workflow(tenant, workflow_id="mine", status="completed")
    make_attestation(tenant=tenant, workflow=workflow, job_id=uuid7(), workflow_key="mine")

    answer = api.get("/api/workflows/mine/all-attestations")

    assert answer.status_code == 200
    assert len(answer.json()["attestations"]) == 1
