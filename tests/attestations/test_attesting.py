"""What each attestation says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from attestations.models import Attestation
from jobs.models import Tenant
from jobs.queue.claim import Lease
from jobs.queue.finish import finish
from jobs.queue.outcomes import Outcome, make_error
from tests.conftest import ApiClient
from tests.factories import make_job, make_workflow


def end(job: Any, **outcome: Any) -> Attestation:
    finish([Outcome(lease=Lease(job.pk, job.lease_token), **outcome)])
    return Attestation.objects.get(job=job)


def test_a_completion_says_what_was_asked_sent_and_answered(tenant: Tenant) -> None:
    job = make_job(
        tenant,
        service_required="comfyui",
        status="running",
        worker="comfyui-gpu0",
        payload={"prompt": "sunset", "width": 1024},
        ctx={"miniapp_req": {"request_body": {"variables": {"style": "realistic"}}}},
    )

    attestation = end(job, status="completed", result="https://cdn.example.com/output.png")

    document = attestation.as_document()
    completed_at = document["attestation_data"].pop("completed_at")
    assert document == {
        "attestation_key": f"worker-completion:job-{job.pk}",
        "attestation_type": "worker_completion",
        "entity_type": "job",
        "redis_step_id": str(job.pk),
        "redis_workflow_id": None,
        "worker_id": "comfyui-gpu0",
        "status": "completed",
        "retry_attempt": 0,
        "attestation_data": {
            "miniapp_req": {"request_body": {"variables": {"style": "realistic"}}},
            "emprops_req_payload": {
                "service_required": "comfyui",
                "payload": {"prompt": "sunset", "width": 1024},
            },
            "result": "https://cdn.example.com/output.png",
        },
    }
    job.refresh_from_db()
    assert job.completed_at is not None
    assert completed_at == int(job.completed_at.timestamp() * 1000)


def test_a_failure_says_why(tenant: Tenant) -> None:
    job = make_job(tenant, status="running")

    attestation = end(job, status="failed", error=make_error("oom", "no memory"))

    assert (attestation.attestation_type, attestation.status) == ("worker_failure", "failed")
    assert attestation.attestation_data["error"] == {"code": "oom", "message": "no memory"}
    assert attestation.attestation_data["emprops_req_payload"] == {"kind": "system.ping", "payload": {}}
    assert "result" not in attestation.attestation_data


def test_a_cancelled_attempt_is_attested_as_such(tenant: Tenant) -> None:
    job = make_job(tenant, status="running")

    attestation = end(job, status="cancelled", error=make_error("cancelled", "Enough."))

    assert (attestation.attestation_type, attestation.status) == ("worker_failure", "cancelled")


def test_an_attestation_is_kept_for_its_retention_time(tenant: Tenant, settings: Any) -> None:
    settings.ATTESTATION_RETENTION_DAYS = 3

    attestation = end(make_job(tenant, status="running"), status="completed")

    assert abs(attestation.expires_at - attestation.created_at - timedelta(days=3)) < timedelta(minutes=1)


def test_the_digest_covers_everything_that_is_shown(tenant: Tenant) -> None:
    attestation = end(make_job(tenant, status="running"), status="completed", result={"x": 1.5})

    assert attestation.is_intact
    attestation.worker_id = "somebody else"
    assert not attestation.is_intact


def test_old_attestations_without_the_request_are_read(api: ApiClient, tenant: Tenant) -> None:
    workflow = make_workflow(tenant, workflow_id="old-1")
    old = Attestation(
        tenant=tenant,
        workflow=workflow,
        workflow_key="old-1",
        attestation_key="workflow-completion:old-1",
        attestation_type="workflow_completion",
        entity_type="workflow",
        status="completed",
        attestation_data={"workflow_outputs": []},
        expires_at=workflow.created_at + timedelta(days=7),
    )
    old.digest = old.compute_digest()
    old.save()

    body = api.send("get", "/api/workflows/old-1/all-attestations").json()

    assert body["attestations"][0]["attestation_data"] == {"workflow_outputs": []}
