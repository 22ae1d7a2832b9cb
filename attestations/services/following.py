"""Moves submissions on when their jobs end, in the transaction that ended them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models.functions import Now

from attestations.canonical import canonical_json, digest_of
from attestations.models import Submission
from attestations.services.submissions import (
    GENERATE,
    PUBLISH,
    PUBLISH_WITHIN,
    end_submissions,
    rejection_of,
)
from jobs.errors import InvalidTransition
from jobs.models import Job, Workflow
from jobs.signals import FinishedAttempt, FinishedWorkflow

Status = Submission.Status
PROVED_FIELDS = [
    "status",
    "commitment",
    "submitter",
    "proof_json",
    "proof_digest",
    "generation_stages",
]
SKIPPED_FIELDS = ["skipped_reason", "publishing_stages"]
REGISTERED_FIELDS = ("chain_id", "contract_address", "transaction_id", "block_number", "is_verified_on_chain")


def follow_finished_work(
    *, attempts: Sequence[FinishedAttempt], workflows: Sequence[FinishedWorkflow], **_: Any
) -> None:
    """Store the proofs that were made, what was published, and the end of submissions whose work has failed.

    The number of statements does not grow with the batch.
    """
    proved = _results(attempts, GENERATE)
    published = _results(attempts, PUBLISH)
    lost = {
        workflow.pk: workflow
        for workflow in workflows
        if workflow.kind == Workflow.Kind.SUBMISSION and workflow.status != Workflow.Status.COMPLETED
    }
    keys = {*proved, *published, *lost}
    if not keys:
        return
    rows = Submission.objects.filter(workflow__in=keys).order_by("pk").select_for_update(of=("self",))
    of_workflow = {row.workflow_id: row for row in rows if row.workflow_id}
    # A step that outlasts its workflow has nothing to say of a submission that has ended, or runs anew.
    _store_proofs(_those(of_workflow, proved, Status.PROOF_GENERATION))
    _store_publications(_those(of_workflow, published, Status.PROOF_PUBLISHING))
    _reject([(row, lost[key]) for key, row in of_workflow.items() if key in lost and not row.is_final])


def refuse_rerun(workflow: Workflow) -> None:
    """A rejected submission is over, and its proof is gone: raises InvalidTransition."""
    if workflow.kind == Workflow.Kind.SUBMISSION:
        raise InvalidTransition("Its submission was rejected with it: submit the picture again.")


def _results(attempts: Sequence[FinishedAttempt], kind: str) -> dict[UUID, dict[str, Any]]:
    return {
        attempt.workflow_pk: attempt.result
        for attempt in attempts
        if attempt.kind == kind and attempt.outcome == Job.Status.COMPLETED and attempt.workflow_pk
    }


def _those(
    rows: dict[UUID, Submission], results: dict[UUID, dict[str, Any]], status: str
) -> list[tuple[Submission, dict[str, Any]]]:
    """The submissions that wait for such a result, each with its own."""
    return [(row, results[key]) for key, row in rows.items() if key in results and row.status == status]


def _store_proofs(proved: Sequence[tuple[Submission, dict[str, Any]]]) -> None:
    """Keep the proofs until they are published, for which there is as much time from now on."""
    for submission, result in proved:
        submission.status = Status.PROOF_PUBLISHING
        submission.proof_json = canonical_json(result["proof"]).decode()
        submission.proof_digest = digest_of(result["proof"])
        submission.generation_stages = result["stages"]
        submission.commitment, submission.submitter = result["commitment"], result["submitter"]
    if proved:
        submissions = [submission for submission, _ in proved]
        Submission.objects.bulk_update(submissions, PROVED_FIELDS)
        following = Job.objects.filter(workflow__in=[row.workflow_id for row in submissions], kind=PUBLISH)
        following.filter(status=Job.Status.QUEUED).update(expires_at=Now() + PUBLISH_WITHIN)


def _store_publications(published: Sequence[tuple[Submission, dict[str, Any]]]) -> None:
    complete, skipped = [], []
    for submission, result in published:
        submission.skipped_reason = result.get("skipped", "")
        submission.publishing_stages = result["stages"]
        if submission.skipped_reason:
            skipped.append(submission)
            continue
        for name in REGISTERED_FIELDS:
            setattr(submission, name, result[name])
        complete.append(submission)
    if skipped:
        Submission.objects.bulk_update(skipped, SKIPPED_FIELDS)
    if complete:
        end_submissions(complete, {})


def _reject(lost: Sequence[tuple[Submission, FinishedWorkflow]]) -> None:
    if not lost:
        return
    end_submissions(
        [submission for submission, _ in lost],
        {submission.pk: _reason(submission, workflow) for submission, workflow in lost},
    )
    # A step that is of no use any more must not hold the key that the hash's next submission takes.
    unbegun = Job.objects.filter(
        workflow__in=[workflow.pk for _, workflow in lost],
        status__in=[Job.Status.WAITING, Job.Status.QUEUED],
    )
    unbegun.update(singleton_key="")


def _reason(submission: Submission, workflow: FinishedWorkflow) -> str:
    if submission.decision == Submission.Decision.REJECTED:
        return rejection_of(submission)
    error = workflow.error or {}
    return error.get("message") or error.get("code") or f"Its workflow has {workflow.status}."
