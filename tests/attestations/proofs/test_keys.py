"""Keys are made once, whole, for the owner only; what is damaged is said and never made again by itself."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings

from attestations.proofs.circuit import statement_circuit
from attestations.proofs.groth16 import Groth16Prover
from attestations.proofs.keys import SINGLE_PARTY, KeyFolder
from attestations.proofs.making import is_valid, make_proof
from attestations.proofs.plonk import PlonkProver
from attestations.proofs.protocol import ProofFailed
from attestations.proofs.provers import find_prover
from tests.attestations.proofs.proving import SECRET, Proved, make_statement, prove

KINDS = [Groth16Prover, PlonkProver]


def _lies_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_says_what_it_is(own_keys: Path, kind: type[Groth16Prover] | type[PlonkProver]) -> None:
    folder = own_keys / kind.name

    manifest = json.loads((folder / "manifest.json").read_bytes())

    assert manifest["system"] == kind.name
    assert manifest["circuit"] == statement_circuit().digest
    assert manifest["origin"] == SINGLE_PARTY
    assert manifest["files"]["verifying"]["sha256"] == kind(folder).verifying_key_digest
    assert sorted(_lies_in(folder)) == ["manifest.json", "proving.key", "verifying.key"]


def test_keys_are_for_the_owner_only(own_keys: Path) -> None:
    for system in own_keys.iterdir():
        if system.is_dir():
            assert stat.S_IMODE(system.stat().st_mode) == 0o700
            assert {stat.S_IMODE(path.stat().st_mode) for path in system.iterdir()} == {0o600}


@pytest.mark.parametrize("name", ["proving.key", "verifying.key", "manifest.json"])
@pytest.mark.parametrize("system", ["groth16", "plonk"])
@pytest.mark.parametrize("damage", ["changed", "emptied", "missing"])
def test_a_damaged_set_is_refused_and_left_alone(own_keys: Path, system: str, name: str, damage: str) -> None:
    path = own_keys / system / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"" if damage == "emptied" else b" !" + path.read_bytes())
    before = _lies_in(own_keys / system)

    with pytest.raises(ProofFailed) as failure:
        find_prover(system).setup()

    assert failure.value.code == "keys_damaged"
    assert str(path) in str(failure.value)
    assert "Restore" in str(failure.value)
    assert _lies_in(own_keys / system) == before


def test_the_error_reaches_who_wanted_a_proof(own_keys: Path) -> None:
    (own_keys / "groth16" / "proving.key").write_bytes(b"{}")

    with pytest.raises(ProofFailed, match=r"proving\.key is not what its checksum says") as failure:
        make_proof("groth16", make_statement(), SECRET)

    assert failure.value.code == "keys_damaged"


@pytest.mark.parametrize("system", ["groth16", "plonk"])
def test_keys_of_another_circuit_are_refused(own_keys: Path, system: str) -> None:
    path = own_keys / system / "manifest.json"
    path.write_text(path.read_text().replace(statement_circuit().digest, "0" * 64))

    with pytest.raises(ProofFailed, match="another proof system or another circuit") as failure:
        find_prover(system).setup()

    assert failure.value.code == "keys_damaged"


@pytest.mark.parametrize("manifest", ["[]", "{}", "5", '{"system": "groth16"}', "\x00"])
def test_a_manifest_that_is_none_is_refused(own_keys: Path, manifest: str) -> None:
    (own_keys / "groth16" / "manifest.json").write_text(manifest)

    with pytest.raises(ProofFailed, match="manifest.json") as failure:
        find_prover("groth16").setup()

    assert failure.value.code == "keys_damaged"


@pytest.mark.parametrize("files", [None, [], {"verifying": {}}, {"proving": 5, "verifying": 5}])
def test_a_manifest_that_names_no_files_is_refused(own_keys: Path, files: Any) -> None:
    path = own_keys / "groth16" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"files": files}))

    with pytest.raises(ProofFailed, match="names no verifying key") as failure:
        find_prover("groth16").setup()

    assert failure.value.code == "keys_damaged"


def test_verifying_makes_no_keys(settings: Any, tmp_path: Path, proofs: dict[str, Proved]) -> None:
    made = proofs["plonk"]
    settings.PROOF_KEYS_DIR = tmp_path / "none"

    with pytest.raises(ProofFailed, match="There are no keys") as failure:
        is_valid("plonk", made.statement, made.proof)

    assert failure.value.code == "keys_damaged"
    assert not settings.PROOF_KEYS_DIR.exists()


def test_a_verifier_needs_no_proving_key(own_keys: Path, proofs: dict[str, Proved]) -> None:
    made = proofs["plonk"]
    (own_keys / "plonk" / "proving.key").unlink()

    assert is_valid("plonk", made.statement, made.proof)


def test_new_keys_are_noticed_by_a_process_that_has_the_old(
    own_keys: Path, proofs: dict[str, Proved]
) -> None:
    """A publisher lives for weeks."""
    old = proofs["plonk"]
    assert is_valid("plonk", old.statement, old.proof)
    shutil.rmtree(own_keys / "plonk")
    PlonkProver(own_keys / "plonk").setup()

    assert not is_valid("plonk", old.statement, old.proof)
    renewed = prove("plonk", make_statement())
    assert renewed.proof["verifying_key"] != old.proof["verifying_key"]
    assert is_valid("plonk", renewed.statement, renewed.proof)


MAKE = """
import sys
from pathlib import Path
from attestations.proofs.plonk import PlonkProver
prover = PlonkProver(Path(sys.argv[1]))
prover.setup()
print(prover.verifying_key_digest)
"""


def test_processes_that_start_at_once_make_one_set(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAKE, str(tmp_path / "plonk")]
    processes = [
        subprocess.Popen(command, cwd=django_settings.BASE_DIR, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]

    digests = [process.communicate()[0].strip() for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0]
    assert set(digests) == {PlonkProver(tmp_path / "plonk").verifying_key_digest}
    assert sorted(path.name for path in tmp_path.iterdir()) == [".plonk.lock", "plonk"]


def test_a_maker_that_fails_leaves_nothing(tmp_path: Path) -> None:
    folder = KeyFolder(path=tmp_path / "groth16", system="groth16", circuit=statement_circuit().digest)

    def fail() -> Any:
        raise MemoryError

    with pytest.raises(MemoryError):
        folder.ensure(fail)
    with pytest.raises(TypeError):
        folder.ensure(lambda: {"proving": {"a": object()}, "verifying": {}})

    assert not folder.exists()
    assert [path.name for path in tmp_path.iterdir()] == [".groth16.lock"]


def test_what_a_killed_maker_left_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / ".plonk-abc").mkdir()
    (tmp_path / ".plonk-abc" / "proving.key").write_text("half")
    (tmp_path / "plonk").mkdir()  # an empty volume mounted there

    PlonkProver(tmp_path / "plonk").setup()

    assert sorted(_lies_in(tmp_path / "plonk")) == ["manifest.json", "proving.key", "verifying.key"]
