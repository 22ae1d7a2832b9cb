"""`python -m attestations.proofs.verify` says of each proof whether it is one, and what recording all would take."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured
from django.test import override_settings

from attestations.canonical import digest_of
from attestations.chain.client import Registry, open_registry
from attestations.proofs.files import InputProof, ProofFile
from attestations.proofs.groth16 import calldata_of
from tests.attestations.chain.chains import SENDER, Chain
from tests.attestations.chain.proving import SECRET, Proved, prove
from tests.attestations.chain.test_contract import send
from tests.attestations.proofs.programs import Ran, run

NAMES = ("request", "picture", "result")
Verify = Callable[..., Ran]


@pytest.fixture(scope="session")
def made(session_proof_keys: Path) -> dict[str, list[Proved]]:
    """Three proofs of each system for anvil's first account, made once."""
    with override_settings(PROOF_KEYS_DIR=session_proof_keys):
        return {
            system: [prove(name.encode(), system=system) for name in NAMES] for system in ("groth16", "plonk")
        }


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "verification.json"


@pytest.fixture
def verify(tmp_path: Path, out: Path, proof_keys: Path) -> Verify:
    """Run the program on what would be in proofs.json, with the chain that is configured; it needs no database."""

    def on(content: Any, **environment: str) -> Ran:
        path = tmp_path / "proofs.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        names = ("CHAIN_RPC_URL", "PRIVATE_KEY", "CONTRACT_ADDRESS")
        chain = {name: str(getattr(configured, name)) for name in names} | {"LOCAL_CHAIN": "false"}
        keys = {"PROOF_KEYS_DIR": str(proof_keys)}
        return run("verify", "--proofs", path, "--out", out, **(chain | keys | environment))

    return on


def file_of(proofs: list[Proved]) -> dict[str, Any]:
    """What `generate` would have written."""
    given = [
        InputProof(name=name, sha256=each.statement.digest.hex(), proof=each.proof, seconds=0.2)
        for name, each in zip(NAMES, proofs, strict=False)
    ]
    statement = proofs[0].statement
    return ProofFile(
        proof_type=proofs[0].proof["system"],
        commitment=statement.commitment,
        submitter=statement.submitter,
        proofs=given,
    ).to_json()


