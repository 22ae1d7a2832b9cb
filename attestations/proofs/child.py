"""The process that makes proofs: `python -m attestations.proofs.child PARENT`, a line of JSON per order and answer.

It knows no settings, no database and no environment but what it needs, may take only so much memory, leaves no core
file, and dies with its parent. Provers, and so their keys, stay for the next order. The creator's key comes on stdin
and goes nowhere: nothing of an order is kept.
"""

from __future__ import annotations

import gc
import json
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from attestations.proofs.protocol import InvalidStatement, ProofFailed, Prover, ProverNotInstalled, Statement
from attestations.proofs.provers import load_prover
from config.processes import end_with_parent

INVALID_STATEMENT = "invalid_statement"
NOT_INSTALLED = "not_installed"
TAKEN = b"{}\n"


def main() -> None:
    """Answer orders until there are no more: at once that an order is taken, then what has come of it.

    That is `{"made": {proof, stages, peak_mb, verifying_key}}` or `{"failed": {code, detail}}`.
    """
    end_with_parent(signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the process that wanted a proof is gone")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    orders, answers = _channels()
    while _serve(orders, answers):
        gc.collect()  # a failure's frames, too, may hold the key in circles


def _channels() -> tuple[IO[bytes], IO[bytes]]:
    """Stdin and stdout, out of a prover's reach: it reads nothing there, and what it prints is no answer.

    Unbuffered, for a buffer would keep the last order.
    """
    orders, answers = (os.fdopen(os.dup(fd), mode, buffering=0) for fd, mode in ((0, "rb"), (1, "wb")))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    return orders, answers


def _serve(orders: IO[bytes], answers: IO[bytes]) -> bool:
    """Carry out the next order; whether there was one."""
    order = orders.readline()
    if not order.endswith(b"\n"):
        return False  # the parent is gone, or went while it wrote
    answers.write(TAKEN)
    answer = json.dumps(_answer(json.loads(order))).encode() + b"\n"
    # Whatever was said so far belongs to this order and not to the next.
    sys.stdout.flush()
    sys.stderr.flush()
    while answer:
        answer = answer[answers.write(answer) :]
    return True


def _answer(order: dict[str, Any]) -> dict[str, Any]:
    try:
        _bound_memory(None)
        prover = load_prover(order["prover"], Path(order["keys"]))
        _bound_memory(order["memory_mb"] * 1_048_576)
        return {"made": _make(prover, _statement_of(order), int(order["secret"], 16))}
    except ProofFailed as error:
        return _failed(error.code, str(error))
    except InvalidStatement as error:
        return _failed(INVALID_STATEMENT, str(error))
    except ProverNotInstalled as error:
        return _failed(NOT_INSTALLED, error.detail)
    except MemoryError:
        return _failed("out_of_memory", "")
    except BaseException as error:  # a Rust panic is no Exception
        # Its text may hold numbers of the witness, its kind may not.
        return _failed("prover_failed", f"{type(error).__name__} in {place_of(error)}")


def _failed(code: str, detail: str) -> dict[str, Any]:
    return {"failed": {"code": code, "detail": detail}}


def place_of(error: BaseException) -> str:
    """File and line where it was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    return f"{Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno}"


def _statement_of(order: dict[str, Any]) -> Statement:
    return Statement(
        commitment=int(order["commitment"], 16),
        digest=bytes.fromhex(order["digest"]),
        submitter=order["submitter"],
    )


def _bound_memory(limit: int | None) -> None:
    """Limit what is written to, heap and anonymous maps: threads reserve far more addresses than they ever use.

    Lifted for imports, so that whatever fails under it has failed for want of memory.
    """
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    if limit is None or resource.RLIM_INFINITY != most < limit:
        limit = most
    resource.setrlimit(resource.RLIMIT_DATA, (limit, most))


def _make(prover: Prover, statement: Statement, secret: int) -> dict[str, Any]:
    stages: dict[str, float] = {}
    with _timed(stages, "setup"):
        prover.setup()
    with _timed(stages, "prove"):
        proof = prover.prove(statement, secret)
    with _timed(stages, "verify"):
        # As a stranger would: from its JSON.
        encoded = prover.to_json(proof)
        if not prover.verify(statement, prover.from_json(encoded)):
            raise ProofFailed("proof_invalid", "the proof that was made does not verify")
    return {
        "proof": encoded,
        "stages": stages,
        "peak_mb": _peak_mb(),
        "verifying_key": prover.verifying_key_digest,
    }


@contextmanager
def _timed(stages: dict[str, float], name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    stages[name] = round(time.perf_counter() - began, 4)


def _peak_mb() -> float:
    """The most memory held since the process began.

    What getrusage says counts the parent's too, where there is no /proc to ask.
    """
    try:
        status = Path("/proc/self/status").read_text()
        kilobytes = int(re.findall(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)[0])
    except FileNotFoundError:
        kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        kilobytes //= 1_024 if sys.platform == "darwin" else 1
    return round(kilobytes / 1_024, 1)


if __name__ == "__main__":
    main()
