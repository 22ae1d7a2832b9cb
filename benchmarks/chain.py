"""What the contract costs: gas to deploy it, to have it verify a proof and record it, and to record one alone.

Gas is counted, not timed, so that one transaction each says it all.
"""

from __future__ import annotations

import hashlib
import time

from attestations.chain.client import Call, Node, open_registry
from attestations.chain.deploying import deploy_registry
from attestations.chain.signing import sign
from attestations.proofs.groth16 import calldata_of
from attestations.proofs.mimc import commitment_of
from attestations.proofs.protocol import Statement
from attestations.proofs.provers import find_prover
from benchmarks.anvil import configured_chain

SECRET = 7


def measure(*, is_quick: bool) -> dict[str, float]:
    """Deploy, attest and record on a chain of its own; the same at any size."""
    with configured_chain():
        made = deploy_registry()
        registry = open_registry(made.address)
        statement = Statement(
            commitment=commitment_of(SECRET),
            digest=hashlib.sha256(b"a picture").digest(),
            submitter=registry.node.sender,
        )
        attest = registry.attest_call(statement.digest, statement.commitment, calldata_of(_proof(statement)))
        record = registry.record_call(bytes(31) + b"\1", statement.commitment, b"\2" * 32)
        return {
            "gas_deploy": made.gas_used,
            "gas_attest": _gas_of(registry.node, attest),
            "gas_record": _gas_of(registry.node, record),
        }


def _proof(statement: Statement) -> dict[str, object]:
    prover = find_prover("groth16")
    return prover.to_json(prover.prove(statement, SECRET))


def _gas_of(node: Node, call: Call) -> float:
    """Send it, and read what it took off its receipt. Raises AssertionError when it reverts."""
    signed = sign(
        node.account,
        chain_id=node.chain_id,
        nonce=node.transaction_counts()[1],
        gas=node.estimate(call),
        fees=node.fees(),
        data=call.data,
        to=call.to,
    )
    node.send(signed.raw)
    while (receipt := node.receipt(signed.transaction_id)) is None:
        time.sleep(0.05)
    assert receipt.is_success, receipt
    return receipt.gas_used
