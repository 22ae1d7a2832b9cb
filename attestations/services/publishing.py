"""Publishes the proof of a submission: what the job on the queue proof-publishing does.

Whatever fails, the proof stays as it was stored, and no other is made.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from attestations.chain.configuration import submitter_address
from attestations.chain.errors import ChainNotConfigured, ChainRefused, ChainUnavailable
from attestations.chain.purposes import Purpose
from attestations.models import Submission
from attestations.proofs.making import is_valid
from attestations.proofs.protocol import ProofFailed, Statement
from attestations.services.proving import find_submission
from jobs.queue.handlers import PermanentError, TryAgain

# What an operator can put right within the time that a proof has, or what a node that lags behind says.
REPAIRABLE = ("no_contract", "wrong_contract", "not_operator")
BOUND_TO_ANOTHER = "the proof is bound to another submitter; publish it again to have it proved anew"


def publish(
    job_id: UUID,
    contract_address: str,
    *,
    attempt: int,
    checkpoint: Callable[[], None],
) -> dict[str, Any]:
    """Have the chain record the stored proof, or find that it has; or say why that is skipped.

    The answer is the job's result, of which the submission takes the transaction when it is stored. Raises
    PermanentError for what the chain will never take, and TryAgain.
    """
    submission = find_submission(job_id, Submission.Status.PROOF_PUBLISHING)
    stages = _Stages(submission)
    stages.begin(retries=attempt - 1)
    with stages.timed("load"):
        statement, proof = _load(submission)
    try:
        submitter = submitter_address()
    except ChainNotConfigured as missing:
        return {"skipped": str(missing), "stages": stages.seconds}
    if submission.submitter.lower() != submitter.lower():
        return {"skipped": BOUND_TO_ANOTHER, "stages": stages.seconds}
    return _register(
        submission, statement, proof, contract_address or settings.CONTRACT_ADDRESS, stages, checkpoint
    )


def _load(submission: Submission) -> tuple[Statement, dict[str, Any]]:
    """The stored proof with what it proves; raises PermanentError where it is not what was stored."""
    statement = Statement(
        commitment=int(submission.commitment, 16),
        digest=bytes.fromhex(submission.sha256_hash),
        submitter=submission.submitter,
    )
    proof = json.loads(submission.proof_json)
    try:
        is_proved = is_valid(submission.proof_system, statement, proof)
    except ProofFailed as failure:  # the keys, not the proof
        raise TryAgain(str(failure), code=failure.code) from failure
    if not is_proved:
        raise PermanentError("The stored proof does not prove this submission.", code="proof_invalid")
    return statement, proof


def _register(
    submission: Submission,
    statement: Statement,
    proof: dict[str, Any],
    contract_address: str,
    stages: _Stages,
    checkpoint: Callable[[], None],
) -> dict[str, Any]:
    # Loaded where it is needed: no other process carries web3.
    from attestations.chain.registering import register

    try:
        registration = register(
            Purpose.of_submission(submission),
            statement,
            proof,
            contract_address=contract_address,
            stage=stages.note,
            checkpoint=checkpoint,
        )
    except ChainUnavailable as reason:
        raise TryAgain(str(reason), code="chain_unavailable") from reason
    except ChainRefused as refused:
        if refused.code in REPAIRABLE:
            raise TryAgain(str(refused), code=refused.code) from refused
        raise PermanentError(str(refused), code=refused.code) from refused
    return {
        "transaction_id": registration.transaction_id,
        "chain_id": registration.chain_id,
        "contract_address": contract_address,
        "block_number": registration.block_number,
        "gas_used": registration.gas_used,
        "submitter": registration.submitter,
        "is_verified_on_chain": registration.is_verified_on_chain,
        "stages": stages.seconds,
    }


class _Stages:
    """How many seconds each stage of this attempt took, kept on the submission while it runs."""

    def __init__(self, submission: Submission) -> None:
        self.seconds: dict[str, float] = {}
        self._row = Submission.objects.filter(pk=submission.pk)

    def begin(self, *, retries: int) -> None:
        self._row.update(
            publishing_retry_count=retries, publishing_started_at=timezone.now(), publishing_stages={}
        )

    def note(self, stage: str, seconds: float) -> None:
        self.seconds[stage] = round(seconds, 3)
        self._row.update(publishing_stages=self.seconds)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.note(stage, time.perf_counter() - began)
