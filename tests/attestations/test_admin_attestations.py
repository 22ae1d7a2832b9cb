"""Attestations in the admin: the document as the API shows it, and whether it is what was attested."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from attestations.models import Attestation
from jobs.models import Tenant
from jobs.services.jobs import complete_job, fail_job
from tests.factories import claim_one, make_attestation, make_job, make_superuser, make_workflow

LIST = reverse("admin:attestations_attestation_changelist")


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(make_superuser())
    return client


def page_of(attestation: Attestation) -> str:
    return reverse("admin:attestations_attestation_change", args=[attestation.pk])


def shown(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return response.content.decode()


def attest(tenant: Tenant, result: Any = None) -> Attestation:
    """The attestation that a completed remote job leaves."""
    workflow = make_workflow(tenant, workflow_id="gen-7")
    job = make_job(tenant, service_required="artgen", workflow=workflow, step_index=0)
    complete_job(job, claim_one(job).lease_token, result)
    return Attestation.objects.get(job=job)


def test_a_page_shows_the_document_and_that_it_is_intact(operator: Client, tenant: Tenant) -> None:
    attestation = attest(tenant, {"seconds": 4.5})

    response = operator.get(page_of(attestation))

    html = response.content.decode()
    (document,) = response.context["documents"]
    assert attestation.attestation_key in html
    assert attestation.digest in html
    assert "</span>intact</span>" in html
    assert "".join(text for _, text in document.tokens).count('"redis_step_id"') == 1
    for url in (
        reverse("admin:jobs_job_change", args=[attestation.job_id]),
        reverse("admin:jobs_workflow_change", args=[attestation.workflow_id]),
    ):
        assert f'href="{url}"' in html


def test_an_altered_attestation_is_named_as_such(operator: Client, tenant: Tenant) -> None:
    attestation = make_attestation(make_job(tenant, status="completed"), digest="0" * 64)

    html = shown(operator, page_of(attestation))

    assert "</span>altered</span>" in html
    assert attestation.compute_digest() in html


def test_its_picture_is_shown_and_a_foreign_one_linked(
    operator: Client, settings: Any, tenant: Tenant
) -> None:
    ours = f"{settings.PUBLIC_URL}/artifacts/acme/1/token/out.png"
    attestation = attest(tenant, {"url": ours, "other": "https://pictures.example/out.png"})

    html = shown(operator, page_of(attestation))

    assert html.count("<img") == 1
    assert '<img src="/artifacts/acme/1/token/out.png"' in html
    assert 'href="https://pictures.example/out.png"' in html


@pytest.mark.parametrize("type_", Attestation.Type.values)
@pytest.mark.parametrize("status", Attestation.Status.values)
def test_every_type_and_status_is_shown(operator: Client, tenant: Tenant, type_: str, status: str) -> None:
    attestation = make_attestation(make_job(tenant), attestation_type=type_, status=status)

    for url in (LIST, page_of(attestation)):
        assert f"</span>{status}</span>" in shown(operator, url)


def test_hostile_data_is_escaped(operator: Client, tenant: Tenant) -> None:
    hostile = "</pre><script>alert(1)</script>"
    job = make_job(tenant, status="completed")
    attestation = make_attestation(
        job,
        attestation_data={hostile: hostile, "result": hostile},
        worker_id=hostile,
        attestation_key=hostile,
    )

    for url in (LIST, page_of(attestation), reverse("admin:jobs_job_change", args=[job.pk])):
        assert "<script>alert" not in shown(operator, url)


def test_an_attestation_outlives_what_it_speaks_of(operator: Client, tenant: Tenant) -> None:
    job = make_job(tenant, status="completed")
    attestation = make_attestation(job)
    job.delete()

    html = shown(operator, page_of(attestation))

    assert str(attestation.job_id) in html
    assert "</span>intact</span>" in html
    shown(operator, LIST)


def test_an_attestation_of_the_platforms_own_is_shown(operator: Client, db: None) -> None:
    attestation = make_attestation(make_job(status="completed"))

    assert "platform" in shown(operator, page_of(attestation))


def test_a_job_and_its_workflow_list_every_attempt(operator: Client, tenant: Tenant) -> None:
    workflow = make_workflow(tenant)
    job = make_job(tenant, service_required="artgen", workflow=workflow, step_index=0, max_attempts=1)
    fail_job(job, claim_one(job).lease_token, "boom", "It broke.", is_retryable=False)
    attestations = Attestation.objects.all()
    assert len(attestations) == 2

    on_job = shown(operator, reverse("admin:jobs_job_change", args=[job.pk]))
    on_workflow = shown(operator, reverse("admin:jobs_workflow_change", args=[workflow.pk]))

    assert [page_of(row) in on_job for row in attestations] == [row.job_id == job.pk for row in attestations]
    assert all(page_of(row) in on_workflow for row in attestations)


def test_attestations_are_found(operator: Client, tenant: Tenant, other_tenant: Tenant) -> None:
    attestation = attest(tenant)
    make_attestation(make_job(other_tenant, status="completed"), worker_id="elsewhere")
    platform = make_attestation(make_job(status="completed"))

    def found(**query: str) -> set[int]:
        return {row.pk for row in operator.get(LIST, query).context["cl"].result_list}

    of_workflow = set(
        Attestation.objects.filter(workflow=attestation.workflow_id).values_list("pk", flat=True)
    )
    assert found(q=str(attestation.job_id)) == {attestation.pk}
    assert found(q=attestation.attestation_key) == {attestation.pk}
    assert found(q=platform.attestation_key) == {platform.pk}
    assert found(q="worker-") == {attestation.pk}
    assert found(q="gen-7") == found(q=str(attestation.workflow_id)) == of_workflow
    assert found(q="nothing") == set()
    assert found(tenant="-") == {platform.pk}
    assert found(created="day", status__exact="failed") == set()


@pytest.mark.parametrize("data", [{"result": "https://cdn.example.com/old.png"}, {}, {"completed_at": 1}])
def test_old_attestations_without_the_request_are_shown(
    operator: Client, tenant: Tenant, data: dict[str, Any]
) -> None:
    workflow = make_workflow(tenant, status="completed")
    attestation = make_attestation(None, tenant=tenant, workflow=workflow, attestation_data=data)

    html = shown(operator, page_of(attestation))

    assert "</span>intact</span>" in html
    assert attestation.attestation_key in shown(operator, LIST)
    assert attestation.attestation_key in shown(
        operator, reverse("admin:jobs_workflow_change", args=[workflow.pk])
    )


def test_a_cleaned_attestation_shows_its_first_digest(operator: Client, tenant: Tenant) -> None:
    attestation = make_attestation(None, tenant=tenant, original_digest="f" * 64)

    assert "f" * 64 in shown(operator, page_of(attestation))
