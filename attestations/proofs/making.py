"""Makes proofs in a process of their own, bounded in memory and time, and says whether a proof is one.

The creator's key is given to that process on its stdin: never as an argument, in the environment, a log or an error.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from attestations.proofs import child
from attestations.proofs.protocol import InvalidStatement, ProofFailed, ProverNotInstalled, Statement
from attestations.proofs.provers import find_prover, keys_dir, prover_path

LOOK_EVERY_SECONDS = 0.2
KEPT_OF_STDERR = 500
# A panic may quote numbers of the witness.
LONG_NUMBER = re.compile(r"(0x)?[0-9a-fA-F]{16,}")
# Rust's last words, Python's, and what there is to hear where a thread gets no memory for its stack.
MEMORY_IS_OUT = re.compile(
    r"memory allocation of|MemoryError|[Cc]annot allocate memory|out of memory|ThreadPoolBuildError"
)
PASSED_ON = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")
THREADS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeProof:
    """A proof as JSON, verified once; the seconds of "setup", "prove" and "verify"; memory at its peak."""

    proof: dict[str, Any]
    stages: dict[str, float]
    peak_mb: float
    verifying_key: str


def make_proof(
    system: str, statement: Statement, secret: int, *, checkpoint: Callable[[], None] = lambda: None
) -> MadeProof:
    """Prove `statement` with the creator's key, in a process that may take PROOF_MEMORY_MB and PROOF_SECONDS.

    `checkpoint` is called about 5 times a second, and what it raises ends the work at once. Raises InvalidStatement,
    ProverNotInstalled, ProofFailed.
    """
    _ = statement.public_inputs  # raises before there is a process
    order = {
        "prover": prover_path(system),
        "keys": str(keys_dir(system)),
        "memory_mb": settings.PROOF_MEMORY_MB,
        "commitment": hex(statement.commitment),
        "digest": statement.digest.hex(),
        "submitter": statement.submitter,
        "secret": hex(secret),
    }
    process = _start()
    try:
        stdout, stderr = _wait(process, json.dumps(order), checkpoint)
    finally:
        _end(process)
    return _read(process.returncode, stdout, stderr)


def is_valid(system: str, statement: Statement, proof: Any) -> bool:
    """Whether `proof`, as JSON, proves `statement` under the keys at hand: False for whatever does not.

    Raises ProverNotInstalled, ProofFailed("keys_damaged").
    """
    prover = find_prover(system)
    try:
        return prover.verify(statement, prover.from_json(proof))
    except InvalidStatement:
        return False
    except ProofFailed as error:
        if error.code != "proof_invalid":
            raise
        return False


def _start() -> subprocess.Popen[str]:
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    threads = {"RAYON_NUM_THREADS": str(THREADS), "ZKSNAKE_PARALLEL_CPU": "1", "RUST_BACKTRACE": "0"}
    return subprocess.Popen(
        [sys.executable, "-m", child.__name__, str(os.getpid())],
        cwd=settings.BASE_DIR,
        env=environment | threads,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def _wait(process: subprocess.Popen[str], order: str, checkpoint: Callable[[], None]) -> tuple[str, str]:
    """What it has written by its end; ProofFailed("timed_out") or what `checkpoint` raises."""
    ends_by = time.monotonic() + settings.PROOF_SECONDS
    given: str | None = order
    while True:
        try:
            return process.communicate(given, timeout=LOOK_EVERY_SECONDS)
        except subprocess.TimeoutExpired:
            given = None  # the rest of it is sent by the next call
            checkpoint()
            if time.monotonic() > ends_by:
                detail = f"no proof within PROOF_SECONDS ({settings.PROOF_SECONDS} s)"
                raise ProofFailed("timed_out", detail) from None


def _end(process: subprocess.Popen[str]) -> None:
    """Kill it and whatever it has started, and close the pipes."""
    if process.returncode is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.communicate()


def _read(returncode: int, stdout: str, stderr: str) -> MadeProof:
    try:
        answer = json.loads(stdout)
    except ValueError:
        raise _died(returncode, stderr) from None
    if "made" in answer:
        return MadeProof(**answer["made"])
    raise _refusal(answer["failed"]["code"], answer["failed"]["detail"], stderr)


def _refusal(code: str, detail: str, stderr: str) -> Exception:
    """What the process has said, as the exception that it was there."""
    if code == child.INVALID_STATEMENT:
        return InvalidStatement(detail)
    if code == child.NOT_INSTALLED:
        return ProverNotInstalled(detail)
    if code == "out_of_memory" or (code == "prover_failed" and MEMORY_IS_OUT.search(stderr)):
        return _out_of_memory()
    return ProofFailed(code, f"{detail}. {_tail(stderr)}".strip() if code == "prover_failed" else detail)


def _died(returncode: int, stderr: str) -> ProofFailed:
    """Why it ended without an answer: the kernel kills what takes too much, Rust aborts where it gets no memory."""
    if returncode == -signal.SIGKILL or MEMORY_IS_OUT.search(stderr):
        return _out_of_memory()
    how = f"signal {-returncode}" if returncode < 0 else f"exit code {returncode}"
    return ProofFailed("prover_failed", f"the prover's process ended by {how}. {_tail(stderr)}".strip())


def _out_of_memory() -> ProofFailed:
    detail = f"the proof takes more memory than PROOF_MEMORY_MB ({settings.PROOF_MEMORY_MB} MB)"
    return ProofFailed("out_of_memory", detail)


def _tail(stderr: str) -> str:
    return LONG_NUMBER.sub("…", stderr)[-KEPT_OF_STDERR:].strip()
