"""Finds proof systems by name, as settings.PROVERS has them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import cast

from django.conf import settings
from django.utils.module_loading import import_string

from attestations.proofs.protocol import Prover, ProverNotInstalled


def find_prover(name: str) -> Prover:
    """The prover of this name, one per process; ProverNotInstalled where none is named, or it can't be imported."""
    return load_prover(prover_path(name), keys_dir(name))


def prover_path(name: str) -> str:
    """The dotted path of a prover's class; ProverNotInstalled."""
    try:
        return str(settings.PROVERS[name])
    except KeyError as error:
        raise ProverNotInstalled(f"PROVERS names no {name!r}") from error


def keys_dir(name: str) -> Path:
    """Where a prover keeps its keys."""
    return Path(settings.PROOF_KEYS_DIR) / name


@cache
def load_prover(path: str, keys: Path) -> Prover:
    """Import a prover's class and make one with its keys' folder. No setting is read here."""
    try:
        return cast(Prover, import_string(path)(keys))
    except ImportError as error:
        raise ProverNotInstalled(f"{path} can't be imported: {error}") from error
