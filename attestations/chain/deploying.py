"""Puts an AttestationRegistry with this platform's verifying key on the configured chain."""

from __future__ import annotations

import time
from dataclasses import astuple, dataclass
from typing import cast

import rlp  # type: ignore[import-untyped]
from django.conf import settings
from eth_utils.address import to_canonical_address, to_checksum_address
from eth_utils.crypto import keccak

from attestations.chain.client import Node, Receipt, Registry, artifact, open_node
from attestations.chain.errors import ChainRefused, ChainUnavailable
from attestations.chain.rpc import NodeSaysNo
from attestations.chain.signing import sign
from attestations.proofs.groth16 import Groth16Prover, VerifyingKeyPoints
from attestations.proofs.provers import find_prover

POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A registry that was just put on a chain."""

    address: str
    transaction_id: str
    gas_used: int
    cost_wei: int


def deploy_registry() -> Deployment:
    """Deploy with the Groth16 key of PROOF_KEYS_DIR, which is made where there is none, and wait until it is mined.

    Raises ChainNotConfigured, ChainUnavailable, ChainRefused.
    """
    node = open_node()
    nonce = _free_nonce(node)
    prover = _prover()
    data = creation_code(node, prover.contract_key(), prover.verifying_key_digest)
    gas, fees = node.estimate(data=data), node.fees()
    balance = node.balance()
    if balance < gas * fees.max_fee:
        raise ChainUnavailable(
            f"{node.sender} has {balance / 10**18:.9f} ether on chain {node.chain_id}; "
            f"deploying may take {gas * fees.max_fee / 10**18:.9f}."
        )
    signed = sign(node.account, chain_id=node.chain_id, nonce=nonce, gas=gas, fees=fees, data=data)
    try:
        node.send(signed.raw)
        receipt = _wait(node, signed.transaction_id)
    except NodeSaysNo:
        raise
    except ChainUnavailable as problem:
        raise ChainUnavailable(
            f"{problem} Transaction {signed.transaction_id} may have been sent. Should a block take it, the contract "
            f"stands at {creation_address(node.sender, nonce)}: look for it there before deploying another."
        ) from problem
    if not receipt.is_success or not receipt.contract_address:
        raise ChainRefused("reverted", f"The deployment {receipt.transaction_id} has reverted.")
    return Deployment(
        address=receipt.contract_address,
        transaction_id=receipt.transaction_id,
        gas_used=receipt.gas_used,
        cost_wei=receipt.gas_used * receipt.gas_price,
    )


def is_current(address: str) -> bool:
    """Whether a registry with this platform's verifying key stands at an address. Raises ChainUnavailable."""
    registry = Registry(open_node(), address)
    try:
        registry.check()
        return registry.verifying_key_digest() == _prover_digest()
    except ChainRefused:
        return False


def creation_code(node: Node, key: VerifyingKeyPoints, key_digest: str) -> str:
    """The contract's bytecode with its constructor's arguments, 0x and hex."""
    contract = node.web3.eth.contract(abi=artifact()["abi"], bytecode=artifact()["bytecode"])
    return str(contract.constructor(astuple(key), bytes.fromhex(key_digest)).data_in_transaction)


def _prover() -> Groth16Prover:
    return cast(Groth16Prover, find_prover("groth16"))


def _prover_digest() -> str:
    prover = _prover()
    prover.contract_key()  # makes the keys where there are none
    return prover.verifying_key_digest


def creation_address(sender: str, nonce: int) -> str:
    """Where the contract stands that a transaction of this nonce creates (EIP-55)."""
    made_of = rlp.encode([to_canonical_address(sender), nonce])
    return str(to_checksum_address(keccak(made_of)[-20:]))


def _free_nonce(node: Node) -> int:
    """The sender's next; raises ChainUnavailable while something of it waits, which may be such a deployment."""
    mined, waiting = node.transaction_counts()
    if waiting > mined:
        raise ChainUnavailable(
            f"Transactions of {node.sender} wait for a block ({waiting - mined}). One may be an earlier deployment: "
            f"its contract would stand at {creation_address(node.sender, mined)} (nonce {mined}). Deploy again when "
            "none waits, or replace them from a wallet that has the key."
        )
    return mined


def _wait(node: Node, transaction_id: str) -> Receipt:
    """The receipt; one question that fails is no reason to give up. Raises ChainUnavailable."""
    deadline = time.monotonic() + settings.CHAIN_RECEIPT_SECONDS
    while True:
        problem = ChainUnavailable(
            f"No block has taken the deployment within {settings.CHAIN_RECEIPT_SECONDS} seconds."
        )
        try:
            receipt = node.receipt(transaction_id)
        except ChainUnavailable as hiccup:
            receipt, problem = None, hiccup
        if receipt is not None:
            return receipt
        if time.monotonic() > deadline:
            raise problem
        time.sleep(POLL_SECONDS)
