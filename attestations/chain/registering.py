"""Has the contract record a submission's digest, once, whatever has happened to earlier attempts.

The chain is asked first. What is signed is stored before it leaves, so that an attempt that follows a crash finds it:
by its receipt, by sending the very same bytes again, or by the contract's event.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from attestations.canonical import digest_of
from attestations.chain.client import Call, Receipt, Record, Registry, open_registry
from attestations.chain.errors import ChainRefused, ChainUnavailable
from attestations.chain.explorers import explorer_url
from attestations.chain.fees import GWEI, Fees, beating, in_gwei
from attestations.chain.rpc import NodeSaysNo
from attestations.chain.transactions import (
    NonceGone,
    Status,
    drop_others,
    end,
    fees_of,
    sent_for,
    store_new,
    store_replacement,
)
from attestations.models import ChainTransaction, Submission
from attestations.proofs.groth16 import calldata_of
from attestations.proofs.protocol import ProofFailed, Statement
from attestations.proofs.provers import find_prover

# How often an attempt takes another nonce, after somebody else has used the one it had.
SEND_TRIES = 5
POLL_SECONDS = 1.5
LOCAL_POLL_SECONDS = 0.2
CHECKPOINT_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A digest that the chain has recorded and confirmed."""

    transaction_id: str
    chain_id: int
    block_number: int
    gas_used: int
    explorer_url: str | None
    submitter: str
    is_verified_on_chain: bool


def register(
    submission: Submission,
    statement: Statement,
    proof: dict[str, Any],
    *,
    contract_address: str,
    stage: Callable[[str, float], None],
    checkpoint: Callable[[], None],
) -> Registration:
    """Return the registration of the submission's digest: made now, or found.

    `stage` is told the seconds of "send" and "confirm"; `checkpoint` is called before anything is sent and once a
    second while waiting, and may raise. Must not be called in a transaction. Raises ChainNotConfigured, ChainRefused,
    ChainUnavailable.
    """
    registry = open_registry(contract_address)
    _refuse_misfit(registry, statement, proof)
    attempt = _Attempt(registry, submission, statement, proof, checkpoint)
    with _timed("send", stage):
        attempt.ensure_sent()
    with _timed("confirm", stage):
        return attempt.wait()


def _refuse_misfit(registry: Registry, statement: Statement, proof: dict[str, Any]) -> None:
    """Raise ChainRefused where this key or contract can't publish this proof."""
    sender = registry.node.sender
    if statement.submitter.lower() != sender.lower():
        raise ChainRefused(
            "proof_refused", f"The proof is bound to {statement.submitter}; PRIVATE_KEY is that of {sender}."
        )
    if _is_verified_on_chain(proof) and registry.verifying_key_digest() != proof["verifying_key"]:
        raise ChainRefused(
            "wrong_contract",
            f"The contract at {registry.address} verifies with another key than the proof was made for.",
        )


def _is_verified_on_chain(proof: dict[str, Any]) -> bool:
    return find_prover(str(proof.get("system"))).is_verified_on_chain


