"""Sends what has a digest recorded: one transaction at a time, the stored one again where there is one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from attestations.chain.client import Call
from attestations.chain.errors import ChainRefused, ChainUnavailable
from attestations.chain.fees import GWEI, Fees, beating, in_gwei
from attestations.chain.purposes import Purpose
from attestations.chain.rpc import NodeSaysNo
from attestations.chain.transactions import (
    NonceGone,
    Status,
    end,
    fees_of,
    store_new,
    store_replacement,
    waiting_before,
)
from attestations.chain.wanted import Wanted
from attestations.models import ChainTransaction

logger = logging.getLogger(__name__)

# How often an attempt takes another nonce, after somebody else has used the one it had.
SEND_TRIES = 5


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction that the node was given: signed now, or left by an earlier attempt."""

    row: ChainTransaction
    is_new: bool


class Sending:
    """How one attempt gets its transaction to the node."""

    # Why a transaction that waits could not be bettered; it may still be taken as it is.
    hindrance: ChainUnavailable | None = None

    def __init__(self, wanted: Wanted, checkpoint: Callable[[], None]) -> None:
        self.wanted, self.node = wanted, wanted.node
        self.checkpoint = checkpoint

    def ensure_sent(self) -> Sent | None:
        """Leave with a transaction handed to the node; None with one in a block, or the digest recorded for us."""
        for _ in range(SEND_TRIES):
            if self.wanted.own_record() or self.wanted.found():
                return None
            try:
                row, is_new = self._next_to_send()
            except ChainRefused:
                # Between the question and the estimate our own may have been mined.
                if self.wanted.own_record():
                    return None
                raise
            except NonceGone:
                continue
            if self._hand_over(row, is_new=is_new):
                return Sent(row, is_new)
        raise ChainUnavailable("Another publisher uses up the key's nonces.")

    # --- What to send ------------------------------------------------------------------------------

    def _next_to_send(self) -> tuple[ChainTransaction, bool]:
        """The transaction that waits, unless it has waited too long, or a new one; and whether it is new."""
        pending = self._pending()
        if pending is None:
            return self._new(), True
        self.hindrance = None
        if not self._is_stale(pending):
            return pending, False
        try:
            return self._successor(pending), True
        except ChainUnavailable as hindrance:
            self.hindrance = hindrance
            return pending, False

    def _pending(self) -> ChainTransaction | None:
        """One of this purpose; those of the digest that were given up hold their nonces no more than any others."""
        for row in self.wanted.rows():
            if (
                row.status == Status.PENDING
                and Purpose.of_row(row) == self.wanted.purpose
                and row.sender == self.node.sender
            ):
                return row
        return None

    def _new(self) -> ChainTransaction:
        """Sign and store one with a nonce of its own."""
        call, gas, fees = self._priced()
        counts = self.node.transaction_counts()
        self.checkpoint()
        return store_new(
            self.wanted.purpose,
            call,
            signer=self.node.account,
            chain_id=self.node.chain_id,
            counts=counts,
            gas=gas,
            fees=fees,
        )

    def _successor(self, stale: ChainTransaction) -> ChainTransaction:
        """Sign and store one that offers more, for the same nonce unless that one can't come next."""
        self._send_those_before(stale)
        mined, waiting = self.node.transaction_counts()
        if not mined <= stale.nonce <= waiting:
            # Somebody else has used its nonce, or one before it is missing, for which it would wait for ever.
            row = self._new()
            end(stale, Status.DROPPED, error="Its nonce can't come next.")
            return row
        call, gas, fees = self._priced(better_than=fees_of(stale))
        self.checkpoint()
        return store_replacement(stale, call, signer=self.node.account, gas=gas, fees=fees)

    def _is_stale(self, row: ChainTransaction) -> bool:
        """Whether it has waited for as long as an attempt lasts, or offers less than every block asks by now."""
        age = timezone.now() - row.created_at
        return (
            age > timedelta(seconds=settings.CHAIN_RECEIPT_SECONDS)
            or self.node.base_fee() > row.max_fee_per_gas
        )

    def _priced(self, better_than: Fees | None = None) -> tuple[Call, int, Fees]:
        """What to ask, and the gas and fees that we allow it. Raises ChainRefused where it would revert."""
        gas = self._gas()
        fees = self.node.fees()
        if better_than:
            fees = beating(fees, better_than, cap=settings.CHAIN_MAX_FEE_GWEI * GWEI)
        balance, cost = self.node.balance(), gas * fees.max_fee
        if balance < cost:
            raise ChainUnavailable(
                f"{self.node.sender} has {_in_ether(balance)} ether on chain {self.node.chain_id}; "
                f"publishing may take {_in_ether(cost)}."
            )
        return self.wanted.call(), gas, fees

    def _gas(self) -> int:
        """The estimate; half as much again as was burnt by one that has reverted, and never twice the estimate."""
        estimate = self.wanted.estimate()
        burnt = [row.gas_used or 0 for row in self.wanted.rows() if row.status == Status.REVERTED]
        return min(max([estimate, *(used * 3 // 2 for used in burnt)]), 2 * estimate)

    # --- Handing it over ---------------------------------------------------------------------------

    def _hand_over(self, row: ChainTransaction, *, is_new: bool) -> bool:
        """Send it; False when its nonce is another's, so that one with another nonce is to be sent."""
        self.checkpoint()
        self._send_those_before(row)
        try:
            self.node.send(row.raw)
        except NodeSaysNo as no:
            # The words differ from node to node, so it is asked for what is the case.
            if self.node.knows(row.transaction_id):
                return True
            mined, waiting = self.node.transaction_counts()
            if mined > row.nonce:
                end(row, Status.DROPPED, error=f"Its nonce was used by another. {no}")
                return False
            if is_new:
                # The node doesn't have it, and others may use the nonce.
                end(row, Status.DROPPED, error=str(no))
            if waiting > row.nonce:
                return self._is_held_by_ours(row.nonce)
            raise
        return True

    def _send_those_before(self, row: ChainTransaction) -> None:
        """Send what must be mined before it, and the node doesn't have.

        A publisher may have died before it sent its own, or the node lost what waited; the next attempts at those may
        be hours away.
        """
        _mined, waiting = self.node.transaction_counts()
        for earlier in waiting_before(row, first=waiting):
            self.checkpoint()
            try:
                self.node.send(earlier.raw)
            except NodeSaysNo as no:
                # It may have it by now. If it won't have it, ours waits, and the other's own attempt says why.
                logger.info(
                    "an earlier transaction not sent",
                    extra={"transaction": earlier.transaction_id, "problem": str(no)},
                )

    def _is_held_by_ours(self, nonce: int) -> bool:
        """Whether what waits at a nonce is an earlier offer of ours; if a stranger's is, ours there are over."""
        ours = [
            row
            for row in self.wanted.rows()
            if (row.status, row.nonce, row.sender) == (Status.PENDING, nonce, self.node.sender)
        ]
        if any(self.node.knows(row.transaction_id) for row in ours):
            return True
        for row in ours:
            end(row, Status.DROPPED, error="Another transaction waits at its nonce.")
        return False


def _in_ether(wei: int) -> str:
    return in_gwei(wei // GWEI)
