"""Groth16 (https://eprint.iacr.org/2016/260) by zksnake: proofs of three points, which a contract verifies.

A proof may be blinded anew by whoever sees it (with A and B both negated, say): it has no identity of its own, the
statement has.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zksnake.ecc import EllipticCurve
from zksnake.groth16 import Groth16

from attestations.proofs.circuit import PUBLIC, statement_circuit
from attestations.proofs.groth16_keys import make_keys, read_proving_key, read_verifying_key, rows_of
from attestations.proofs.keys import KeyFolder, VerifyingKeyCache
from attestations.proofs.points import g1_from, g1_to, g2_from, g2_to
from attestations.proofs.proof_json import frame, read_frame
from attestations.proofs.protocol import Statement

CURVE = EllipticCurve("BN254")
PARTS = {"a", "b", "c"}

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Groth16Proof:
    """Three points, and the digest of the verifying key that they were made for."""

    a: Any
    b: Any
    c: Any
    verifying_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyingKeyPoints:
    """A verifying key as a contract takes it: plain numbers, points of G2 with their imaginary parts first."""

    alpha1: Pair
    beta2: tuple[Pair, Pair]
    gamma2: tuple[Pair, Pair]
    delta2: tuple[Pair, Pair]
    ic: tuple[Pair, ...]


class Groth16Prover:
    """Makes proofs with the keys of `keys_dir`; verifies those made with the keys before them, too."""

    name = "groth16"
    is_verified_on_chain = True

    def __init__(self, keys_dir: Path) -> None:
        self.keys = KeyFolder(path=keys_dir, system=self.name, circuit=statement_circuit().digest)
        self._verifying_key = VerifyingKeyCache(self.keys, read_verifying_key)
        self._system: Groth16 | None = None
        self._loaded: tuple[int, ...] | None = None  # the state of the keys that it has

    @property
    def verifying_key_digest(self) -> str:
        return self._verifying_key.get()[1]

    def setup(self) -> None:
        self.keys.ensure(make_keys)
        self._verifying_key.get()  # of no use here, but a set is whole or damaged
        if self._system is None or self.keys.state() != self._loaded:
            state = self.keys.state()
            system = Groth16(rows_of(statement_circuit()))
            system.proving_key = read_proving_key(self.keys.load("proving")[0])
            self._system = system
            self._loaded = state

    def prove(self, statement: Statement, secret: int) -> Groth16Proof:
        self.setup()
        assert self._system is not None
        witness = [1, *statement_circuit().solve(statement, secret)]
        count = len(PUBLIC) + 1
        proof = self._system.prove(witness[:count], witness[count:])
        return Groth16Proof(a=proof.A, b=proof.B, c=proof.C, verifying_key=self.verifying_key_digest)

    def verify(self, statement: Statement, proof: Groth16Proof) -> bool:
        """e(A, B) = e(alpha, beta) · e(inputs, gamma) · e(C, delta), with the key that the proof names."""
        key = self._verifying_key.find(proof.verifying_key)
        if key is None:
            return False
        inputs = CURVE.multiexp(key.ic, [1, *statement.public_inputs])
        right = CURVE.multi_pairing([key.alpha_1, inputs, proof.c], [key.beta_2, key.gamma_2, key.delta_2])
        return bool(CURVE.pairing(proof.a, proof.b) == right)

    def to_json(self, proof: Groth16Proof) -> dict[str, Any]:
        parts = {"a": g1_to(proof.a), "b": g2_to(proof.b), "c": g1_to(proof.c)}
        return frame(self.name, parts, proof.verifying_key)

    def from_json(self, data: Any) -> Groth16Proof:
        fields = read_frame(data, system=self.name, parts=PARTS)
        return Groth16Proof(
            a=g1_from(fields["a"]),
            b=g2_from(fields["b"]),
            c=g1_from(fields["c"]),
            verifying_key=fields["verifying_key"],
        )

    def contract_key(self) -> VerifyingKeyPoints:
        """The verifying key for a contract; keys are made where there are none."""
        self.keys.ensure(make_keys)
        key, _ = self._verifying_key.get()
        return VerifyingKeyPoints(
            alpha1=_pair(key.alpha_1),
            beta2=_imaginary_first(key.beta_2),
            gamma2=_imaginary_first(key.gamma_2),
            delta2=_imaginary_first(key.delta_2),
            ic=tuple(_pair(point) for point in key.ic),
        )


def calldata_of(data: Any) -> tuple[Pair, tuple[Pair, Pair], Pair]:
    """A proof's JSON as a contract takes it, see VerifyingKeyPoints; ProofFailed("proof_invalid")."""
    fields = read_frame(data, system=Groth16Prover.name, parts=PARTS)
    b = _imaginary_first(g2_from(fields["b"]))
    return _pair(g1_from(fields["a"])), b, _pair(g1_from(fields["c"]))


def _pair(point: Any) -> Pair:
    return point.x, point.y


def _imaginary_first(point: Any) -> tuple[Pair, Pair]:
    (x_real, x_imaginary), (y_real, y_imaginary) = point.x, point.y
    return (x_imaginary, x_real), (y_imaginary, y_real)