class _Attempt:
    """One attempt at one submission: what it wants of the contract, and the steps that get it there."""

    def __init__(
        self,
        registry: Registry,
        submission: Submission,
        statement: Statement,
        proof: dict[str, Any],
        checkpoint: Callable[[], None],
    ) -> None:
        self.registry, self.node = registry, registry.node
        self.submission, self.statement, self.proof = submission, statement, proof
        self.checkpoint = checkpoint

    # --- Sending -----------------------------------------------------------------------------------

    def ensure_sent(self) -> None:
        """Leave with the digest recorded for us, a transaction of ours in a block, or one handed to the node."""
        for _ in range(SEND_TRIES):
            if self.own_record() or self.found():
                return
            try:
                row, is_new = self.next_to_send()
            except ChainRefused:
                # Between the question and the estimate our own may have been mined.
                if self.own_record():
                    return
                raise
            except NonceGone:
                continue
            if self.hand_over(row, is_new=is_new):
                return
        raise ChainUnavailable("Another publisher uses up the key's nonces.")

    def next_to_send(self) -> tuple[ChainTransaction, bool]:
        """The transaction that waits, unless it has waited too long, or a new one; and whether it is new."""
        pending = next((row for row in self.rows() if row.status == Status.PENDING), None)
        if pending is None:
            return self.new(), True
        if not self.is_stale(pending):
            return pending, False
        try:
            return self.successor(pending), True
        except ChainUnavailable:
            # It can't be bettered now, and may still be taken as it is.
            self.hand_over(pending, is_new=False)
            raise

    def new(self, *, better_than: Fees | None = None) -> ChainTransaction:
        """Sign and store one with a nonce of its own."""
        call, gas, fees = self.priced(better_than)
        counts = self.node.transaction_counts()
        self.checkpoint()
        return store_new(
            self.submission,
            call,
            signer=self.node.account,
            chain_id=self.node.chain_id,
            counts=counts,
            gas=gas,
            fees=fees,
        )

    def successor(self, stale: ChainTransaction) -> ChainTransaction:
        """Sign and store one that offers more, for the same nonce unless that one can't come next."""
        mined, waiting = self.node.transaction_counts()
        if not mined <= stale.nonce <= waiting:
            # Somebody else has used its nonce, or one before it is missing, for which it would wait for ever.
            end(stale, Status.DROPPED, error="Its nonce can't come next.")
            return self.new(better_than=fees_of(stale))
        call, gas, fees = self.priced(fees_of(stale))
        self.checkpoint()
        return store_replacement(stale, call, signer=self.node.account, gas=gas, fees=fees)

    def priced(self, better_than: Fees | None) -> tuple[Call, int, Fees]:
        """What to ask, and the gas and fees that we allow it. Raises ChainRefused where it would revert."""
        call = self.call()
        gas = self.node.estimate(call)
        fees = self.node.fees()
        if better_than:
            fees = beating(fees, better_than, cap=settings.CHAIN_MAX_FEE_GWEI * GWEI)
        balance, cost = self.node.balance(), gas * fees.max_fee
        if balance < cost:
            raise ChainUnavailable(
                f"{self.node.sender} has {_in_ether(balance)} ether on chain {self.node.chain_id}; "
                f"publishing may take {_in_ether(cost)}."
            )
        return call, gas, fees

    def hand_over(self, row: ChainTransaction, *, is_new: bool) -> bool:
        """Send it; False when its nonce was used by another. Raises ChainUnavailable."""
        self.checkpoint()
        try:
            self.node.send(row.raw)
        except NodeSaysNo as no:
            # The words differ from node to node, so it is asked for what is the case.
            if self.node.knows(row.transaction_id):
                return True
            if self.node.transaction_counts()[0] > row.nonce:
                end(row, Status.DROPPED, error=f"Its nonce was used by another. {no}")
                return False
            if is_new:
                # The node doesn't have it, and others may use the nonce.
                end(row, Status.DROPPED, error=str(no))
            raise
        return True

    def is_stale(self, row: ChainTransaction) -> bool:
        """Whether it has waited for as long as an attempt lasts, or offers less than every block asks by now."""
        age = timezone.now() - row.created_at
        return (
            age > timedelta(seconds=settings.CHAIN_RECEIPT_SECONDS)
            or self.node.base_fee() > row.max_fee_per_gas
        )

    def call(self) -> Call:
        """Have the contract verify the proof, or record that it was verified here."""
        digest, commitment = self.statement.digest, self.statement.commitment
        if not _is_verified_on_chain(self.proof):
            return self.registry.record_call(digest, commitment, bytes.fromhex(digest_of(self.proof)))
        try:
            return self.registry.attest_call(digest, commitment, calldata_of(self.proof))
        except ProofFailed as failed:
            raise ChainRefused("proof_refused", str(failed)) from failed

    # --- Waiting -----------------------------------------------------------------------------------

    def wait(self) -> Registration:
        """Return what the chain has confirmed. Raises ChainRefused, and ChainUnavailable when it takes too long."""
        deadline = time.monotonic() + settings.CHAIN_RECEIPT_SECONDS
        checked = time.monotonic()
        was_in_block = False
        while True:
            receipt = self.found() or self.recorded_elsewhere()
            if receipt and self.is_confirmed(receipt) and (registration := self.settled(receipt)):
                return registration
            if was_in_block and receipt is None:
                # Its block is no longer one of the chain's, and the node may have forgotten it.
                self.ensure_sent()
            was_in_block = receipt is not None
            if time.monotonic() > deadline:
                raise ChainUnavailable(self.why_late(receipt))
            time.sleep(LOCAL_POLL_SECONDS if self.node.is_local else POLL_SECONDS)
            if time.monotonic() - checked >= CHECKPOINT_SECONDS:
                self.checkpoint()
                checked = time.monotonic()

    def found(self) -> Receipt | None:
        """Of the one of our transactions that is in a block; those known to have reverted are over."""
        for row in self.rows():
            if row.status != Status.REVERTED and (receipt := self.node.receipt(row.transaction_id)):
                return receipt
        return None

    def recorded_elsewhere(self) -> Receipt | None:
        """The transaction of our record where no row of ours knows it: from the contract's event."""
        if not self.own_record():
            return None
        transaction_id = self.registry.find_attested(self.statement.digest)
        return self.node.receipt(transaction_id) if transaction_id else None

    def is_confirmed(self, receipt: Receipt) -> bool:
        """Whether enough blocks stand on it, and it is still in the block that it was in when they were counted."""
        confirmations = self.node.block_number() - receipt.block_number + 1
        return (
            confirmations >= settings.CHAIN_CONFIRMATIONS
            and self.node.receipt(receipt.transaction_id) == receipt
        )

    def settled(self, receipt: Receipt) -> Registration | None:
        """The registration; None where the contract doesn't show it yet. Raises ChainRefused for a revert."""
        for row in self.rows():
            if row.transaction_id == receipt.transaction_id:
                end(row, Status.MINED if receipt.is_success else Status.REVERTED, receipt=receipt)
                if receipt.is_success:
                    drop_others(self.submission, row)
        if not receipt.is_success:
            self.explain_revert()
            return None
        record = self.own_record()
        if record is None:
            return None
        chain_id = self.node.chain_id
        return Registration(
            transaction_id=receipt.transaction_id,
            chain_id=chain_id,
            block_number=receipt.block_number,
            gas_used=receipt.gas_used,
            explorer_url=explorer_url(chain_id, receipt.transaction_id),
            submitter=record.submitter,
            is_verified_on_chain=record.is_verified_on_chain,
        )

    def explain_revert(self) -> None:
        """Raise ChainRefused with the contract's reason, unless another transaction of ours has made the record."""
        if self.own_record():
            return
        self.node.estimate(self.call())
        raise ChainRefused("reverted", "The transaction was mined and has reverted, though it would not now.")

    def own_record(self) -> Record | None:
        """The digest's record when it is ours, None when there is none; ChainRefused when it is somebody else's."""
        record = self.registry.record_of(self.statement.digest)
        if record is None:
            return None
        if (
            record.submitter.lower() != self.node.sender.lower()
            or record.commitment != self.statement.commitment
        ):
            raise ChainRefused(
                "already_registered", f"The digest is registered already, by {record.submitter}."
            )
        return record

    def why_late(self, receipt: Receipt | None) -> str:
        seconds = settings.CHAIN_RECEIPT_SECONDS
        if receipt is None:
            return f"No block has taken the transaction within {seconds} seconds."
        return f"The transaction has not had {settings.CHAIN_CONFIRMATIONS} confirmations within {seconds} seconds."

    def rows(self) -> list[ChainTransaction]:
        return sent_for(self.submission, chain_id=self.node.chain_id, contract_address=self.registry.address)


def _in_ether(wei: int) -> str:
    return in_gwei(wei // GWEI)


@contextmanager
def _timed(name: str, stage: Callable[[str, float], None]) -> Iterator[None]:
    began = time.perf_counter()
    yield
    stage(name, time.perf_counter() - began)
