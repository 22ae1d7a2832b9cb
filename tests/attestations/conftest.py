"""What the middle floor's tests share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from attestations.proofs.ceremony import SYSTEMS
from attestations.proofs.circuit import statement_circuit
from attestations.proofs.keys import KeyFolder


@pytest.fixture(scope="session")
def session_proof_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of both proof systems, made once for all processes of the test run."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "proof_keys"
    for name, system in SYSTEMS.items():
        KeyFolder(path=folder / name, system=name, circuit=statement_circuit().digest).ensure(system.make)
    return folder


@pytest.fixture
def proof_keys(session_proof_keys: Path, settings: Any) -> Path:
    """Proofs are made and verified with the run's keys."""
    settings.PROOF_KEYS_DIR = session_proof_keys
    return session_proof_keys


@pytest.fixture
def no_chain(settings: Any) -> None:
    """A platform that publishes nowhere."""
    settings.CHAIN_RPC_URL = settings.PRIVATE_KEY = settings.CONTRACT_ADDRESS = ""
