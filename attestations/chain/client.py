"""The AttestationRegistry on its chain, through web3.py: what it holds, what a call would cost, what was mined."""

from __future__ import annotations

import functools
import json
import weakref
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from eth_utils.address import to_checksum_address
from web3 import Web3
from web3.exceptions import TransactionNotFound
from web3.middleware import ExtraDataToPOAMiddleware

from attestations.chain.configuration import ADDRESS, account, rpc_url
from attestations.chain.errors import ChainNotConfigured, ChainRefused
from attestations.chain.fees import GWEI, Fees, offered_fees
from attestations.chain.rpc import NodeProvider, speaking, whole

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

LOCAL_CHAIN_ID = 31337
# An estimate is what the call took on the last block; the next one may differ a little.
GAS_MARGIN = 1.2
# As many blocks as any provider tells the events of at once.
LOG_BLOCKS = 10
ARTIFACT = Path(__file__).parent / "AttestationRegistry.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What the contract holds of a digest."""

    commitment: int
    submitter: str
    time: int  # of its block, seconds of the epoch
    proof_digest: bytes
    is_verified_on_chain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A transaction in a block."""

    transaction_id: str
    block_number: int
    block_hash: str
    gas_used: int
    gas_price: int  # wei, what was paid in the end
    is_success: bool
    contract_address: str | None  # of the contract it has created


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a transaction asks of the contract, encoded."""

    to: str
    data: str


class Node:
    """The chain behind CHAIN_RPC_URL. Every method asks it anew, and raises ChainUnavailable."""

    def __init__(self, url: str, signer: LocalAccount) -> None:
        # Not the library's usual middleware, which would decide fees and gas for us. This one has it read the blocks
        # of chains, too, whose authorities sign in a field that is short elsewhere.
        poa: Any = ExtraDataToPOAMiddleware
        provider = NodeProvider(url)
        self.web3 = Web3(provider, middleware=[(poa, "poa")])
        # web3's objects refer to each other in circles, and would keep the connections until they are collected.
        weakref.finalize(self, provider.close)
        self.account = signer
        self.sender: str = signer.address

    @functools.cached_property
    def chain_id(self) -> int:
        with speaking():
            return whole(self.web3.eth.chain_id)

    @property
    def is_local(self) -> bool:
        """Whether blocks come as soon as there is something to put into them."""
        return self.chain_id == LOCAL_CHAIN_ID

    def block_number(self) -> int:
        with speaking():
            return whole(self.web3.eth.block_number)

    def has_code(self, address: str, block: int | None = None) -> bool:
        """Now, or after a block."""
        with speaking():
            return bool(self.web3.eth.get_code(to_checksum_address(address), _or_latest(block)))

    def block_time(self, number: int) -> int:
        """Seconds of the epoch."""
        with speaking():
            return int(self.web3.eth.get_block(number)["timestamp"])

    def blocks_of(self, time: int) -> range:
        """The blocks of one second, of which fast chains make several: looked for from the last one backwards."""
        numbers = range(self.block_number() + 1)
        start, step = len(numbers) - 1, 1
        while start > 0 and self.block_time(start) >= time:
            start, step = max(start - step, 0), step * 2
        first = bisect_left(numbers, time, lo=start, key=self.block_time)
        return range(first, bisect_right(numbers, time, lo=first, key=self.block_time))

    def balance(self) -> int:
        with speaking():
            return int(self.web3.eth.get_balance(self.account.address))

    def fees(self) -> Fees:
        """What to offer now; ChainUnavailable too where that is above CHAIN_MAX_FEE_GWEI."""
        with speaking():
            priority = int(self.web3.eth.max_priority_fee)
        base_fee = self.base_fee()
        return offered_fees(base_fee, priority, cap=settings.CHAIN_MAX_FEE_GWEI * GWEI)

    def base_fee(self) -> int:
        with speaking():
            return int(self.web3.eth.get_block("latest")["baseFeePerGas"])

    def transaction_counts(self) -> tuple[int, int]:
        """How many of the sender's transactions are in blocks, and how many with those that wait."""
        with speaking():
            mined = whole(self.web3.eth.get_transaction_count(self.account.address, "latest"))
            waiting = whole(self.web3.eth.get_transaction_count(self.account.address, "pending"))
        return mined, max(mined, waiting)

    def mined_count(self, *, at_block: int) -> int:
        """How many of the sender's transactions were in blocks when this one was the last."""
        with speaking():
            return whole(self.web3.eth.get_transaction_count(self.account.address, at_block))

    def estimate(self, call: Call | None = None, **fields: Any) -> int:
        """The gas to allow. Raises ChainRefused when it would revert."""
        asked = {"to": call.to, "data": call.data} if call else fields
        with speaking():
            gas = self.web3.eth.estimate_gas({"from": self.account.address, **asked}, "latest")  # type: ignore[typeddict-item]
        return int(gas * GAS_MARGIN)

    def send(self, raw: str) -> None:
        """Hand a signed transaction over. Raises NodeSaysNo when the node doesn't take it."""
        with speaking():
            self.web3.eth.send_raw_transaction(raw)  # type: ignore[arg-type]

    def knows(self, transaction_id: str) -> bool:
        """Whether it waits, or is in a block."""
        with speaking():
            try:
                return self.web3.eth.get_transaction(transaction_id) is not None  # type: ignore[arg-type]
            except TransactionNotFound:
                return False

    def receipt(self, transaction_id: str) -> Receipt | None:
        """None while it is in no block."""
        with speaking():
            found: Any
            try:
                found = self.web3.eth.get_transaction_receipt(transaction_id)  # type: ignore[arg-type]
            except TransactionNotFound:
                return None
            if found is None or found["blockNumber"] is None:
                return None
            return Receipt(
                transaction_id=transaction_id,
                block_number=whole(found["blockNumber"]),
                block_hash=bytes(found["blockHash"]).hex(),
                gas_used=whole(found["gasUsed"]),
                gas_price=int(found["effectiveGasPrice"]),
                is_success=found["status"] == 1,
                contract_address=found["contractAddress"],
            )


