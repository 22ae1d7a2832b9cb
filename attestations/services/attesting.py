"""Writes attestations, in the transaction that finished what they attest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings

from attestations.canonical import canonical_json
from attestations.models import Attestation
from attestations.models.attestations import document_of
from attestations.truncation import smart_truncate
from jobs.hygiene.sanitizer import sanitize_base64
from jobs.signals import FinishedAttempt, FinishedWorkflow
from jobs.statements import batch, run

SQL = Path(__file__).parent.parent / "sql"
ATTESTATION_MAX_BYTES = 256 * 1024  # of `attestation_data`


def attest_finished_work(
    *, attempts: Sequence[FinishedAttempt], workflows: Sequence[FinishedWorkflow], **_: Any
) -> None:
    """Attest every attempt and workflow run that the transaction at hand has finished, in one statement."""
    attestations = [attestation_of_attempt(attempt) for attempt in attempts if attempt.is_attested]
    attestations += [attestation_of_run(workflow) for workflow in workflows]
    if attestations:
        run("attest", {"attestations": batch(attestations)}, folder=SQL)


def _sealed(row: dict[str, Any]) -> dict[str, Any]:
    """A row of attest.sql, its data shortened to what is kept, with the digest of the document it will be shown as."""
    text = canonical_json(document_of(row))
    if len(text) > ATTESTATION_MAX_BYTES:
        row["attestation_data"] = smart_truncate(row["attestation_data"], ATTESTATION_MAX_BYTES)
        text = canonical_json(document_of(row))
    row["digest"] = hashlib.sha256(text).hexdigest()
    return row


def attestation_key(kind: str, name: str, earlier: int) -> str:
    """The key of an attestation: `worker-completion:job-<id>`, from the second on with `:attempt-<earlier>`."""
    return f"{kind}:{name}:attempt-{earlier}" if earlier else f"{kind}:{name}"


def attestation_of_attempt(attempt: FinishedAttempt) -> dict[str, Any]:
    """A row of attest.sql for an attempt that has ended."""
    is_completed = attempt.outcome == Attestation.Status.COMPLETED
    earlier = attempt.attempt - 1
    word = "worker-completion" if is_completed else "worker-failure"
    asked = (
        {"service_required": attempt.service_required} if attempt.service_required else {"kind": attempt.kind}
    )
    return _sealed(
        {
            "tenant_id": attempt.tenant_id,
            "job_id": attempt.job_id,
            "workflow_id": attempt.workflow_pk,
            "attestation_key": attestation_key(word, f"job-{attempt.job_id}", earlier),
            "attestation_type": (
                Attestation.Type.WORKER_COMPLETION if is_completed else Attestation.Type.WORKER_FAILURE
            ),
            "entity_type": Attestation.EntityType.JOB,
            "workflow_key": attempt.workflow_id,
            "worker_id": attempt.worker,
            "status": attempt.outcome,
            "retry_attempt": earlier,
            "attestation_data": {
                # What came back was cleaned when it was stored.
                "miniapp_req": sanitize_base64(attempt.ctx.get("miniapp_req")),
                "emprops_req_payload": {**asked, "payload": sanitize_base64(attempt.payload)},
                **(
                    {"result": attempt.result, "completed_at": _millis(attempt.ended_at)}
                    if is_completed
                    else {"error": attempt.error, "failed_at": _millis(attempt.ended_at)}
                ),
            },
            "started_at": attempt.started_at,
            "expires_at": _expiry(attempt.ended_at),
        }
    )


def attestation_of_run(workflow: FinishedWorkflow) -> dict[str, Any]:
    """A row of attest.sql for a run of a workflow that has ended."""
    is_completed = workflow.status == Attestation.Status.COMPLETED
    earlier = workflow.attempt - 1
    word = "workflow-completion" if is_completed else "workflow-failure"
    return _sealed(
        {
            "tenant_id": workflow.tenant_id,
            "job_id": None,
            "worker_id": "",
            "workflow_id": workflow.pk,
            "attestation_key": attestation_key(word, workflow.workflow_id, earlier),
            "attestation_type": (
                Attestation.Type.WORKFLOW_COMPLETION if is_completed else Attestation.Type.WORKFLOW_FAILURE
            ),
            "entity_type": Attestation.EntityType.WORKFLOW,
            "workflow_key": workflow.workflow_id,
            "status": workflow.status,
            "retry_attempt": earlier,
            "attestation_data": {
                "miniapp_req": sanitize_base64(workflow.miniapp_req),
                "workflow_outputs": workflow.outputs,
                "total_steps": workflow.total_steps,
                "completed_steps": workflow.completed_steps,
                **(
                    {"completed_at": _millis(workflow.ended_at)}
                    if is_completed
                    else {"error": workflow.error, "failed_at": _millis(workflow.ended_at)}
                ),
            },
            "started_at": None,
            "expires_at": _expiry(workflow.ended_at),
        }
    )


def _millis(moment: datetime) -> int:
    """Milliseconds since 1970, as every time inside an attestation."""
    return int(moment.timestamp() * 1000)


def _expiry(moment: datetime) -> datetime:
    return moment + timedelta(days=settings.ATTESTATION_RETENTION_DAYS)
