"""The program that verifies proofs and says what recording them takes: `python -m attestations.proofs.verify --help`."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attestations.canonical import digest_of
from attestations.chain.errors import ChainNotConfigured, ChainRefused, ChainUnavailable
from attestations.proofs.exits import bytes_of, make_parser, run, say, short
from attestations.proofs.files import InputProof, ProofFile, read_proofs, write_json
from attestations.proofs.making import is_valid
from attestations.proofs.protocol import ProofFailed
from attestations.proofs.provers import find_prover

if TYPE_CHECKING:
    from attestations.chain.client import Call, Registry

# After so long no more is asked. What was asked last may take 15 s: both fit into the 30 s of a session's second phase.
ASK_SECONDS = 8.0

DESCRIPTION = """\
Verify each proof under the key that it names, then ask the chain what gas recording it would take.

Nothing is sent to the chain. Without one that is configured and answers, the proofs are verified all the same."""

FILES = """\
proofs.json: what attestations.proofs.generate has written.
verification.json: {"verified": true, "gasEstimate", "circuitsVerified", "gasSkipped"}. gasEstimate is the gas to allow
  in all, null where gasSkipped says why; a digest that is recorded already takes none."""


@dataclass(frozen=True, slots=True)
class Gas:
    """What recording all proofs would take, or why nobody knows."""

    total: int | None
    skipped: str = ""


def main() -> None:
    """Verify every proof, estimate the gas, and write both."""
    arguments = _parser().parse_args()
    file = read_proofs(arguments.proofs)
    say(f"read: {len(file.proofs)} of {file.proof_type}, commitment {short(f'{file.commitment:#066x}')}")
    _verify(file)
    gas = _estimate(file)
    size = write_json(arguments.out, _told(file, gas))
    say(f"written: {arguments.out.name}, {bytes_of(size)}")


def _parser() -> argparse.ArgumentParser:
    parser = make_parser("attestations.proofs.verify", DESCRIPTION, FILES)
    parser.add_argument("--proofs", required=True, type=Path, metavar="FILE", help="proofs.json, to read")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="verification.json, to write")
    return parser


def _told(file: ProofFile, gas: Gas) -> dict[str, Any]:
    told = {"verified": True, "gasEstimate": gas.total, "circuitsVerified": len(file.proofs)}
    return {**told, "gasSkipped": gas.skipped} if gas.skipped else told


def _verify(file: ProofFile) -> None:
    """Say of each whether it is a proof; raises ProofFailed unless all are."""
    wrong: list[str] = []
    find_prover(file.proof_type)  # loaded here, so that the first proof's time is its own
    for number, proof in enumerate(file.proofs, 1):
        began = time.perf_counter()
        is_proved = is_valid(file.proof_type, file.statement_of(proof), proof.proof)
        milliseconds = (time.perf_counter() - began) * 1_000
        how = f"verified in {milliseconds:.0f} ms" if is_proved else "no proof"
        say(f"proof {number} of {len(file.proofs)}: {proof.name}, sha256 {short(proof.sha256)}, {how}")
        if not is_proved:
            wrong.append(proof.name)
    if wrong:
        raise ProofFailed("proof_invalid", f"no proof of what is claimed: {', '.join(wrong)}")


def _estimate(file: ProofFile) -> Gas:
    """Ask the chain; that it can't tell is no failure, for the proofs are verified."""
    try:
        gas = Gas(_gas_of(file))
    except ChainNotConfigured as missing:
        gas = Gas(None, str(missing))
        say(f"gas: skipped, {missing}")
    except (ChainUnavailable, ChainRefused) as reason:
        gas = Gas(None, str(reason))
        say(f"gas: not known. {reason}")
    else:
        say(f"gas: {gas.total:,} to allow in all")
    return gas


def _gas_of(file: ProofFile) -> int:
    """The gas to allow for all calls. Raises ChainNotConfigured, ChainUnavailable, ChainRefused."""
    from attestations.chain.configuration import submitter_address

    submitter_address()  # raises where anything is not configured, before web3 is loaded for a second
    from attestations.chain.client import open_registry

    ends_at = time.monotonic() + ASK_SECONDS
    registry = open_registry()
    is_verified_on_chain = find_prover(file.proof_type).is_verified_on_chain
    gas: dict[str, int] = {}  # by digest: what is recorded once is recorded
    for number, proof in enumerate(file.proofs, 1):
        if time.monotonic() > ends_at:
            raise ChainUnavailable("The node takes too long to answer.")
        call = _call(registry, file, proof, is_verified_on_chain=is_verified_on_chain)
        how = "the same digest as before"
        if proof.sha256 not in gas:
            gas[proof.sha256], how = _gas_of_one(registry, file, proof, call)
        say(f"gas {number} of {len(file.proofs)}: {proof.name}, {how}")
    return sum(gas.values())


def _call(registry: Registry, file: ProofFile, proof: InputProof, *, is_verified_on_chain: bool) -> Call:
    digest = bytes.fromhex(proof.sha256)
    if not is_verified_on_chain:
        return registry.record_call(digest, file.commitment, bytes.fromhex(digest_of(proof.proof)))
    from attestations.proofs.groth16 import calldata_of

    return registry.attest_call(digest, file.commitment, calldata_of(proof.proof))


def _gas_of_one(registry: Registry, file: ProofFile, proof: InputProof, call: Call) -> tuple[int, str]:
    """The gas to allow, and how to say it."""
    try:
        gas = registry.node.estimate(call)
    except ChainRefused as refused:
        if refused.code == "already_registered" and _is_recorded(registry, file, proof):
            return 0, "none: it is recorded already"
        raise
    return gas, f"{gas:,} to allow"


def _is_recorded(registry: Registry, file: ProofFile, proof: InputProof) -> bool:
    """Whether the chain's record is of this creator: verified there, or vouched for by the address that we send with."""
    record = registry.record_of(bytes.fromhex(proof.sha256))
    return (
        record is not None
        and record.commitment == file.commitment
        and (record.is_verified_on_chain or record.submitter.lower() == registry.node.sender.lower())
    )


if __name__ == "__main__":
    run(main)
