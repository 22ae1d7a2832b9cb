"""The middle floor's part in the histories of `manage.py seed_demo`: an attestation for every attempt and run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Any

from attestations.models import Submission
from attestations.services.attesting import attestation_of_attempt, attestation_of_run
from jobs.demo.seeding.batches import Batch, Plan
from jobs.demo.seeding.copying import copy_rows, json_text

COLUMNS = (
    "tenant_id",
    "job_id",
    "workflow_id",
    "attestation_key",
    "attestation_type",
    "entity_type",
    "workflow_key",
    "worker_id",
    "status",
    "retry_attempt",
    "attestation_data",
    "digest",
    "started_at",
    "expires_at",
    "created_at",
)
SUBMISSIONS = 8  # of each tenant


def attest_batch(batch: Batch) -> None:
    """Write the attestations of a batch in the order in which they would have come."""
    copy_rows("attestations_attestation", COLUMNS, sorted(_rows(batch), key=lambda row: row[-1]))


def _rows(batch: Batch) -> Iterator[tuple[Any, ...]]:
    for attempt in batch.attempts():
        if attempt.is_attested:
            yield _row(attestation_of_attempt(attempt), attempt.ended_at)
    for run in batch.runs():
        yield _row(attestation_of_run(run), run.ended_at)


def _row(attestation: dict[str, Any], at: datetime) -> tuple[Any, ...]:
    attestation["attestation_data"] = json_text(attestation["attestation_data"])
    return (*(attestation[name] for name in COLUMNS[:-1]), at)


def submit_some(plan: Plan) -> None:
    """Add some submissions that nobody works at: they wait for a reviewer, or were rejected by one."""
    rng = Random(f"{plan.seed}:{plan.now}")  # noqa: S311  nothing secret
    for tenant in plan.tenants:
        for number in range(SUBMISSIONS):
            at = plan.now - timedelta(hours=rng.uniform(0.1, 24 * plan.days))
            Submission.objects.create(
                tenant_id=tenant.id, **_submission(rng, at, is_rejected=number % 3 == 0)
            )


def _submission(rng: Random, at: datetime, *, is_rejected: bool) -> dict[str, Any]:
    fields = {
        "sha256_hash": hashlib.sha256(rng.randbytes(32)).hexdigest(),
        "trace_id": f"{rng.getrandbits(128):032x}",
        "user_id": f"user-{rng.randint(1, 400)}",
        "created_at": at,
    }
    if not is_rejected:
        return fields
    reason = rng.choice(("The picture is not theirs.", "It was submitted before under another name."))
    return {
        **fields,
        "status": Submission.Status.REJECTED,
        "decision": Submission.Decision.REJECTED,
        "decided_at": at + timedelta(minutes=4),
        "decided_by": "ines",
        "decision_reason": reason,
        "failed_at": at + timedelta(minutes=4),
        "failure_reason": reason,
    }
