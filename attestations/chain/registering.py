"""Has the contract record a digest, once, whatever has happened to earlier attempts.

The chain is asked first. What is signed is stored before it leaves, so that an attempt that follows a crash finds it:
by its receipt, by sending the very same bytes again, or by the contract's event.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from attestations.chain.client import Receipt, Registry, open_registry
from attestations.chain.errors import ChainUnavailable
from attestations.chain.explorers import explorer_url
from attestations.chain.purposes import Purpose
from attestations.chain.sending import Sending, Sent
from attestations.chain.transactions import Status, drop_others, end
from attestations.chain.wanted import Wanted
from attestations.proofs.protocol import Statement

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


class Reverted(ChainUnavailable):
    """The transaction has reverted, for a reason that may be gone: another attempt signs another."""


def register(
    purpose: Purpose,
    statement: Statement,
    proof: dict[str, Any],
    *,
    contract_address: str,
    stage: Callable[[str, float], None],
    checkpoint: Callable[[], None],
) -> Registration:
    """Return the registration of the purpose's digest: made now, or found.

    `stage` is told the seconds of "send" and "confirm"; `checkpoint` is called before anything is sent and once a
    second while waiting, and may raise. Must not be called in a transaction. Raises ChainNotConfigured, ChainRefused,
    ChainUnavailable.
    """
    registering = Registering(open_registry(contract_address), purpose, statement, proof, checkpoint)
    registering.refuse_misfit()
    with _timed("send", stage):
        registering.send()
    with _timed("confirm", stage):
        return registering.wait(settings.CHAIN_RECEIPT_SECONDS)


class Registering:
    """One digest on its way: checked, sent, and waited for. Several may be sent before the first is waited for."""

    # The last one seen.
    receipt: Receipt | None = None
    # For how long it is waited for.
    seconds = 0

    def __init__(
        self,
        registry: Registry,
        purpose: Purpose,
        statement: Statement,
        proof: dict[str, Any],
        checkpoint: Callable[[], None],
    ) -> None:
        self.wanted, self.node = Wanted(registry, purpose, statement, proof), registry.node
        self.sending, self.checkpoint = Sending(self.wanted, checkpoint), checkpoint

    def refuse_misfit(self) -> None:
        """Raise ChainRefused where this key or contract can't publish this proof."""
        self.wanted.refuse_misfit()

    def send(self) -> Sent | None:
        """Have a transaction handed to the node; None where one is in a block already, or the digest recorded."""
        return self.sending.ensure_sent()

    def wait(self, seconds: int, *, since: float | None = None) -> Registration:
        """Return what the chain has confirmed. Raises ChainRefused, and ChainUnavailable when it takes longer.

        The seconds count from `since` (of the monotonic clock), where they have begun before.
        """
        self.seconds = seconds
        checked = time.monotonic()
        deadline = (checked if since is None else since) + seconds
        while True:
            try:
                if registration := self.look():
                    return registration
                problem = ChainUnavailable(self.why_late())
            except Reverted:
                raise
            except ChainUnavailable as unavailable:
                # One answer that is missing says nothing of the transaction.
                problem = unavailable
            if time.monotonic() > deadline:
                raise problem
            time.sleep(LOCAL_POLL_SECONDS if self.node.is_local else POLL_SECONDS)
            if time.monotonic() - checked >= CHECKPOINT_SECONDS:
                self.checkpoint()
                checked = time.monotonic()

    def look(self) -> Registration | None:
        """The registration once it is confirmed; sends again what has left its block."""
        receipt = self.wanted.found() or self.wanted.recorded_elsewhere()
        if receipt and self.is_confirmed(receipt) and (registration := self.settled(receipt)):
            return registration
        if self.receipt and receipt is None:
            # Its block is no longer one of the chain's, and the node may have forgotten it.
            self.sending.ensure_sent()
        self.receipt = receipt
        return None

    def is_confirmed(self, receipt: Receipt) -> bool:
        """Whether enough blocks stand on it, and it is still in the block that it was in when they were counted."""
        confirmations = self.node.block_number() - receipt.block_number + 1
        return (
            confirmations >= settings.CHAIN_CONFIRMATIONS
            and self.node.receipt(receipt.transaction_id) == receipt
        )

    def settled(self, receipt: Receipt) -> Registration | None:
        """The registration; None where the contract doesn't show it yet. Raises ChainRefused and Reverted."""
        self.note_end(receipt)
        if not receipt.is_success:
            self.explain_revert()
            return None
        record = self.wanted.own_record()
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

    def note_end(self, receipt: Receipt) -> None:
        """Write what became of our transaction, if it is one of ours."""
        rows = self.wanted.rows()
        for row in rows:
            if row.transaction_id == receipt.transaction_id:
                end(row, Status.MINED if receipt.is_success else Status.REVERTED, receipt=receipt)
                if receipt.is_success:
                    drop_others(rows, row)

    def explain_revert(self) -> None:
        """Raise ChainRefused with the contract's reason, Reverted where that is gone; not where our record is made."""
        try:
            if self.wanted.own_record():
                return
            self.wanted.estimate()
        except ChainUnavailable as unexplained:
            raise Reverted(f"The transaction has reverted. {unexplained}") from unexplained
        raise Reverted(
            "The transaction has reverted, though it would not now; it is sent again with more gas."
        )

    def why_late(self) -> str:
        within = f"within {self.seconds} seconds"
        if self.receipt:
            return f"The transaction has not had {settings.CHAIN_CONFIRMATIONS} confirmations {within}."
        if self.sending.hindrance:
            return str(self.sending.hindrance)
        return f"No block has taken the transaction {within}."


@contextmanager
def _timed(name: str, stage: Callable[[str, float], None]) -> Iterator[None]:
    began = time.perf_counter()
    yield
    stage(name, time.perf_counter() - began)
