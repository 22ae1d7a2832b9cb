"""How long a proof takes to make and to verify, and how much memory the process that makes it."""

from __future__ import annotations

import hashlib
import secrets
import statistics
import sys
import tempfile
import time
from pathlib import Path

from django.test import override_settings

from attestations.proofs.making import MadeProof, is_valid, make_proof
from attestations.proofs.mimc import commitment_of
from attestations.proofs.protocol import Statement

SYSTEMS = ("groth16", "plonk")
VERIFICATIONS = 50


def measure(*, is_quick: bool) -> dict[str, float]:
    """Make proofs as the job does, in a process that has the keys; the medians."""
    figures: dict[str, float] = {}
    for system in SYSTEMS:
        # Keys elsewhere take another process, so that the memory is that of one system.
        with tempfile.TemporaryDirectory() as keys, override_settings(PROOF_KEYS_DIR=Path(keys)):
            figures |= _measure_system(system, rounds=2 if is_quick else 7)
    return figures


def _measure_system(system: str, *, rounds: int) -> dict[str, float]:
    secret = secrets.randbits(250)
    statement = Statement(
        commitment=commitment_of(secret),
        digest=hashlib.sha256(b"a picture").digest(),
        submitter="0x" + "ab" * 20,
    )
    first = make_proof(system, statement, secret)  # it makes the keys
    began = time.perf_counter()
    made = [make_proof(system, statement, secret) for _ in range(rounds)]
    seconds = (time.perf_counter() - began) / rounds
    print(
        f"  {system}: keys made and loaded in {first.stages['setup']:.2f} s; each proof after that takes "
        f"{seconds:.2f} s in all, proving {_median(made, 'prove'):.2f} s of them",
        file=sys.stderr,
    )
    return {
        f"{system}_prove_ms": _median(made, "prove") * 1_000,
        f"{system}_verify_ms": _verify_ms(system, statement, made[0]),
        f"{system}_peak_mb": max(proof.peak_mb for proof in [first, *made]),
    }


def _median(made: list[MadeProof], stage: str) -> float:
    return statistics.median(proof.stages[stage] for proof in made)


def _verify_ms(system: str, statement: Statement, made: MadeProof) -> float:
    """From JSON, in a process that has the verifying key, as the publisher does it."""
    seconds = []
    for _ in range(VERIFICATIONS):
        began = time.perf_counter()
        assert is_valid(system, statement, made.proof)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds) * 1_000
