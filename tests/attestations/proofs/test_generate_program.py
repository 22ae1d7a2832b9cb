"""`python -m attestations.proofs.generate` proves files, says how it goes, and keeps the creator's key to itself."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from cryptography.fernet import Fernet
from django.conf import settings as django_settings

from attestations.proofs.files import read_proofs
from attestations.proofs.making import is_valid
from attestations.proofs.mimc import commitment_of
from attestations.proofs.protocol import SCALAR_FIELD
from config.local_chain import FIRST_KEY
from tests.attestations.chain.chains import SENDER
from tests.attestations.proofs.programs import Ran, run
from tests.attestations.proofs.proving import SECRET, SUBMITTER, wait_until

CONTENTS = {"request": b'{"prompt": "a heron"}', "picture": bytes(100_000), "nothing": b""}


@pytest.fixture(autouse=True)
def _environment(proof_keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run's keys and no chain. The program needs no database."""
    monkeypatch.setenv("PROOF_KEYS_DIR", str(proof_keys))
    monkeypatch.setenv("LOCAL_CHAIN", "false")
    for name in ("CHAIN_RPC_URL", "PRIVATE_KEY", "CONTRACT_ADDRESS"):
        monkeypatch.setenv(name, "")


@pytest.fixture
def inputs(tmp_path: Path) -> list[str]:
    """Arguments for three files."""
    for name, content in CONTENTS.items():
        (tmp_path / name).write_bytes(content)
    return [f"--input={name}={tmp_path / name}" for name in CONTENTS]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "proofs.json"


def generate(system: str, out: Path, *arguments: str, stdin: str = f"{SECRET:#066x}\n", **env: str) -> Ran:
    return run("generate", "--proof-type", system, "--out", out, *arguments, stdin=stdin, **env)


def wrong(kind: str) -> dict[str, str]:
    """The environment in which the prover `wrong` is one of those that misbehave."""
    return {"PROVERS": f"wrong=tests.attestations.proofs.programs.{kind}"}


def written(out: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(out.read_text())
    return data


@pytest.mark.parametrize("system", ["groth16", "plonk"])
def test_every_input_is_proved_with_the_key_given(inputs: list[str], out: Path, system: str) -> None:
    ran = generate(system, out, *inputs, "--submitter", SUBMITTER)

    assert (ran.code, ran.complaint) == (0, "")
    data = written(out)
    assert data.keys() == {"proofType", "commitment", "submitter", "proofs"}
    assert data["proofType"] == system
    assert data["commitment"] == f"{commitment_of(SECRET):#066x}"
    assert data["submitter"] == SUBMITTER
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}
    assert {proof["name"]: proof["sha256Hash"] for proof in data["proofs"]} == digests
    assert all(proof.keys() == {"name", "sha256Hash", "proof", "seconds"} for proof in data["proofs"])
    file = read_proofs(out)
    assert all(is_valid(system, file.statement_of(proof), proof.proof) for proof in file.proofs)


def test_its_lines_say_what_happens(inputs: list[str], out: Path) -> None:
    ran = generate("groth16", out, *inputs)

    digest = hashlib.sha256(CONTENTS["picture"]).hexdigest()[:8]
    assert ran.lines[1] == f"input 2 of 3: picture, 100,000 bytes, sha256 {digest}…"
    assert ran.lines[3] == f"creator's key: given; commitment {f'{commitment_of(SECRET):#066x}'[:10]}…"
    assert ran.lines[4] == f"submitter: 0x{'0' * 40} (nobody: no chain configured)"
    assert re.fullmatch(r"keys: loaded in \d+\.\d\d s, verifying key [0-9a-f]{8}…", ran.lines[5])
    assert re.fullmatch(
        r"proof 1 of 3: request, made in \d+\.\d\d s, verified in \d+ ms, \d+ bytes of JSON", ran.lines[6]
    )
    size = re.escape(f"{out.stat().st_size:,}")
    assert re.fullmatch(rf"written: proofs\.json, {size} bytes; \d+ MB of memory at most", ran.lines[-1])
    assert len(ran.lines) == 10


