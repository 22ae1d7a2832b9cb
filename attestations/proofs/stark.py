"""The place of a STARK: no prover that is kept up installs here, so the kind exists and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from attestations.proofs.protocol import ProverNotInstalled, Statement


class StarkProver:
    """Every verb raises ProverNotInstalled; settings.PROVERS may name another class for `stark`."""

    name = "stark"
    is_verified_on_chain = False

    def __init__(self, keys_dir: Path) -> None:
        pass

    @property
    def verifying_key_digest(self) -> str:
        self._refuse()

    def setup(self) -> None:
        self._refuse()

    def prove(self, statement: Statement, secret: int) -> Any:
        self._refuse()

    def verify(self, statement: Statement, proof: Any) -> bool:
        self._refuse()

    def to_json(self, proof: Any) -> dict[str, Any]:
        self._refuse()

    def from_json(self, data: Any) -> Any:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ProverNotInstalled("no kept STARK prover installs here; PROVERS may name one")
