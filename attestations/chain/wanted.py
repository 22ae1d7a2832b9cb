"""What is wanted of the contract for a digest, and what the chain has of it already."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from attestations.canonical import digest_of
from attestations.chain.client import Call, Receipt, Record, Registry
from attestations.chain.errors import ChainRefused, ChainUnavailable
from attestations.chain.purposes import Purpose
from attestations.chain.transactions import Status, sent_for
from attestations.models import ChainTransaction
from attestations.proofs.groth16 import calldata_of
from attestations.proofs.protocol import ProofFailed, Statement
from attestations.proofs.provers import find_prover


class Wanted:
    """The record of a digest. Every method asks the chain anew, and raises ChainUnavailable."""

    def __init__(
        self, registry: Registry, purpose: Purpose, statement: Statement, proof: dict[str, Any]
    ) -> None:
        self.registry, self.node = registry, registry.node
        self.purpose, self.statement, self.proof = purpose, statement, proof
        self._events: dict[Record, str] = {}

    @property
    def is_verified_on_chain(self) -> bool:
        """Whether the contract verifies such proofs."""
        return find_prover(str(self.proof.get("system"))).is_verified_on_chain

    def refuse_misfit(self) -> None:
        """Raise ChainRefused where this key or contract can't publish this proof."""
        sender, bound_to = self.node.sender, self.statement.submitter
        if bound_to.lower() != sender.lower():
            raise ChainRefused(
                "proof_refused", f"The proof is bound to {bound_to}; PRIVATE_KEY is that of {sender}."
            )
        if self.is_verified_on_chain and self.registry.verifying_key_digest() != self.proof["verifying_key"]:
            raise ChainRefused(
                "wrong_contract",
                f"The contract at {self.registry.address} verifies with another key than the proof was made for.",
            )

    def call(self) -> Call:
        """Have the contract verify the proof, or record that it was verified here."""
        digest, commitment = self.statement.digest, self.statement.commitment
        if not self.is_verified_on_chain:
            return self.registry.record_call(digest, commitment, bytes.fromhex(digest_of(self.proof)))
        try:
            return self.registry.attest_call(digest, commitment, calldata_of(self.proof))
        except ProofFailed as failed:
            raise ChainRefused("proof_refused", str(failed)) from failed

    def estimate(self) -> int:
        """The gas to allow the call. Raises ChainRefused where it would revert."""
        try:
            return self.node.estimate(self.call())
        except ChainRefused as refused:
            # Behind one address there may be several nodes, some of them blocks behind the others.
            if refused.code == "already_registered" and not self.registry.record_of(self.statement.digest):
                raise ChainUnavailable(
                    "The node says both that the digest is registered and that it is not."
                ) from refused
            raise

    def rows(self) -> list[ChainTransaction]:
        """All that was ever signed for it, the newest first."""
        return sent_for(self.purpose, chain_id=self.node.chain_id, contract_address=self.registry.address)

    def own_record(self) -> Record | None:
        """The digest's record when it is ours, None when there is none; ChainRefused when it is somebody else's."""
        record = self.registry.record_of(self.statement.digest)
        if record is None or self._is_ours(record):
            return record
        if not self._is_confirmed(record):
            raise ChainUnavailable(
                f"The digest was registered by {record.submitter}, which is not confirmed yet."
            )
        raise ChainRefused("already_registered", f"The digest is registered already, by {record.submitter}.")

    def found(self) -> Receipt | None:
        """Of the one of our transactions that is in a block; those known to have reverted are over."""
        for row in self.rows():
            if row.status != Status.REVERTED and (receipt := self.node.receipt(row.transaction_id)):
                return receipt
        return None

    def recorded_elsewhere(self) -> Receipt | None:
        """The transaction of our record where no row of ours knows it: from the contract's event."""
        record = self.own_record()
        if record is None:
            return None
        if record not in self._events:
            transaction_id = self.registry.find_attested(self.statement.digest, record)
            if transaction_id is None:
                return None
            self._events[record] = transaction_id
        return self.node.receipt(self._events[record])

    def _is_ours(self, record: Record) -> bool:
        """Whether it holds our key's commitment, which is verified, or vouched for by the address that we send with.

        Nobody else can prove it, so that it stays ours when PRIVATE_KEY has changed since.
        """
        return record.commitment == self.statement.commitment and (
            record.is_verified_on_chain or record.submitter.lower() == self.node.sender.lower()
        )

    def _is_confirmed(self, record: Record) -> bool:
        """Whether the contract has held it for CHAIN_CONFIRMATIONS blocks; a younger one may still be undone."""
        if settings.CHAIN_CONFIRMATIONS <= 1:
            return True
        block = max(self.node.block_number() - settings.CHAIN_CONFIRMATIONS + 1, 0)
        return self.registry.record_of(self.statement.digest, block=block) == record
