"""What the proofs' tests share."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def own_keys(session_proof_keys: Path, settings: Any, tmp_path: Path) -> Path:
    """A copy of the keys that may be damaged or replaced."""
    settings.PROOF_KEYS_DIR = tmp_path / "keys"
    shutil.copytree(session_proof_keys, settings.PROOF_KEYS_DIR)
    return tmp_path / "keys"
