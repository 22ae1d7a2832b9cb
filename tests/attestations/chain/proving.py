"""Proofs for the tests of the chain."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from attestations.proofs.mimc import commitment_of
from attestations.proofs.protocol import Statement
from attestations.proofs.provers import find_prover
from tests.attestations.chain.chains import SENDER

SECRET = 0x5EC12E7


@dataclass(frozen=True)
class Proved:
    statement: Statement
    proof: dict[str, Any]


def prove(
    picture: bytes = b"a picture", *, submitter: str = SENDER, system: str = "groth16", secret: int = SECRET
) -> Proved:
    statement = Statement(
        commitment=commitment_of(secret), digest=hashlib.sha256(picture).digest(), submitter=submitter
    )
    prover = find_prover(system)
    prover.setup()
    return Proved(statement, prover.to_json(prover.prove(statement, secret)))
