"""What the proofs' tests share."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from attestations.proofs.ceremony import SYSTEMS
from tests.attestations.proofs.proving import Proved, make_statement, prove


@pytest.fixture(scope="session")
def proofs(session_proof_keys: Path) -> dict[str, Proved]:
    """A proof of each system, made once with the run's keys."""
    with override_settings(PROOF_KEYS_DIR=session_proof_keys):
        return {name: prove(name, make_statement()) for name in SYSTEMS}


@pytest.fixture
def own_keys(session_proof_keys: Path, settings: Any, tmp_path: Path) -> Path:
    """A copy of the keys that may be damaged or replaced."""
    settings.PROOF_KEYS_DIR = tmp_path / "keys"
    shutil.copytree(session_proof_keys, settings.PROOF_KEYS_DIR)
    return tmp_path / "keys"


@pytest.fixture
def use(settings: Any, tmp_path: Path) -> Callable[[type], None]:
    """Name a prover `wrong`."""

    def name(kind: type) -> None:
        settings.PROVERS = {"wrong": f"{kind.__module__}.{kind.__name__}"}
        settings.PROOF_KEYS_DIR = tmp_path

    return name
