"""Submitting, reviewing and publishing: the verbs of submissions.

A submission is reviewed as a record; from its approval on a workflow of two jobs does the work, one job proving and the
other publishing, and what ends them moves the submission (see following.py).
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from attestations.chain.configuration import submitter_address
from attestations.chain.errors import ChainNotConfigured
from attestations.models import Submission
from attestations.proofs.protocol import ProverNotInstalled
from attestations.proofs.provers import find_prover
from attestations.services.pictures import Picture, forget_picture, store_picture
from attestations.signals import submissions_ended
from config.tracing import Trace, bound_trace, current_trace
from jobs.errors import InvalidInput, InvalidTransition, WorkflowExists
from jobs.models import Tenant, Workflow
from jobs.models.evaluation import NOT_EVALUATED
from jobs.services.workflows import Step, cancel_workflow, start_workflow
from jobs.workflows.locks import lock_with_steps

GENERATE = "submissions.generate_proof"
PUBLISH = "submissions.publish_proof"
PUBLISH_WITHIN = timedelta(hours=24)  # of the proof
REASON_CHARS = 2_000
NAMES_TRIED = 50

_HASH = re.compile(r"[0-9a-f]{64}")
Status = Submission.Status


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSubmission:
    """What a client submits: the SHA-256 of a picture in 64 lowercase hex digits, with the picture or without."""

    sha256_hash: str
    picture: Picture | None = None
    proof_system: str = Submission.ProofSystem.GROTH16
    user_id: str = ""
    is_approved: bool = False


def submit(tenant: Tenant, new: NewSubmission, *, actor_id: str) -> tuple[Submission, bool]:
    """Take a submission, and whether it is new: of a tenant's hash there is one that is not rejected.

    One that was submitted by its hash alone is given the picture that comes later; nothing else of it changes.
    Raises InvalidInput for what is no hash, and for a proof system that nothing here proves with.
    """
    if not _HASH.fullmatch(new.sha256_hash):
        raise InvalidInput.at("/sha256_hash", "hash_invalid", "A SHA-256 is 64 lowercase hex digits.")
    _refuse_missing_prover(new.proof_system)
    path = ""
    pictured = Submission.objects.of_tenant(tenant).live().exclude(image="")
    if new.picture and not pictured.filter(sha256_hash=new.sha256_hash).exists():
        path = store_picture(new.picture, tenant_slug=tenant.slug, sha256_hash=new.sha256_hash)
    try:
        with transaction.atomic():
            submission, is_new = _take(tenant, new, path, actor_id=actor_id)
            if is_new and new.is_approved:
                _approve(submission, by=actor_id, reason="Approved as it was submitted.")
    except BaseException:
        forget_picture(path)
        raise
    if path and submission.image != path:
        forget_picture(path)
    return submission, is_new


def approve_submission(submission: Submission, *, by: str, reason: str = "") -> Submission:
    """Let a submission be proved and published. Raises InvalidTransition unless it awaits its review."""
    with transaction.atomic():
        locked = _locked(submission)
        if locked.status != Status.AWAITING_REVIEW:
            raise InvalidTransition(
                f"The submission is {locked.status}; only one that awaits review is approved."
            )
        _approve(locked, by=by, reason=reason)
    submission.refresh_from_db()
    return submission


def reject_submission(submission: Submission, *, by: str, reason: str) -> Submission:
    """Reject a submission: at once where no job is at it, else when its workflow has been cancelled.

    Raises InvalidTransition when it has ended, and InvalidInput without a reason, which its creator is told.
    """
    if not reason.strip():
        raise InvalidInput.at("/reason", "required", "Say why: its creator is told.")
    with transaction.atomic():
        # Jobs and workflow before the submission, as whoever ends a job locks them.
        workflow = _lock_workflow(submission)
        locked = _locked(submission)
        if locked.is_final:
            raise InvalidTransition(f"The submission is {locked.status} already.")
        if locked.workflow_id != submission.workflow_id:
            raise InvalidTransition("The submission has changed meanwhile; look at it again.")
        _note_decision(locked, Submission.Decision.REJECTED, by=by, reason=reason)
        locked.save(update_fields=["decision", "decided_at", "decided_by", "decision_reason"])
        if workflow and workflow.status == Workflow.Status.RUNNING:
            cancel_workflow(workflow, by=by, reason=reason)
        else:
            _judge_again(locked)
            end_submissions([locked], {locked.pk: rejection_of(locked)})
    submission.refresh_from_db()
    return submission


def publish_submission(submission: Submission, *, by: str, reason: str = "") -> Submission:
    """Publish what was skipped, now that there is a chain: its proof is used, if it is bound to who publishes.

    Raises InvalidTransition unless publishing was skipped, or while there still is no chain.
    """
    try:
        submitter = submitter_address()
    except ChainNotConfigured as missing:
        raise InvalidTransition(f"It can't be published yet: {missing}.") from missing
    with transaction.atomic():
        _judge_again(submission)
        locked = _locked(submission)
        if locked.status != Status.PROOF_PUBLISHING or not locked.skipped_reason:
            raise InvalidTransition("Only a submission whose publishing was skipped is published again.")
        if locked.submitter.lower() != submitter.lower():
            locked.status, locked.proof_json, locked.proof_digest = Status.PROOF_GENERATION, "", ""
        locked.skipped_reason = ""
        _start_run(locked, by=by)
        locked.save()
    submission.refresh_from_db()
    return submission


def end_submissions(submissions: list[Submission], reasons: dict[Any, str]) -> None:
    """Store that submissions have ended, in the caller's transaction: rejected for a reason, or else complete.

    What was rejected keeps no picture: whoever has its address could look at it. The number of statements does not
    grow with the submissions.
    """
    for submission in submissions:
        submission.proof_json = submission.skipped_reason = ""
        if reason := reasons.get(submission.pk):
            _end_rejected(submission, reason)
        else:
            _end_complete(submission)
    Submission.objects.bulk_update(submissions, ENDED_FIELDS)
    submissions_ended.send(sender=None, submissions=submissions)


def _end_rejected(submission: Submission, reason: str) -> None:
    submission.status, submission.failed_at = Status.REJECTED, timezone.now()
    submission.failure_reason = reason[:REASON_CHARS]
    path, submission.image = submission.image, ""
    transaction.on_commit(lambda: forget_picture(path), robust=True)


def _end_complete(submission: Submission) -> None:
    submission.status, submission.verified_at = Status.COMPLETE, timezone.now()
    if submission.decision == Submission.Decision.REJECTED:
        late = f"Approved before; {rejection_of(submission)[:900]} That came too late."
        submission.decision, submission.decision_reason = Submission.Decision.APPROVED, late


ENDED_FIELDS = [
    "status",
    "image",
    "decision",
    "decision_reason",
    "proof_json",
    "failed_at",
    "failure_reason",
    "verified_at",
    "chain_id",
    "contract_address",
    "transaction_id",
    "block_number",
    "is_verified_on_chain",
    "skipped_reason",
    "publishing_stages",
]


def rejection_of(submission: Submission) -> str:
    """What a reviewer who rejected a submission has said."""
    return f"Rejected by {submission.decided_by}: {submission.decision_reason}"


def _refuse_missing_prover(system: str) -> None:
    try:
        find_prover(system)
    except ProverNotInstalled as missing:
        raise InvalidInput.at("/proof_system", "prover_not_installed", str(missing)) from missing


def _take(tenant: Tenant, new: NewSubmission, path: str, *, actor_id: str) -> tuple[Submission, bool]:
    """The submission of this hash that is not rejected, stored now where there is none; locked, and whether it is new."""
    trace = current_trace()
    image = (
        {
            "image": path,
            "image_content_type": new.picture.content_type,
            "image_bytes": new.picture.size,
        }
        if new.picture and path
        else {}
    )
    row = Submission(
        tenant=tenant,
        sha256_hash=new.sha256_hash,
        proof_system=new.proof_system,
        user_id=new.user_id,
        actor_id=actor_id,
        trace_id=trace.trace_id,
        request_id=trace.request_id,
        **image,
    )
    submission = None
    while submission is None:
        # Two at once: the second waits for the first, and takes what that has stored; unless it is rejected just then.
        Submission.objects.bulk_create([row], ignore_conflicts=True)
        live = Submission.objects.of_tenant(tenant).live().select_for_update(of=("self",))
        submission = live.filter(sha256_hash=new.sha256_hash).first()
    if submission.pk != row.pk and image and not submission.image:
        for name, value in image.items():
            setattr(submission, name, value)
        submission.save(update_fields=list(image))
    return submission, submission.pk == row.pk


def _approve(submission: Submission, *, by: str, reason: str) -> None:
    _note_decision(submission, Submission.Decision.APPROVED, by=by, reason=reason)
    submission.status = Status.PROOF_GENERATION
    _start_run(submission, by=by)
    submission.save()


def _note_decision(submission: Submission, decision: Submission.Decision, *, by: str, reason: str) -> None:
    submission.decision, submission.decided_at = decision, timezone.now()
    submission.decided_by, submission.decision_reason = by, reason


def _start_run(submission: Submission, *, by: str) -> None:
    """Start the workflow that does what is left of a submission, under the trace it was submitted with."""
    for _ in range(NAMES_TRIED):
        submission.runs += 1
        try:
            submission.workflow = _start_workflow(submission, by=by)
        except WorkflowExists:  # a client has taken the name for a workflow of its own
            continue
        return
    raise WorkflowExists(f"All names up to {submission.latest_workflow_id!r} are taken by other workflows.")


def _start_workflow(submission: Submission, *, by: str) -> Workflow:
    workflow_id = submission.latest_workflow_id
    with bound_trace(Trace(submission.trace_id, submission.request_id)):
        workflow, _ = start_workflow(
            submission.tenant,
            workflow_id=workflow_id,
            kind=Workflow.Kind.SUBMISSION,
            steps=_steps(submission),
            actor_id=by,
            user_id=submission.user_id,
            data={
                "submission_id": str(submission.pk),
                "sha256_hash": submission.sha256_hash,
                "proof_system": submission.proof_system,
            },
            miniapp_req={
                "request_body": {
                    "sha256_hash": submission.sha256_hash,
                    "proof_system": submission.proof_system,
                    "workflow_id": workflow_id,
                },
                "user_context": {"user_id": submission.user_id or None, "actor_id": submission.actor_id},
                "metadata": {
                    "timestamp": time.time_ns() // 1_000_000,
                    "request_id": submission.request_id or workflow_id,
                },
            },
        )
    return workflow


def _steps(submission: Submission) -> list[Step]:
    """What is left to do: both jobs, or the second alone where the proof is there."""
    named = {"sha256_hash": submission.sha256_hash}
    only_one_at_a_time = {"singleton_key": submission.sha256_hash}
    if submission.status == Status.PROOF_PUBLISHING:
        payload = {**named, "contract_address": settings.CONTRACT_ADDRESS}
        options = {**only_one_at_a_time, "expires_in_seconds": PUBLISH_WITHIN.total_seconds()}
        return [Step(name="publish", kind=PUBLISH, payload=payload, options=options)]
    # The address is that of the chain whose sender the proof is bound to.
    payload = {**named, "contract_address": "${steps.generate.result.contract_address}"}
    return [
        Step(name="generate", kind=GENERATE, payload={**named, "proof_system": submission.proof_system}),
        Step(name="publish", kind=PUBLISH, payload=payload, options=only_one_at_a_time),
    ]


def _lock_workflow(submission: Submission) -> Workflow | None:
    """Lock the workflow of its last run with its jobs; None where there is none, or it has been forgotten."""
    try:
        return lock_with_steps(submission.workflow_id)[0] if submission.workflow_id else None
    except Workflow.DoesNotExist:
        return None


def _judge_again(submission: Submission) -> None:
    """Have the evaluator look again at the run that is over: what it lacked is made up for, or not wanted any more."""
    Workflow.objects.filter(submissions=submission).update(**NOT_EVALUATED)


def _locked(submission: Submission) -> Submission:
    rows = Submission.objects.select_for_update(of=("self",)).select_related("tenant")
    return rows.get(pk=submission.pk)
