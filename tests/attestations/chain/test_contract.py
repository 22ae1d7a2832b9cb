"""What the contract itself takes and refuses, called without the client's own care."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from typing import Any

import pytest
from eth_account import Account

from attestations.chain.client import Node, Registry, open_node
from attestations.chain.errors import ChainRefused
from attestations.chain.signing import sign
from attestations.proofs.groth16 import calldata_of
from attestations.proofs.protocol import SCALAR_FIELD
from attestations.proofs.provers import find_prover
from tests.attestations.chain.chains import SENDER, Chain
from tests.attestations.chain.proving import Proved

BASE_FIELD = 21888242871839275222246405745257275088696311157297823662689037894645226208583
ZERO = bytes(32)
# The second of the keys that anvil gives ether to, when it is asked for two.
STRANGER = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"


@pytest.fixture
def stranger(chain: Chain) -> Node:
    """Somebody else, with ether."""
    node = Node(chain.url, Account.from_key(STRANGER))
    chain.ask("anvil_setBalance", node.sender, hex(10**18))
    return node


def attest(registry: Registry, proved: Proved, **changed: Any) -> str:
    """Send what the proof says, with some of it changed; the transaction. Raises ChainRefused for a revert."""
    a, b, c = calldata_of(proved.proof)
    fields: dict[str, Any] = {
        "digest": proved.statement.digest,
        "commitment": proved.statement.commitment,
        "a": a,
        "b": b,
        "c": c,
        **changed,
    }
    points = fields["a"], fields["b"], fields["c"]
    return send(registry.node, registry.attest_call(fields["digest"], fields["commitment"], points))


def send(node: Node, call: Any) -> str:
    """Estimate, which is where a revert shows, then send and mine."""
    fees, gas = node.fees(), node.estimate(call)
    nonce = node.transaction_counts()[1]
    signed = sign(
        node.account,
        chain_id=node.chain_id,
        nonce=nonce,
        gas=gas,
        fees=fees,
        data=call.data,
        to=call.to,
    )
    node.send(signed.raw)
    while (receipt := node.receipt(signed.transaction_id)) is None:
        time.sleep(0.01)
    assert receipt.is_success
    return receipt.transaction_id


def test_a_good_proof_is_recorded_with_its_event(registry: Registry, proved: Proved, chain: Chain) -> None:
    transaction_id = attest(registry, proved)

    record = registry.record_of(proved.statement.digest)
    assert record is not None
    assert (record.commitment, record.submitter) == (proved.statement.commitment, SENDER)
    assert record.is_verified_on_chain
    block = chain.ask("eth_getBlockByNumber", "latest", False)
    assert record.time == int(block["timestamp"], 16)
    (log,) = chain.ask("eth_getTransactionReceipt", transaction_id)["logs"]
    assert log["topics"][1] == "0x" + proved.statement.digest.hex()
    assert log["topics"][2].endswith(SENDER[2:].lower())
    (event,) = registry._contract.events.Attested().process_receipt(
        registry.node.web3.eth.get_transaction_receipt(transaction_id)
    )
    assert event["args"]["commitment"] == proved.statement.commitment
    assert event["args"]["is_verified_on_chain"] is True
    assert event["args"]["proof_digest"] == record.proof_digest
    assert event["args"]["time"] == record.time


def test_its_proof_digest_is_that_of_the_coordinates(registry: Registry, proved: Proved) -> None:
    attest(registry, proved)

    a, b, c = calldata_of(proved.proof)
    words = b"".join(number.to_bytes(32) for number in [*a, *b[0], *b[1], *c])
    record = registry.record_of(proved.statement.digest)
    assert record is not None
    assert record.proof_digest == hashlib.sha256(words).digest()


@pytest.mark.parametrize("index", range(8))
@pytest.mark.parametrize("change", [1, BASE_FIELD], ids=["other point", "plus field order"])
def test_a_tampered_coordinate_is_refused(
    registry: Registry, proved: Proved, index: int, change: int
) -> None:
    a, b, c = calldata_of(proved.proof)
    numbers = [*a, *b[0], *b[1], *c]
    numbers[index] += change
    points = {"a": numbers[:2], "b": [numbers[2:4], numbers[4:6]], "c": numbers[6:]}

    with pytest.raises(ChainRefused) as refused:
        attest(registry, proved, **points)

    assert refused.value.code == "proof_refused"
    assert registry.record_of(proved.statement.digest) is None


@pytest.mark.parametrize("part", ["a", "c"])
def test_another_point_of_the_curve_is_refused(registry: Registry, proved: Proved, part: str) -> None:
    generator = (1, 2)

    with pytest.raises(ChainRefused, match="bad proof"):
        attest(registry, proved, **{part: generator})


@pytest.mark.parametrize("part", ["a", "b", "c"])
def test_points_at_infinity_are_refused(registry: Registry, proved: Proved, part: str) -> None:
    nothing: Any = ((0, 0), (0, 0)) if part == "b" else (0, 0)

    with pytest.raises(ChainRefused):
        attest(registry, proved, **{part: nothing})


def test_a_negated_proof_is_refused(registry: Registry, proved: Proved) -> None:
    (x, y), _, _ = calldata_of(proved.proof)

    with pytest.raises(ChainRefused, match="bad proof"):
        attest(registry, proved, a=(x, BASE_FIELD - y))


def test_another_digest_is_refused(registry: Registry, proved: Proved) -> None:
    digest = bytes(31) + b"\1"

    with pytest.raises(ChainRefused, match="bad proof"):
        attest(registry, proved, digest=digest)


def test_swapped_halves_of_the_digest_are_refused(registry: Registry, proved: Proved) -> None:
    digest = proved.statement.digest

    with pytest.raises(ChainRefused, match="bad proof"):
        attest(registry, proved, digest=digest[16:] + digest[:16])


def test_another_commitment_is_refused(registry: Registry, proved: Proved) -> None:
    with pytest.raises(ChainRefused, match="bad proof"):
        attest(registry, proved, commitment=proved.statement.commitment + 1)


@pytest.mark.parametrize("times", [1, 4])
def test_the_commitment_plus_the_fields_order_is_refused(
    registry: Registry, proved: Proved, times: int
) -> None:
    with pytest.raises(ChainRefused, match="out of range"):
        attest(registry, proved, commitment=proved.statement.commitment + times * SCALAR_FIELD)


def test_the_zero_digest_is_refused(registry: Registry, proved: Proved) -> None:
    with pytest.raises(ChainRefused, match="zero digest"):
        attest(registry, proved, digest=ZERO)


def test_the_same_calldata_from_another_account_is_refused(
    registry: Registry, proved: Proved, stranger: Node
) -> None:
    theirs = Registry(stranger, registry.address)

    with pytest.raises(ChainRefused, match="bad proof"):
        attest(theirs, proved)

    assert attest(registry, proved)


def test_a_digest_is_recorded_once(registry: Registry, proved: Proved) -> None:
    attest(registry, proved)
    first = registry.record_of(proved.statement.digest)

    with pytest.raises(ChainRefused) as refused:
        attest(registry, proved)
    with pytest.raises(ChainRefused) as refused_again:
        send(registry.node, registry.record_call(proved.statement.digest, 1, ZERO))

    assert refused.value.code == refused_again.value.code == "already_registered"
    assert registry.record_of(proved.statement.digest) == first


def test_what_the_operator_has_verified_is_recorded_as_such(registry: Registry, proved: Proved) -> None:
    digest, proof_digest = proved.statement.digest, b"\7" * 32

    send(registry.node, registry.record_call(digest, 9, proof_digest))

    record = registry.record_of(digest)
    assert record is not None
    assert not record.is_verified_on_chain
    assert (record.commitment, record.submitter, record.proof_digest) == (9, SENDER, proof_digest)


def test_nobody_but_the_operator_records_without_a_proof(
    registry: Registry, proved: Proved, stranger: Node
) -> None:
    theirs = Registry(stranger, registry.address)

    with pytest.raises(ChainRefused) as refused:
        send(stranger, theirs.record_call(proved.statement.digest, 9, ZERO))

    assert refused.value.code == "not_operator"
    assert registry.record_of(proved.statement.digest) is None


@pytest.mark.parametrize(("digest", "commitment"), [(ZERO, 1), (b"\1" * 32, SCALAR_FIELD)])
def test_the_operator_is_held_to_the_same_ranges(registry: Registry, digest: bytes, commitment: int) -> None:
    with pytest.raises(ChainRefused):
        send(registry.node, registry.record_call(digest, commitment, ZERO))


def test_it_takes_no_ether(registry: Registry, proved: Proved) -> None:
    call = registry.attest_call(
        proved.statement.digest, proved.statement.commitment, calldata_of(proved.proof)
    )

    for data in ("0x", call.data):
        with pytest.raises(ChainRefused):
            registry.node.estimate(to=registry.address, data=data, value=1)


def test_its_views_tell_what_it_was_deployed_with(registry: Registry) -> None:
    prover: Any = find_prover("groth16")

    assert registry.operator() == SENDER
    assert registry.verifying_key_digest() == prover.verifying_key_digest
    key = registry._functions.verifying_key().call()
    assert _as_lists(key) == _as_lists(dataclasses.astuple(prover.contract_key()))
    assert registry._functions.is_registered(b"\1" * 32).call() is False


def test_a_digest_that_nobody_has_registered_has_no_record(registry: Registry) -> None:
    assert registry.record_of(b"\5" * 32) is None


def _as_lists(value: Any) -> Any:
    return [_as_lists(item) for item in value] if isinstance(value, list | tuple) else value


def test_the_configured_account_is_the_operator(chain: Chain) -> None:
    assert open_node().sender == SENDER
