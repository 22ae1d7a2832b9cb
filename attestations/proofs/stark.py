"""The place of a STARK: no prover that is kept up installs here, so the kind exists and says so."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from attestations.proofs.protocol import ProverNotInstalled


class StarkProver:
    """Can't be had: raises ProverNotInstalled; settings.PROVERS may name another class for `stark`."""

    def __new__(cls, keys_dir: Path) -> NoReturn:
        raise ProverNotInstalled("no kept STARK prover installs here; PROVERS may name one")