def test_without_a_key_a_new_one_is_made_each_time(inputs: list[str], out: Path) -> None:
    commitments = set()
    for _ in range(2):
        ran = generate("groth16", out, inputs[0], stdin="")
        commitments.add(written(out)["commitment"])
        assert "none is given, so a new one is made and not kept" in ran.line("creator's key: ")

    assert len(commitments) == 2


@pytest.mark.parametrize("key", ["0x0", "no key", f"{SCALAR_FIELD:x}", "1" * 65])
def test_what_is_no_key_is_refused_and_not_repeated(inputs: list[str], out: Path, key: str) -> None:
    ran = generate("groth16", out, inputs[0], stdin=f"{key}\n")

    assert ran.code == 2
    assert ran.complaint == (
        "what stands on stdin is no key: a hexadecimal number of the scalar field, not 0\n"
    )
    assert not out.exists()


def test_proofs_are_for_whoever_publishes(inputs: list[str], out: Path) -> None:
    chain = {"CHAIN_RPC_URL": "http://127.0.0.1:9", "PRIVATE_KEY": FIRST_KEY, "CONTRACT_ADDRESS": SUBMITTER}

    ran = generate("groth16", out, inputs[0], **chain)

    assert ran.line("submitter: ") == f"submitter: {SENDER} (that of PRIVATE_KEY)"
    assert written(out)["submitter"] == SENDER


def test_keys_are_made_where_there_are_none(inputs: list[str], out: Path, tmp_path: Path) -> None:
    environment = {"PROOF_KEYS_DIR": str(tmp_path / "new")}

    ran = generate("plonk", out, inputs[0], **environment)
    again = generate("plonk", out, inputs[0], **environment)

    assert ran.lines[-4] == "keys: there are none of plonk yet; its prover makes them first"
    assert ran.lines[-3].startswith("keys: made in ")
    assert again.line("keys: ").startswith("keys: loaded in ")


def test_no_stark_is_installed(inputs: list[str], out: Path) -> None:
    ran = generate("stark", out, *inputs)

    assert ran.code == 3
    assert ran.complaint == (
        "prover not installed: no kept STARK prover installs here; PROVERS may name one\n"
    )
    assert not out.exists()


def test_an_unknown_type_is_not_installed_either(inputs: list[str], out: Path) -> None:
    ran = generate("../x", out, inputs[0])

    assert (ran.code, ran.complaint) == (3, "prover not installed: PROVERS names no '../x'\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--input", "nameless"], "--input nameless is not NAME=FILE"),
        (["--input", "a b=/dev/null"], "--input a b=/dev/null is not NAME=FILE"),
        (["--input", "a=/dev/null", "--input", "a=/dev/null"], "there are two inputs a"),
        (["--input", "a=/no/such"], "/no/such can't be read: No such file or directory"),
        (["--input", "a=/tmp"], "/tmp can't be read: Is a directory"),
        (
            ["--input", "a=/dev/null", "--submitter", "0x1"],
            "--submitter is no address: 0x and 40 hexadecimal digits",
        ),
        (["--input", "a=/dev/null"] + ["--input", "b=/dev/null"] * 100, "there are more than 100 inputs"),
    ],
)
def test_wrong_arguments_are_one_sentence(out: Path, arguments: list[str], complaint: str) -> None:
    ran = generate("groth16", out, *arguments)

    assert (ran.code, ran.complaint) == (2, f"{complaint}\n")
    assert not out.exists()


def test_a_result_that_cannot_be_written_is_one_sentence(inputs: list[str]) -> None:
    ran = generate("groth16", Path("/no/such/proofs.json"), inputs[0])

    assert (ran.code, ran.complaint) == (
        2,
        "/no/such/proofs.json can't be written: No such file or directory\n",
    )


def test_damaged_keys_are_one_sentence(inputs: list[str], out: Path, own_keys: Path) -> None:
    (own_keys / "groth16" / "proving.key").write_text("{}")

    ran = generate("groth16", out, inputs[0], PROOF_KEYS_DIR=str(own_keys))

    assert ran.code == 4
    assert "proving.key is not what its checksum says" in ran.complaint
    assert ran.complaint.count("\n") == 1


