"""Statements to prove, and what is changed in them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
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