class Registry:
    """An AttestationRegistry. Raises ChainUnavailable, and ChainRefused for a contract that is none."""

    def __init__(self, node: Node, address: str) -> None:
        self.node = node
        self.address: str = to_checksum_address(address)
        self._contract = node.web3.eth.contract(address=self.address, abi=artifact()["abi"])
        self._functions = self._contract.functions

    def record_of(self, digest: bytes, *, block: int | None = None) -> Record | None:
        """What the contract holds of a digest (32 bytes), or held after a block."""
        if block is not None and not self.node.has_code(self.address, block):
            return None
        with speaking():
            commitment, submitter, time, proof_digest, is_verified = self._functions.record_of(digest).call(
                block_identifier=_or_latest(block)
            )
        if time == 0:
            return None
        return Record(
            commitment=commitment,
            submitter=to_checksum_address(submitter),
            time=time,
            proof_digest=proof_digest,
            is_verified_on_chain=is_verified,
        )

    def verifying_key_digest(self) -> str:
        """64 hex digits."""
        with speaking():
            return bytes(self._functions.verifying_key_digest().call()).hex()

    def operator(self) -> str:
        """Who may record what is verified off chain."""
        with speaking():
            return str(to_checksum_address(self._functions.operator().call()))

    def attest_call(self, digest: bytes, commitment: int, proof: tuple[Any, Any, Any]) -> Call:
        """Have the contract verify a proof (a, b, c; G2 in the EVM's order) and record the digest."""
        return self._call("attest", digest, commitment, *proof)

    def record_call(self, digest: bytes, commitment: int, proof_digest: bytes) -> Call:
        """Have the contract record the digest of a proof verified off chain."""
        return self._call("record", digest, commitment, proof_digest)

    def find_attested(self, digest: bytes, record: Record) -> str | None:
        """The transaction whose event tells of the digest's record; None where the node finds no such event.

        Asked of the record's own blocks: most providers answer for a short range only.
        """
        blocks = self.node.blocks_of(record.time)
        for start in range(blocks.start, blocks.stop, LOG_BLOCKS):
            if found := self._attested_within(digest, blocks[start - blocks.start :][:LOG_BLOCKS]):
                return found
        return None

    def check(self) -> None:
        """Raises ChainRefused where nothing stands at the address."""
        if not self.node.has_code(self.address):
            raise ChainRefused(
                "no_contract", f"There is no contract at {self.address} on chain {self.node.chain_id}."
            )

    def _attested_within(self, digest: bytes, blocks: range) -> str | None:
        with speaking():
            logs = self.node.web3.eth.get_logs(
                {
                    "address": to_checksum_address(self.address),
                    "fromBlock": blocks[0],
                    "toBlock": blocks[-1],
                    "topics": [Web3.keccak(text=ATTESTED), "0x" + digest.hex()],
                }
            )
            return "0x" + bytes(logs[-1]["transactionHash"]).hex() if logs else None

    def _call(self, function: str, *arguments: Any) -> Call:
        return Call(to=self.address, data=self._contract.encode_abi(function, arguments))


ATTESTED = "Attested(bytes32,address,uint256,bool,bytes32,uint256)"


def _or_latest(block: int | None) -> Any:
    return "latest" if block is None else block


def open_node() -> Node:
    """The configured chain, not asked yet. Raises ChainNotConfigured."""
    return Node(rpc_url(), account())


def open_registry(contract_address: str | None = None) -> Registry:
    """The registry at an address, else at CONTRACT_ADDRESS. Raises ChainNotConfigured, ChainUnavailable, ChainRefused."""
    address = contract_address or settings.CONTRACT_ADDRESS
    if not address:
        raise ChainNotConfigured
    if not ADDRESS.fullmatch(address):
        raise ChainRefused("no_contract", "The contract's address is not 0x and 40 hex digits.")
    registry = Registry(open_node(), address)
    registry.check()
    return registry


@functools.cache
def artifact() -> dict[str, Any]:
    """The compiled contract: its `abi`, its `bytecode` (0x and hex), and what they were made of."""
    read: dict[str, Any] = json.loads(ARTIFACT.read_text())
    return read
