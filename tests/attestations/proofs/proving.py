"""Statements to prove, provers that misbehave, and the processes that are there meanwhile."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attestations.proofs.mimc import commitment_of
from attestations.proofs.protocol import Statement
from attestations.proofs.provers import find_prover

SECRET = 0x5EC12E7_0F_A_C2EA702_0123456789ABCDEF_FEDCBA9876543210
SUBMITTER = "0x" + "Ab" * 20


@dataclass(frozen=True)
class Proved:
    """A statement and the JSON of its proof."""

    statement: Statement
    proof: dict[str, Any]


def make_statement(picture: bytes = b"a picture", *, secret: int = SECRET) -> Statement:
    return Statement(
        commitment=commitment_of(secret), digest=hashlib.sha256(picture).digest(), submitter=SUBMITTER
    )


def prove(system: str, statement: Statement) -> Proved:
    """Prove in this process, with the keys at hand."""
    prover = find_prover(system)
    return Proved(statement, prover.to_json(prover.prove(statement, SECRET)))


class Wrong:
    """A prover that does what its test is about; `prove` runs in the child."""

    name = "wrong"
    is_verified_on_chain = False
    verifying_key_digest = "0" * 64

    def __init__(self, keys_dir: Path) -> None:
        pass

    def setup(self) -> None:
        pass

    def prove(self, statement: Statement, secret: int) -> Any:
        raise NotImplementedError

    def verify(self, statement: Statement, proof: Any) -> bool:
        return True

    def to_json(self, proof: Any) -> dict[str, Any]:
        return {"proof": proof}

    def from_json(self, data: Any) -> Any:
        return data


def children() -> list[str]:
    """Command lines of this process's children."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                parent = (process / "stat").read_text().rpartition(") ")[2].split()[1]
                if int(parent) == os.getpid():
                    found.append((process / "cmdline").read_text())
            except (FileNotFoundError, ProcessLookupError):
                pass  # it has ended meanwhile
    return [line for line in found if "attestations.proofs.child" in line]


def is_running(part: str) -> bool:
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and part in (process / "cmdline").read_text():
                return True
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has ended meanwhile
    return False


def wait_until(holds: Callable[[], bool], seconds: float = 30) -> None:
    ends_by = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends_by
        time.sleep(0.05)
