"""Makes the proof of a submission: what the job on the queue proof-generation does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from attestations.chain.configuration import submitter_address
from attestations.chain.errors import ChainNotConfigured
from attestations.models import Submission
from attestations.proofs.making import make_proof
from attestations.proofs.protocol import NOBODY, ProofFailed, ProverNotInstalled, Statement
from attestations.services.creators import CREATOR_UNREADABLE, creator_of
from jobs.queue.handlers import PermanentError, TryAgain
from jobs.tenancy.sealing import Unreadable


def generate(job_id: UUID, *, attempt: int, checkpoint: Callable[[], None]) -> dict[str, Any]:
    """Prove that the tenant's key is bound to a digest, for the address that will publish the proof.

    The answer is the job's result, of which the submission takes the proof when it is stored. Raises PermanentError,
    and TryAgain where another attempt may find more memory or time.
    """
    submission = find_submission(job_id, Submission.Status.PROOF_GENERATION)
    Submission.objects.filter(pk=submission.pk).update(
        generation_retry_count=attempt - 1, generation_started_at=timezone.now()
    )
    try:
        creator = creator_of(submission.tenant_id)
    except Unreadable as error:
        raise TryAgain(CREATOR_UNREADABLE, code="creator_key_unreadable") from error
    submitter, contract_address = _publisher()
    statement = Statement(
        commitment=creator.commitment, digest=bytes.fromhex(submission.sha256_hash), submitter=submitter
    )
    try:
        made = make_proof(submission.proof_system, statement, creator.secret, checkpoint=checkpoint)
    except ProverNotInstalled as missing:
        raise PermanentError(str(missing), code="prover_not_installed") from missing
    except ProofFailed as failure:
        raise TryAgain(str(failure), code=failure.code) from failure
    return {
        "proof": made.proof,
        "proof_system": submission.proof_system,
        "sha256_hash": submission.sha256_hash,
        "commitment": f"{creator.commitment:#066x}",
        "submitter": submitter,
        "contract_address": contract_address,
        "stages": made.stages,
        "peak_mb": made.peak_mb,
    }


def find_submission(job_id: UUID, status: Submission.Status) -> Submission:
    """The submission that a job was started for, in the state in which the job wants it. Raises PermanentError."""
    submission = Submission.objects.filter(workflow__jobs=job_id).first()
    if submission is None:
        raise PermanentError(
            "No submission waits for this job: it goes on in another run.", code="not_wanted"
        )
    if submission.status != status:
        raise PermanentError(f"The submission is {submission.status}, not {status}.", code="not_wanted")
    return submission


def _publisher() -> tuple[str, str]:
    """Who will publish the proof, and where; nobody, where there is no chain."""
    try:
        return submitter_address(), settings.CONTRACT_ADDRESS
    except ChainNotConfigured:
        return NOBODY, ""