@pytest.mark.parametrize(("system", "limit"), [("groth16", 15), ("plonk", 30), ("plonk", 45)])
def test_a_proof_that_takes_too_much_memory_is_given_up(
    inputs: list[str], out: Path, system: str, limit: int
) -> None:
    """Rust aborts at the higher limits, Python raises at the lower ones."""
    ran = generate(system, out, inputs[0], PROOF_MEMORY_MB=str(limit))

    assert ran.code == 4
    assert ran.complaint == f"the proof takes more memory than PROOF_MEMORY_MB ({limit} MB)\n"
    assert not out.exists()


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("Greedy", r"the proof takes more memory than PROOF_MEMORY_MB \(200 MB\)"),
        ("Panicking", r"PanicException in \w+\.py, line \d+\..*"),
        ("Liar", r"the proof that was made does not verify"),
        ("Killed", r"the proof takes more memory than PROOF_MEMORY_MB \(200 MB\)"),
    ],
)
def test_a_prover_that_fails_is_one_sentence(inputs: list[str], out: Path, kind: str, complaint: str) -> None:
    ran = generate("wrong", out, inputs[0], PROOF_MEMORY_MB="200", **wrong(kind))

    assert ran.code == 4
    assert re.fullmatch(complaint + "\n", ran.complaint)


def test_the_key_is_told_to_nobody_whatever_a_prover_does(inputs: list[str], out: Path) -> None:
    ran = generate("wrong", out, inputs[0], **wrong("Telltale"))

    said = "\n".join([*ran.lines, ran.complaint])
    assert ran.code == 4
    assert re.search(r"^ValueError in programs\.py, line \d+\. .*\n$", ran.complaint)
    assert f"{SECRET}" not in said
    assert f"{SECRET:x}" not in said
    assert not out.exists()


def test_the_key_is_in_no_argument_and_no_environment(inputs: list[str], out: Path, tmp_path: Path) -> None:
    generate("wrong", out, inputs[0], **wrong("Nosy"))

    assert written(out)["proofs"][0]["proof"] == {"proof": [False] * 4}
    assert not any(f"{SECRET:x}" in path.read_text(errors="replace") for path in tmp_path.rglob("*.json"))


def test_a_prover_sees_nothing_of_the_environment_and_no_setting(
    inputs: list[str], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "config.settings")
    secrets = ("PRIVATE_KEY", "ENCRYPTION_KEYS", "SECRET_KEY", "DATABASE_URL")
    given = {
        "PRIVATE_KEY": FIRST_KEY,
        "ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "SECRET_KEY": "s" * 50,
    }

    ran = generate("wrong", out, inputs[0], **given, **wrong("Looking"))

    assert ran.code == 0, ran.complaint
    seen = written(out)["proofs"][0]["proof"]["proof"]
    assert "PATH" in seen["environment"]
    assert not {"DJANGO_SETTINGS_MODULE", *secrets} & set(seen["environment"])
    assert not any(value in str(seen) for value in given.values())
    assert seen["has_settings"] is False


@pytest.mark.parametrize("kills", [os.kill, os.killpg])
def test_it_leaves_no_prover_behind(
    inputs: list[str], out: Path, tmp_path: Path, kills: Callable[[int, int], None]
) -> None:
    """The kernel ends it, for it is in a group of its own."""
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "attestations.proofs.generate",
            "--proof-type=plonk",
            f"--out={out}",
            inputs[0],
        ],
        cwd=django_settings.BASE_DIR,
        env=os.environ | {"PROOF_KEYS_DIR": str(tmp_path / "new")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        assert program.stdout
        assert any("makes them" in line for line in iter(program.stdout.readline, ""))
        wait_until(lambda: bool(psutil.Process(program.pid).children()))
        (prover,) = psutil.Process(program.pid).children()

        kills(program.pid, signal.SIGKILL)

    wait_until(lambda: not prover.is_running() or prover.status() == psutil.STATUS_ZOMBIE)


def test_help_documents_arguments_files_and_exit_codes() -> None:
    ran = run("generate", "--help")

    said = "\n".join(ran.lines)
    assert ran.code == 0
    for word in ("--proof-type", "--input NAME=FILE", "--out FILE", "--submitter", "stdin", '"sha256Hash"'):
        assert word in said
    assert re.findall(r"^  (\d)  ", said, re.MULTILINE) == ["0", "1", "2", "3", "4", "5", "6"]