def told(out: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(out.read_text())
    return read


@pytest.mark.parametrize("system", ["groth16", "plonk"])
def test_proofs_are_verified_without_a_chain(
    no_chain: None, verify: Verify, out: Path, made: dict[str, list[Proved]], system: str
) -> None:
    ran = verify(file_of(made[system]))

    assert (ran.code, ran.complaint) == (0, "")
    assert told(out) == {
        "verified": True,
        "gasEstimate": None,
        "circuitsVerified": 3,
        "gasSkipped": "no chain configured",
    }
    assert re.fullmatch(
        r"proof 2 of 3: picture, sha256 [0-9a-f]{8}…, verified in \d+ ms", ran.line("proof 2")
    )
    assert ran.line("gas") == "gas: skipped, no chain configured"


@pytest.mark.parametrize("system", ["groth16", "plonk"])
def test_the_gas_to_allow_is_enough_and_not_far_from_what_is_used(
    chain: Chain, verify: Verify, out: Path, made: dict[str, list[Proved]], system: str
) -> None:
    ran = verify(file_of(made[system]))

    assert (ran.code, ran.complaint) == (0, "")
    result = told(out)
    assert result == {"verified": True, "gasEstimate": result["gasEstimate"], "circuitsVerified": 3}
    used = [record(open_registry(), proof) for proof in made[system]]
    assert sum(used) < result["gasEstimate"] < sum(used) * 1.4
    assert ran.line("gas:") == f"gas: {result['gasEstimate']:,} to allow in all"
    assert len([line for line in ran.lines if re.match(r"gas \d of 3: \w+, [\d,]+ to allow$", line)]) == 3


def record(registry: Registry, proof: Proved) -> int:
    """Record it on the chain; the gas used."""
    digest, commitment = proof.statement.digest, proof.statement.commitment
    if proof.proof["system"] == "plonk":
        call = registry.record_call(digest, commitment, bytes.fromhex(digest_of(proof.proof)))
    else:
        call = registry.attest_call(digest, commitment, calldata_of(proof.proof))
    receipt = registry.node.receipt(send(registry.node, call))
    assert receipt
    return receipt.gas_used


@pytest.mark.parametrize("system", ["groth16", "plonk"])
def test_what_is_recorded_already_takes_none(
    chain: Chain, verify: Verify, out: Path, made: dict[str, list[Proved]], system: str
) -> None:
    verify(file_of(made[system][1:]))
    of_two = told(out)["gasEstimate"]
    record(open_registry(), made[system][0])

    ran = verify(file_of(made[system]))

    assert ran.line("gas 1") == "gas 1 of 3: request, none: it is recorded already"
    assert told(out)["gasEstimate"] == pytest.approx(of_two, rel=0.01)
    assert "gasSkipped" not in told(out)


def test_a_digest_that_comes_twice_is_recorded_once(
    chain: Chain, verify: Verify, out: Path, made: dict[str, list[Proved]]
) -> None:
    first = made["groth16"][0]

    ran = verify(file_of([first, first]))

    once = re.fullmatch(r"gas 1 of 2: request, ([\d,]+) to allow", ran.line("gas 1"))
    assert once
    assert ran.line("gas 2") == "gas 2 of 2: picture, the same digest as before"
    assert told(out)["gasEstimate"] == int(once[1].replace(",", ""))


def test_a_digest_that_somebody_else_has_recorded_leaves_the_gas_unknown(
    chain: Chain, verify: Verify, out: Path, made: dict[str, list[Proved]]
) -> None:
    record(open_registry(), prove(NAMES[0].encode(), secret=SECRET + 1))

    ran = verify(file_of(made["groth16"]))

    assert ran.code == 0
    assert told(out)["gasEstimate"] is None
    assert told(out)["gasSkipped"] == "The contract refuses: already registered."
    assert ran.line("gas") == "gas: not known. The contract refuses: already registered."


def test_a_node_that_is_not_there_leaves_the_gas_unknown(
    chain: Chain, verify: Verify, out: Path, made: dict[str, list[Proved]]
) -> None:
    ran = verify(file_of(made["groth16"]), CHAIN_RPC_URL="http://127.0.0.1:9/secret-of-the-node")

    assert (ran.code, ran.complaint) == (0, "")
    assert told(out) == {
        "verified": True,
        "gasEstimate": None,
        "circuitsVerified": 3,
        "gasSkipped": "The node can't be reached (ConnectionError).",
    }
    assert "secret-of-the-node" not in "\n".join(ran.lines)


def test_an_address_without_a_contract_leaves_the_gas_unknown(
    chain: Chain, verify: Verify, out: Path, made: dict[str, list[Proved]]
) -> None:
    verify(file_of(made["groth16"]), CONTRACT_ADDRESS=SENDER)

    assert told(out)["gasSkipped"] == f"There is no contract at {SENDER} on chain 31337."


def test_what_is_no_proof_is_named(
    no_chain: None, verify: Verify, out: Path, made: dict[str, list[Proved]]
) -> None:
    content = file_of(made["groth16"])
    content["proofs"][1]["proof"], content["proofs"][2]["proof"] = (
        content["proofs"][2]["proof"],
        content["proofs"][1]["proof"],
    )

    ran = verify(content)

    assert (ran.code, ran.complaint) == (4, "no proof of what is claimed: picture, result\n")
    assert ran.line("proof 1").endswith(" ms")
    assert ran.line("proof 2").endswith(", no proof")
    assert not out.exists()


def changed(path: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    """Proofs with another value at a place such as `proofs.0.name`."""

    def change(content: dict[str, Any]) -> Any:
        place: Any = content
        *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        for step in way:
            place = place[step]
        place[last] = value
        return content

    return change


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda content: b"", "proofs.json is no JSON"),
        (lambda content: b"\xff", "proofs.json is no JSON"),
        (lambda content: b"[" * 100_000, "proofs.json is no JSON"),
        (lambda content: b"x" * 9_000_000, "proofs.json is larger than 8,388,608 bytes"),
        (lambda content: [], "proofs.json holds no proofs: it is no object"),
        (lambda content: {"proofs": [1]}, "proofs.json holds no proofs: commitment is missing"),
        (changed("proofs", []), "proofs.json holds no proofs: proofs is no list of 1 to 100"),
        (changed("commitment", "0x" + "f" * 64), "commitment is no number of the scalar field"),
        (changed("submitter", "0x1"), "proofs.json holds no proofs: submitter is not what it should be"),
        (
            changed("proofs.0.name", "two\nlines"),
            "proofs.json holds no proofs: name is not what it should be",
        ),
        (changed("proofs.0.proof", None), "proofs.json holds no proofs: a proof is no object"),
        (changed("proofs.0.seconds", float("nan")), "proofs.json is no JSON"),
        (changed("proofs.0.proof", {"system": "groth16"}), "no proof of what is claimed: request"),
        (changed("proofType", "plonk"), "no proof of what is claimed: request, picture, result"),
    ],
)
def test_a_damaged_file_is_one_sentence(
    no_chain: None,
    verify: Verify,
    out: Path,
    made: dict[str, list[Proved]],
    change: Callable[[dict[str, Any]], Any],
    complaint: str,
) -> None:
    ran = verify(change(file_of(made["groth16"])))

    assert ran.code == 4
    assert ran.complaint.endswith(f"{complaint}\n")
    assert ran.complaint.count("\n") == 1
    assert not out.exists()


def test_a_file_that_is_not_there_is_one_sentence(no_chain: None, out: Path) -> None:
    ran = run("verify", "--proofs", "/no/such.json", "--out", out)

    assert (ran.code, ran.complaint) == (2, "/no/such.json can't be read: No such file or directory\n")


def test_a_proof_of_a_prover_that_is_not_installed(
    no_chain: None, verify: Verify, made: dict[str, list[Proved]]
) -> None:
    ran = verify(file_of(made["groth16"]) | {"proofType": "stark"})

    assert ran.code == 3
    assert ran.complaint.startswith("prover not installed: ")


def test_help_documents_arguments_files_and_exit_codes() -> None:
    ran = run("verify", "--help")

    said = "\n".join(ran.lines)
    assert ran.code == 0
    for word in ("--proofs FILE", "--out FILE", '"gasEstimate"', "gasSkipped"):
        assert word in said
    assert re.findall(r"^  (\d)  ", said, re.MULTILINE) == ["0", "1", "2", "3", "4", "5", "6"]
