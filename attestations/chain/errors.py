"""What publishing on a chain can end with, beside success. No text of these holds a key or the address of the node."""

from __future__ import annotations


class ChainNotConfigured(Exception):
    """There is nothing to publish on: CHAIN_RPC_URL, PRIVATE_KEY or CONTRACT_ADDRESS is unset."""

    def __init__(self) -> None:
        super().__init__("no chain configured")


class ChainUnavailable(Exception):
    """Not now: the node is away or busy, fees are too high, funds too low, or no block has taken it. Try again later."""


class ChainRefused(Exception):
    """Not ever. `code` is stable: see REASONS for what the contract says, and the raisers for the rest."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


# The contract's own words when it reverts, and the codes they stand for.
REASONS = {
    "already registered": "already_registered",
    "bad proof": "proof_refused",
    "bad point": "proof_refused",
    "commitment out of range": "proof_refused",
    "zero digest": "proof_refused",
    "not the operator": "not_operator",
}


def refusal(message: str, *, shown: str) -> ChainRefused:
    """What a revert with this message stands for; `shown` is as much of the message as people may see."""
    for reason, code in REASONS.items():
        if reason in message:
            return ChainRefused(code, f"The contract refuses: {reason}.")
    return ChainRefused("reverted", f"The contract reverts: {shown[:300]}")
