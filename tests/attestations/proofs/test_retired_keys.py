"""A proof is verified with the key that it names, also when others have taken that key's place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from attestations.proofs.ceremony import SYSTEMS, folder_of
from attestations.proofs.keys import MANIFEST, KeyPair
from attestations.proofs.making import is_valid
from attestations.proofs.protocol import ProofFailed
from attestations.proofs.provers import find_prover
from tests.attestations.proofs.proving import Proved, make_statement, prove


@pytest.fixture(scope="module")
def others() -> dict[str, KeyPair]:
    """Keys that somebody else has made."""
    return {name: system.make() for name, system in SYSTEMS.items()}


def use(system: str, keys: KeyPair) -> None:
    folder_of(system).replace(keys, origin="elsewhere", contributions=[], unverified_contributions=0)


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_proof_outlives_its_keys(
    own_keys: Path, others: dict[str, KeyPair], proofs: dict[str, Proved], system: str
) -> None:
    old = proofs[system]

    use(system, others[system])

    new = prove(system, make_statement())
    assert (
        new.proof["verifying_key"] == find_prover(system).verifying_key_digest != old.proof["verifying_key"]
    )
    assert is_valid(system, new.statement, new.proof)
    assert is_valid(system, old.statement, old.proof)


@pytest.mark.parametrize("system", SYSTEMS)
def test_it_proves_nothing_under_another_key_than_its_own(
    own_keys: Path, others: dict[str, KeyPair], proofs: dict[str, Proved], system: str
) -> None:
    old = proofs[system]
    use(system, others[system])
    new = prove(system, make_statement())

    for proof, other in ((old.proof, new.proof), (new.proof, old.proof)):
        assert not is_valid(system, old.statement, proof | {"verifying_key": other["verifying_key"]})
    assert not is_valid(system, old.statement, old.proof | {"verifying_key": "0" * 64})
    assert not is_valid(system, make_statement(b"another picture"), old.proof)


def test_the_manifest_lists_each_key_that_was_used_once(own_keys: Path, others: dict[str, KeyPair]) -> None:
    folder = folder_of("plonk")
    first, first_keys = find_prover("plonk").verifying_key_digest, folder.load_both()

    use("plonk", others["plonk"])
    second = find_prover("plonk").verifying_key_digest
    assert [entry["sha256"] for entry in folder.manifest()["retired"]] == [first]
    use("plonk", first_keys)
    assert [entry["sha256"] for entry in folder.manifest()["retired"]] == [second]
    use("plonk", others["plonk"])

    assert [entry["sha256"] for entry in folder.manifest()["retired"]] == [first]
    assert all((folder.path / entry["name"]).exists() for entry in folder.manifest()["retired"])


def test_a_retired_key_that_is_damaged_is_said(
    own_keys: Path, others: dict[str, KeyPair], proofs: dict[str, Proved]
) -> None:
    old = proofs["plonk"]
    use("plonk", others["plonk"])
    (own_keys / "plonk" / "verifying.key").write_bytes(b"{}")

    with pytest.raises(ProofFailed, match=r"verifying\.key is not what its checksum says") as failure:
        is_valid("plonk", old.statement, old.proof)

    assert failure.value.code == "keys_damaged"


@pytest.mark.parametrize("retired", [5, [5], [{}]])
def test_a_manifest_that_does_not_say_which_are_retired_is_refused(
    own_keys: Path, proofs: dict[str, Proved], retired: object
) -> None:
    old = proofs["plonk"]
    path = own_keys / "plonk" / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"retired": retired}))

    with pytest.raises(ProofFailed, match="retired") as failure:
        is_valid("plonk", old.statement, old.proof | {"verifying_key": "0" * 64})

    assert failure.value.code == "keys_damaged"
