"""A proof is made by a process apart, bounded in memory and time, which keeps the creator's key to itself."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings

from attestations.proofs.making import MadeProof, is_valid, make_proof
from attestations.proofs.protocol import InvalidStatement, ProofFailed, ProverNotInstalled, Statement
from attestations.proofs.provers import find_prover
from tests.attestations.proofs.proving import SECRET, Wrong, children, is_running, make_statement, wait_until


class Endless(Wrong):
    """It also starts a process that would outlive it."""

    def prove(self, statement: Statement, secret: int) -> Any:
        subprocess.Popen(["sleep", "600.25"])
        time.sleep(600)


class Greedy(Wrong):
    def prove(self, statement: Statement, secret: int) -> Any:
        return len([bytes(1_000_000) + os.urandom(1) for _ in range(10_000)])


class Killed(Wrong):
    """As the kernel does when the host has no memory left."""

    def prove(self, statement: Statement, secret: int) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


class Crashing(Wrong):
    def prove(self, statement: Statement, secret: int) -> Any:
        os.abort()


class Panicking(Wrong):
    def prove(self, statement: Statement, secret: int) -> Any:
        from zksnake.ecc import EllipticCurve

        return EllipticCurve("BN254")(1, 3)


class Telltale(Wrong):
    """It says the key in every way that it knows."""

    def prove(self, statement: Statement, secret: int) -> Any:
        print(secret, hex(secret))
        print(f"key {secret} {secret:x}", file=sys.stderr)
        logging.getLogger("prover").error("key %s", secret)
        raise ValueError(f"the key is {secret}, {hex(secret)}")


class Liar(Wrong):
    def verify(self, statement: Statement, proof: Any) -> bool:
        return False

    def prove(self, statement: Statement, secret: int) -> Any:
        return 5


class Chatty(Wrong):
    """More than a pipe holds, on both."""

    def prove(self, statement: Statement, secret: int) -> Any:
        for _ in range(50_000):
            print("a line of forty characters, said so often")
        return 5


class Nosy(Wrong):
    """What a prover can see of the world."""

    def prove(self, statement: Statement, secret: int) -> Any:
        return {"arguments": Path("/proc/self/cmdline").read_text(), "environment": dict(os.environ)}


@pytest.mark.parametrize("system", ["groth16", "plonk"])
def test_a_proof_is_made_and_verifies(proof_keys: Path, system: str) -> None:
    statement = make_statement()

    made = make_proof(system, statement, SECRET)

    assert is_valid(system, statement, made.proof)
    assert made.proof["system"] == system
    assert made.verifying_key == made.proof["verifying_key"] == find_prover(system).verifying_key_digest
    assert made.stages.keys() == {"setup", "prove", "verify"}
    assert made.stages["setup"] >= 0  # nothing, where the process has the keys
    assert min(made.stages["prove"], made.stages["verify"]) > 0
    assert 20 < made.peak_mb < 256


def test_keys_are_made_by_the_first_proof(settings: Any, tmp_path: Path) -> None:
    settings.PROOF_KEYS_DIR = tmp_path / "new"

    made = make_proof("plonk", make_statement(), SECRET)

    assert is_valid("plonk", make_statement(), made.proof)


def test_the_key_must_be_the_one_behind_the_commitment(proof_keys: Path) -> None:
    with pytest.raises(InvalidStatement, match="the key is not the one behind the commitment"):
        make_proof("plonk", make_statement(), SECRET + 1)


def test_no_stark_is_installed(settings: Any) -> None:
    verbs: list[Callable[[], Any]] = [
        lambda: find_prover("stark"),
        lambda: make_proof("stark", make_statement(), SECRET),
        lambda: is_valid("stark", make_statement(), {}),
        lambda: find_prover("snark"),
    ]

    for verb in verbs:
        with pytest.raises(ProverNotInstalled, match="^prover not installed: "):
            verb()
    settings.PROVERS = {"stark": "nowhere.at.all.Prover"}
    with pytest.raises(ProverNotInstalled, match=r"^prover not installed: nowhere\.at\.all"):
        make_proof("stark", make_statement(), SECRET)


@pytest.mark.parametrize("system", ["groth16", "plonk"])
def test_memory_is_bounded(proof_keys: Path, settings: Any, system: str) -> None:
    settings.PROOF_MEMORY_MB = 20

    with pytest.raises(ProofFailed, match=r"PROOF_MEMORY_MB \(20 MB\)") as failure:
        make_proof(system, make_statement(), SECRET)

    assert failure.value.code == "out_of_memory"


@pytest.mark.parametrize("kind", [Greedy, Killed])
def test_whatever_takes_too_much_is_out_of_memory(use: Any, settings: Any, kind: type) -> None:
    use(kind)
    settings.PROOF_MEMORY_MB = 256

    with pytest.raises(ProofFailed, match="PROOF_MEMORY_MB") as failure:
        make_proof("wrong", make_statement(), SECRET)

    assert failure.value.code == "out_of_memory"


def test_time_is_bounded_and_nothing_stays_behind(use: Any, settings: Any) -> None:
    use(Endless)
    settings.PROOF_SECONDS = 1

    with pytest.raises(ProofFailed, match=r"PROOF_SECONDS \(1 s\)") as failure:
        make_proof("wrong", make_statement(), SECRET)

    assert failure.value.code == "timed_out"
    assert children() == []
    wait_until(lambda: not is_running("sleep\x00600.25"))  # killed, and gone when the kernel has come to it


def test_what_a_checkpoint_raises_ends_the_work_at_once(use: Any) -> None:
    use(Endless)
    calls: list[float] = []

    def checkpoint() -> None:
        calls.append(time.monotonic())
        if len(calls) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_proof("wrong", make_statement(), SECRET, checkpoint=checkpoint)

    assert len(calls) == 4
    assert 0.3 < calls[3] - calls[0] < 5
    assert children() == []
    wait_until(lambda: not is_running("sleep\x00600.25"))  # killed, and gone when the kernel has come to it


def test_a_killed_parent_leaves_no_prover(use: Any, tmp_path: Path) -> None:
    code = (
        "import django; django.setup()\n"
        "from django.conf import settings\n"
        "from pathlib import Path\n"
        f"settings.PROVERS, settings.PROOF_KEYS_DIR = {{'wrong': '{__name__}.Endless'}}, Path('{tmp_path}')\n"
        "from attestations.proofs.making import make_proof\n"
        "from tests.attestations.proofs.proving import SECRET, make_statement\n"
        "print('started', flush=True)\n"
        "make_proof('wrong', make_statement(), SECRET)\n"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"}
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=django_settings.BASE_DIR, env=environment)
    wait_until(lambda: is_running(f"attestations.proofs.child\x00{parent.pid}"))

    parent.kill()
    parent.wait()

    wait_until(lambda: not is_running(f"attestations.proofs.child\x00{parent.pid}"))


@pytest.mark.parametrize(("kind", "says"), [(Crashing, "signal 6"), (Panicking, "PanicException")])
def test_a_prover_that_breaks_is_a_failure_with_a_reason(use: Any, kind: type, says: str) -> None:
    use(kind)

    with pytest.raises(ProofFailed, match=says) as failure:
        make_proof("wrong", make_statement(), SECRET)

    assert failure.value.code == "prover_failed"
    assert len(str(failure.value)) < 1_000


def test_a_proof_that_does_not_verify_is_none(use: Any) -> None:
    use(Liar)

    with pytest.raises(ProofFailed, match="does not verify") as failure:
        make_proof("wrong", make_statement(), SECRET)

    assert failure.value.code == "proof_invalid"


def test_a_prover_may_print(use: Any) -> None:
    use(Chatty)

    made = make_proof("wrong", make_statement(), SECRET)

    assert made.proof == {"proof": 5}


def test_the_key_is_in_no_error_and_no_log(use: Any, caplog: Any, capfd: Any) -> None:
    use(Telltale)

    with pytest.raises(ProofFailed) as failure:
        make_proof("wrong", make_statement(), SECRET)

    said = [str(failure.value), repr(failure.value), caplog.text, *capfd.readouterr()]
    assert "ValueError" in said[0]
    assert all(text not in said_here for said_here in said for text in _spellings(SECRET))


def test_the_key_is_in_no_argument_and_no_environment(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    use(Nosy)
    monkeypatch.setenv("PRIVATE_KEY", "0xfeed")
    monkeypatch.setenv("SECRET_KEY", "0xfeed")
    monkeypatch.setenv("DATABASE_URL", "postgres://0xfeed")

    made: MadeProof = make_proof("wrong", make_statement(), SECRET)

    seen = str(made.proof)
    assert "attestations.proofs.child" in seen
    assert all(text not in seen for text in _spellings(SECRET))
    assert "0xfeed" not in seen


def _spellings(secret: int) -> list[str]:
    return [str(secret), f"{secret:x}", f"{secret:X}"]
