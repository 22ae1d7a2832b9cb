"""Has the contract record the digests of several proofs, and says line by line how that goes.

All are sent before the first is waited for, so that one block of a slow chain may take them together.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from attestations.chain.client import Registry, open_registry
from attestations.chain.fees import in_gwei
from attestations.chain.purposes import Purpose
from attestations.chain.registering import Registering, Registration
from attestations.chain.sending import Sent
from attestations.chain.signing import gas_of
from attestations.models import Submission
from attestations.proofs.files import InputProof, ProofFile
from attestations.proofs.making import is_valid
from attestations.proofs.protocol import ProofFailed
from attestations.proofs.provers import find_prover
from jobs.models import Workflow

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Digest:
    """One of several, and what has it recorded."""

    place: str  # `2 of 3: name`
    proof: InputProof
    registering: Registering


def record_proofs(file: ProofFile, *, session: Workflow | None, seconds: int, say: Say) -> dict[str, Any]:
    """Have the digests recorded, for a proof session or by hand, within so many seconds of waiting; what came of it.

    Every proof is verified here, and all are looked up before the first is sent. What an earlier run has sent is found
    again. Raises ProofFailed, ProverNotInstalled, ChainNotConfigured, ChainRefused, ChainUnavailable.
    """
    _verify(file, say)
    registry = open_registry()
    say(f"chain {registry.node.chain_id}, contract {registry.address}, sending from {registry.node.sender}")
    digests = _digests_of(file, registry, session)
    for digest in digests:
        digest.registering.refuse_misfit()
        digest.registering.wanted.own_record()
    for digest in digests:
        say(_sending(digest, digest.registering.send()))
    registrations = _wait(digests, min(seconds, settings.CHAIN_RECEIPT_SECONDS), say)
    return _told(file, registry, list(zip(digests, registrations, strict=True)))


def _verify(file: ProofFile, say: Say) -> None:
    """Verify each proof, for the contract does not verify all that it records. Raises ProofFailed("proof_invalid")."""
    is_verified_on_chain = find_prover(file.proof_type).is_verified_on_chain
    began = time.perf_counter()
    for proof in file.proofs:
        if not is_valid(file.proof_type, file.statement_of(proof), proof.proof):
            raise ProofFailed("proof_invalid", f"The proof of {proof.name} proves nothing of its digest.")
    say(f"verified here: all {len(file.proofs)}, in {(time.perf_counter() - began) * 1_000:.0f} ms")
    if not is_verified_on_chain:
        say(_off_chain(file))


def _off_chain(file: ProofFile) -> str:
    """What there is to say of proofs that the contract does not verify."""
    label = dict(Submission.ProofSystem.choices).get(file.proof_type, file.proof_type)
    return f"{label}: verified off chain, its digest is recorded"


def _digests_of(file: ProofFile, registry: Registry, session: Workflow | None) -> list[_Digest]:
    return [
        _Digest(
            place=f"{number} of {len(file.proofs)}: {proof.name}",
            proof=proof,
            registering=Registering(
                registry,
                Purpose.of_session(session, proof.sha256) if session else Purpose(sha256_hash=proof.sha256),
                file.statement_of(proof),
                proof.proof,
                checkpoint=lambda: None,
            ),
        )
        for number, proof in enumerate(file.proofs, 1)
    ]


def _sending(digest: _Digest, sent: Sent | None) -> str:
    """What was done to have it sent."""
    if sent is None:
        return f"found {digest.place}, the chain has it already"
    row = sent.row
    offer = f"nonce {row.nonce}, {gas_of(row.raw):,} gas at most, {in_gwei(row.max_fee_per_gas)} gwei at most"
    how = "sent" if sent.is_new else "sent again, as an earlier run has signed it,"
    return f"{how} {digest.place}, {offer}"


def _wait(digests: list[_Digest], seconds: int, say: Say) -> list[Registration]:
    """Wait for all of them together. Raises ChainUnavailable when that takes longer."""
    began = time.monotonic()
    blocks = settings.CHAIN_CONFIRMATIONS
    say(f"waiting for {blocks} confirmation{'s' if blocks > 1 else ''}, {seconds} s at most")
    registrations = []
    for digest in digests:
        registration = digest.registering.wait(seconds, since=began)
        say(f"transaction {registration.transaction_id} {registration.explorer_url or '-'}")
        say(_recorded(digest, registration))
        registrations.append(registration)
    return registrations


def _recorded(digest: _Digest, registration: Registration) -> str:
    how = "verified" if registration.is_verified_on_chain else "recorded"
    return (
        f"{how} {digest.place}, by the contract in block {registration.block_number:,}, "
        f"{registration.gas_used:,} gas"
    )


def _told(
    file: ProofFile, registry: Registry, recorded: list[tuple[_Digest, Registration]]
) -> dict[str, Any]:
    """What the file of the attestation says."""
    is_verified = all(registration.is_verified_on_chain for _, registration in recorded)
    told = {
        "chainId": registry.node.chain_id,
        "contractAddress": registry.address,
        "verifiedOnChain": is_verified,
        "transactions": [_transaction(digest.proof, registration) for digest, registration in recorded],
    }
    return told if is_verified else told | {"note": _off_chain(file)}


def _transaction(proof: InputProof, registration: Registration) -> dict[str, Any]:
    return {
        "name": proof.name,
        "sha256Hash": proof.sha256,
        "txHash": registration.transaction_id,
        "explorerUrl": registration.explorer_url,
        "blockNumber": registration.block_number,
        "gasUsed": registration.gas_used,
    }
