"""The middle floor's kinds: the two jobs of a submission with the one that follows up, and the three phases of a session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings

from attestations.services.proving import generate
from attestations.services.publishing import publish
from attestations.services.reconciling import RECONCILE, reconcile_transactions
from attestations.services.submissions import GENERATE, PUBLISH
from attestations.sessions import running
from attestations.sessions.phases import ATTEST, VERIFY
from attestations.sessions.phases import GENERATE as MAKE
from jobs.queue.backoff import RetryPolicy
from jobs.queue.envelope import JobEnvelope
from jobs.queue.handlers import NoPayload, handler

# 60 s x 2^n, ten times: 17 h of the 24 that a proof has.
PUBLISHING = RetryPolicy(max_attempts=11, delay_seconds=60, backoff=2, cap_seconds=86_400, jitter=0)


@dataclass(frozen=True)
class GenerateProof:
    """Which submission is to be proved: its hash, 64 hex digits, and how."""

    sha256_hash: str
    proof_system: str


@dataclass(frozen=True)
class PublishProof:
    """Whose stored proof is to be published: its hash, 64 hex digits, and on which contract."""

    sha256_hash: str
    contract_address: str


@handler(
    GENERATE,
    payload=GenerateProof,
    queue="proof-generation",
    timeout_seconds=settings.PROOF_SECONDS + 60,
    retry=RetryPolicy(max_attempts=3, delay_seconds=10),
    is_internal=True,
    declares_output=True,
)
def generate_proof(envelope: JobEnvelope[GenerateProof]) -> dict[str, Any]:
    """Prove that the creator's key is bound to the digest; the proof is the result."""
    return generate(envelope.job_id, attempt=envelope.attempt, checkpoint=envelope.checkpoint)


@handler(
    PUBLISH,
    payload=PublishProof,
    queue="proof-publishing",
    timeout_seconds=settings.CHAIN_RECEIPT_SECONDS + 120,
    retry=PUBLISHING,
    is_internal=True,
    declares_output=True,
)
def publish_proof(envelope: JobEnvelope[PublishProof]) -> dict[str, Any]:
    """Have the chain record the stored proof; the transaction is the result."""
    return publish(
        envelope.job_id,
        envelope.payload.contract_address,
        attempt=envelope.attempt,
        checkpoint=envelope.checkpoint,
    )


@handler(
    RECONCILE,
    payload=NoPayload,
    queue="proof-publishing",
    timeout_seconds=300,
    is_attested=False,
    is_internal=True,
)
def reconcile(envelope: JobEnvelope[NoPayload]) -> dict[str, int]:
    """Find out what became of the transactions of submissions that are over."""
    return reconcile_transactions(checkpoint=envelope.checkpoint)


# A phase is tried again only where its worker was lost; what its program says is final until somebody has it retried.
PHASE_OF_SESSION = RetryPolicy(max_attempts=2, delay_seconds=0, jitter=0)

for phase, run in ((MAKE, running.generate), (VERIFY, running.verify), (ATTEST, running.attest)):
    handler(
        phase.kind,
        payload=NoPayload,
        queue=phase.queue,
        timeout_seconds=phase.seconds + 15,  # the program's own limit comes first
        retry=PHASE_OF_SESSION,
        is_internal=True,
        declares_output=True,
    )(run)
