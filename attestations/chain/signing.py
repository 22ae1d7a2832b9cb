"""Signs transactions (EIP-1559), which needs no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth_account.signers.local import LocalAccount
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes

from attestations.chain.fees import Fees
from attestations.chain.recursion import restore_recursion_limit

restore_recursion_limit()


@dataclass(frozen=True, slots=True)
class Signed:
    """A transaction ready to be sent: its hash and its bytes, each 0x and hex."""

    transaction_id: str
    raw: str


def sign(
    signer: LocalAccount, *, chain_id: int, nonce: int, gas: int, fees: Fees, data: str, to: str | None = None
) -> Signed:
    """Sign a call of the contract at `to`, or the creation of one. The same fields always give the same bytes."""
    fields: dict[str, Any] = {
        "type": 2,
        "chainId": chain_id,
        "nonce": nonce,
        "data": data,
        "value": 0,
        "gas": gas,
        "maxFeePerGas": fees.max_fee,
        "maxPriorityFeePerGas": fees.priority,
    }
    signed = signer.sign_transaction(fields | ({"to": to} if to else {}))
    return Signed(signed.hash.to_0x_hex(), signed.raw_transaction.to_0x_hex())


def gas_of(raw: str) -> int:
    """The most gas that a signed transaction (0x and hex) may take."""
    return int(TypedTransaction.from_bytes(HexBytes(raw)).as_dict()["gas"])
