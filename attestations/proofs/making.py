"""Makes proofs in a process apart, bounded in memory and time, and says whether a proof is one.

The creator's key is given to that process on its stdin: never as an argument, in the environment, a log or an error.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from attestations.proofs import child
from attestations.proofs.process import ProcessEnded, ask
from attestations.proofs.protocol import InvalidStatement, ProofFailed, ProverNotInstalled, Statement
from attestations.proofs.provers import find_prover, keys_dir, prover_path

KEPT_OF_STDERR = 500
# A panic may quote numbers of the witness.
LONG_NUMBER = re.compile(r"(0x)?[0-9a-fA-F]{16,}")
# Rust's last words, Python's, and what there is to hear where a thread gets no memory for its stack.
MEMORY_IS_OUT = re.compile(
    r"memory allocation of|MemoryError|[Cc]annot allocate memory|out of memory|ThreadPoolBuildError"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeProof:
    """A proof as JSON, verified once, and the seconds of "setup", "prove" and "verify".

    `peak_mb` is the most memory that its process has held so far, the proofs before this one included.
    """

    proof: dict[str, Any]
    stages: dict[str, float]
    peak_mb: float
    verifying_key: str


def make_proof(
    system: str, statement: Statement, secret: int, *, checkpoint: Callable[[], None] = lambda: None
) -> MadeProof:
    """Prove `statement` with the creator's key, in a process that may take PROOF_MEMORY_MB and PROOF_SECONDS.

    The process stays for this thread's next proof; "setup" is short then. `checkpoint` is called about 5 times a
    second, and what it raises ends the work at once. Raises InvalidStatement, ProverNotInstalled, ProofFailed.
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
    try:
        answer = ask(json.dumps(order), checkpoint)
    except ProcessEnded as ended:
        raise _died(ended.returncode, ended.stderr) from None
    if answer.is_proof:
        return MadeProof(**answer.said["made"])
    failed = answer.said["failed"]
    raise _refusal(failed["code"], failed["detail"], answer.stderr)


def is_valid(system: str, statement: Statement, proof: Any) -> bool:
    """Whether `proof`, as JSON, proves `statement` under the key that it names: False for whatever does not.

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
