"""The middle floor's rules: what has ended has left its attestations, and a submission's proof is on the chain."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from attestations.models import Submission
from attestations.services.attesting import attestation_key
from jobs.evaluator.rules import Finding, Units
from jobs.models import Job, ProblemType, Workflow
from jobs.queue.handlers import attested_kinds
from jobs.statements import run

SQL = Path(__file__).parent / "sql"
NAMED_MAX = 5
ITS_WORKFLOW = ("workflow__workflow_id", "workflow__trace_id", "workflow__completed_at")
WHAT_TO_DO = [
    "An attestation is written together with what it attests: find out who has written to the database by hand.",
    "It can't be written afterwards; where the evidence is needed, submit the work again.",
]


def find_unattested(units: Units) -> Iterator[Finding]:
    """Units with an attempt or a run that has left no attestation, within the time that attestations are kept."""
    is_job = units.model is Job
    rows = run(
        "find_unattested_jobs" if is_job else "find_unattested_workflows",
        {
            "ids": list(units.ids),
            "attested": attested_kinds(),
            "kept_since": timezone.now() - timedelta(days=settings.ATTESTATION_RETENTION_DAYS),
        },
        folder=SQL,
    )
    for row in rows:
        missing, where = _of_job(row) if is_job else _of_workflow(row)
        yield Finding(
            unit_id=row.id,
            problem_type=ProblemType.ATTESTATION_MISSING,
            missing=missing,
            where=where | {"trace_id": row.trace_id},
            since=row.ended_at,
            what_to_do=WHAT_TO_DO,
        )


def _of_job(row: Any) -> tuple[str, dict[str, Any]]:
    attempts = ", ".join(str(number) for number in row.lacking)
    return f"There is no attestation of attempt {attempts} of the job {row.kind or row.service_required}.", {
        "job_id": str(row.id),
        "attempts": row.lacking,
        "worker": row.worker,
    }


def _of_workflow(row: Any) -> tuple[str, dict[str, Any]]:
    where: dict[str, Any] = {"workflow_id": row.workflow_id, "run": row.run}
    lacking = []
    if row.runs:
        # Of an earlier run: it was retried, and so had failed.
        keys = [_key_of_run(row, run) for run in row.runs]
        where["attestation_keys"] = keys
        lacking.append(f"its own attestation{'s' if len(keys) > 1 else ''} {', '.join(keys[:NAMED_MAX])}")
    if row.jobs:
        where["job_ids"] = row.jobs
        lacking.append(f"that of an attempt of {len(row.jobs)} of its jobs")
    return f"It has ended without {' and '.join(lacking)}.", where


def _key_of_run(row: Any, run: int) -> str:
    is_completion = run == row.run and row.status == "completed"
    word = "workflow-completion" if is_completion else "workflow-failure"
    return attestation_key(word, row.workflow_id, run - 1)


def find_unpublished(units: Units) -> Iterator[Finding]:
    """Completed workflows of submissions whose publishing was skipped: what they were started for is not there."""
    if units.model is not Workflow:
        return
    kept = Submission.objects.filter(status=Submission.Status.PROOF_PUBLISHING)
    skipped = kept.filter(workflow__in=units.ids).exclude(skipped_reason="")
    for submission in skipped.select_related("workflow").only("skipped_reason", "sha256_hash", *ITS_WORKFLOW):
        workflow = submission.workflow
        assert workflow
        yield Finding(
            unit_id=workflow.pk,
            problem_type=ProblemType.MISSING_OUTPUT,
            missing=f"The proof is stored and not published. Skipped: {submission.skipped_reason}.",
            where={
                "submission_id": str(submission.pk),
                "sha256_hash": submission.sha256_hash,
                "workflow_id": workflow.workflow_id,
                "trace_id": workflow.trace_id,
            },
            since=workflow.completed_at,
            what_to_do=[
                "Set CHAIN_RPC_URL, PRIVATE_KEY and CONTRACT_ADDRESS (docs/chain.md) and restart the clusters.",
                f"Then publish it: POST /api/submissions/{submission.pk}/publish, or on its page in the monitor.",
            ],
        )
