"""What an operator does with keys: make them, take those of a ceremony, add a contribution of one's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attestations.proofs import groth16_ceremony, groth16_keys, plonk_keys
from attestations.proofs.circuit import statement_circuit
from attestations.proofs.keys import MANIFEST, PARTS, KeyFolder, KeyPair
from attestations.proofs.protocol import ProofFailed
from attestations.proofs.provers import keys_dir


class KeysInUse(Exception):
    """There are keys, and nobody said that they may be replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """How the keys of a proof system are made and checked."""

    make: Callable[[], KeyPair]
    check: Callable[[KeyPair], None]


# Provers that are plugged in look after their own keys.
SYSTEMS = {
    "groth16": System(make=groth16_keys.make_keys, check=groth16_ceremony.check_keys),
    "plonk": System(make=plonk_keys.make_keys, check=plonk_keys.check_keys),
}


def folder_of(system: str) -> KeyFolder:
    return KeyFolder(path=keys_dir(system), system=system, circuit=statement_circuit().digest)


def make_keys(system: str) -> None:
    """Make keys where there are none."""
    folder_of(system).ensure(SYSTEMS[system].make)


def import_keys(system: str, source: Path, *, origin: str, may_replace: bool) -> None:
    """Use the keys in the folder `source` from now on: a set, or just proving.key and verifying.key.

    Raises ProofFailed("keys_damaged") unless they are whole and of this circuit; KeysInUse.
    """
    folder = folder_of(system)
    if folder.exists() and not may_replace:
        raise KeysInUse(f"{folder.path} has keys.")
    keys, contributions = _read_set(system, source)
    SYSTEMS[system].check(keys)
    if contributions:
        groth16_ceremony.check_contributions(keys, contributions)
    folder.replace(keys, origin=origin, contributions=contributions)


def contribute(name: str) -> None:
    """Add a contribution to the Groth16 keys at hand, once they are seen to be sound; ProofFailed("keys_damaged")."""
    folder = folder_of("groth16")
    manifest, keys = folder.manifest(), folder.load_both()
    contributions = list(manifest["contributions"])
    groth16_ceremony.check_keys(keys)
    groth16_ceremony.check_contributions(keys, contributions)
    keys, contribution = groth16_ceremony.contribute(keys, name)
    folder.replace(keys, origin=manifest["origin"], contributions=[*contributions, contribution])


def _read_set(system: str, source: Path) -> tuple[KeyPair, list[dict[str, Any]]]:
    if (source / MANIFEST).exists():
        folder = KeyFolder(path=source, system=system, circuit=statement_circuit().digest)
        return folder.load_both(), list(folder.manifest()["contributions"])
    try:
        return {part: json.loads((source / f"{part}.key").read_bytes()) for part in PARTS}, []
    except (OSError, ValueError) as error:
        raise ProofFailed(
            "keys_damaged", f"{source} has no proving.key and verifying.key: {error}"
        ) from error
