"""PlonK (https://eprint.iacr.org/2019/953) by zksnake: verified by this platform, and only recorded on the chain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zksnake.plonk import Plonk
from zksnake.plonk.serialization import Proof

from attestations.proofs.circuit import statement_circuit
from attestations.proofs.keys import KeyFolder, VerifyingKeyCache
from attestations.proofs.plonk_keys import (
    layout_of,
    make_keys,
    public_rows,
    read_proving_key,
    read_verifying_key,
)
from attestations.proofs.points import compressed_g1_from, compressed_g1_to, g1_from, number_from
from attestations.proofs.proof_json import frame, read_frame
from attestations.proofs.protocol import ProofFailed, Statement

# Attributes of zksnake's proof: commitments, and evaluations at the challenge.
COMMITMENTS = ("tau_a", "tau_b", "tau_c", "tau_z", "tau_t_lo", "tau_t_mid", "tau_t_hi")
POINTS = (*COMMITMENTS, "tau_W_zeta", "tau_W_zeta_omega")
SCALARS = ("zeta_a", "zeta_b", "zeta_c", "zeta_sigma1", "zeta_sigma2", "zeta_omega")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlonkProof:
    """zksnake's proof, and the digest of the verifying key that it was made for."""

    proof: Proof
    verifying_key: str


class PlonkProver:
    """Makes proofs with the keys of `keys_dir`; verifies those made with the keys before them, too."""

    name = "plonk"
    is_verified_on_chain = False

    def __init__(self, keys_dir: Path) -> None:
        self.keys = KeyFolder(path=keys_dir, system=self.name, circuit=statement_circuit().digest)
        self._verifying_key = VerifyingKeyCache(self.keys, read_verifying_key)
        self._system: Plonk | None = None
        self._loaded: tuple[int, ...] | None = None  # the state of the keys that it has

    @property
    def verifying_key_digest(self) -> str:
        return self._verifying_key.get()[1]

    def setup(self) -> None:
        self.keys.ensure(make_keys)
        key, _ = self._verifying_key.get()
        if self._system is None or self.keys.state() != self._loaded:
            state = self.keys.state()
            self._system = read_proving_key(self.keys.load("proving")[0], key)
            self._loaded = state

    def prove(self, statement: Statement, secret: int) -> PlonkProof:
        self.setup()
        assert self._system is not None
        wires = statement_circuit().solve(statement, secret)
        cells = [0 if wire is None else wires[wire] for row in layout_of(statement_circuit()) for wire in row]
        proof = self._system.prove(public_rows(statement), cells)
        return PlonkProof(proof=proof, verifying_key=self.verifying_key_digest)

    def verify(self, statement: Statement, proof: PlonkProof) -> bool:
        key = self._verifying_key.find(proof.verifying_key)
        if key is None:
            return False
        system = Plonk(None)  # the constraints are of use to the prover only
        system.verifying_key = key
        return bool(system.verify(proof.proof, public_rows(statement)))

    def to_json(self, proof: PlonkProof) -> dict[str, Any]:
        points = {name: compressed_g1_to(getattr(proof.proof, name)) for name in POINTS}
        scalars = {name: hex(getattr(proof.proof, name)) for name in SCALARS}
        return frame(self.name, {"points": points, "scalars": scalars}, proof.verifying_key)

    def from_json(self, data: Any) -> PlonkProof:
        parts = read_frame(data, system=self.name, parts={"points", "scalars"})
        points = _points_from(_named(parts["points"], POINTS))
        scalars = [number_from(item) for item in _named(parts["scalars"], SCALARS)]
        return PlonkProof(proof=Proof(*points, *scalars), verifying_key=parts["verifying_key"])


def _points_from(items: list[Any]) -> list[Any]:
    """Compressed points; earlier proofs have two coordinates for each of theirs."""
    is_earlier = all(isinstance(item, list) for item in items)
    read = g1_from if is_earlier else compressed_g1_from
    return [read(item) for item in items]


def _named(data: Any, names: tuple[str, ...]) -> list[Any]:
    """The values of these names, in this order, and of no others."""
    if not isinstance(data, dict) or data.keys() != set(names):
        raise ProofFailed("proof_invalid", "a plonk proof has other points or scalars")
    return [data[name] for name in names]
