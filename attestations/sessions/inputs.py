"""What a session proves: three facts of its tenant's, as they are when it begins."""

from __future__ import annotations

from typing import Any

from attestations.models import Attestation
from jobs.models import Workflow

NEWEST = 3


def inputs_of(session: Workflow) -> dict[str, dict[str, Any]]:
    """The documents by name, each told apart from those of every other session: a digest is recorded only once.

    What is proved of each is the SHA-256 of its canonical JSON.
    """
    mine = {"sessionId": session.session_id, "tenant": session.tenant.slug}
    return {
        "request": {**mine, "proofType": session.data["proofType"], "requestedBy": session.actor_id}
        | {"requestedAt": session.created_at.isoformat(), "traceId": session.trace_id},
        "attestations": {**mine, "attestations": _newest_attestations(session)},
        "workflows": {**mine, "workflows": _newest_workflows(session)},
    }


def _newest_attestations(session: Workflow) -> dict[str, str]:
    """Digests by key."""
    rows = Attestation.objects.filter(tenant=session.tenant_id).order_by("-id")
    return dict(rows.values_list("attestation_key", "digest")[:NEWEST])


def _newest_workflows(session: Workflow) -> dict[str, str]:
    """Statuses by name, of those before this one."""
    rows = Workflow.objects.filter(tenant=session.tenant_id, pk__lt=session.pk).order_by("-id")
    return dict(rows.values_list("workflow_id", "status")[:NEWEST])
