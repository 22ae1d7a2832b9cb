"""What an operator does with keys: make them, take those of a ceremony, add a contribution of one's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attestations.proofs import groth16_ceremony, groth16_keys, plonk_keys
from attestations.proofs.circuit import statement_circuit
from attestations.proofs.groth16_ceremony import Contribution, NotContinued
from attestations.proofs.in_use import use_of
from attestations.proofs.keys import MANIFEST, PARTS, KeyFolder, KeyPair
from attestations.proofs.protocol import ProofFailed
from attestations.proofs.provers import keys_dir

# The origin of keys for which there is somebody's word only, which follows.
UNVERIFIED = "unverified: whoever made it says"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """Keys with what their maker says was contributed to them."""

    keys: KeyPair
    contributions: list[Contribution]


def folder_of(system: str) -> KeyFolder:
    return KeyFolder(path=keys_dir(system), system=system, circuit=statement_circuit().digest)


def make_keys(system: str) -> None:
    """Make keys where there are none."""
    folder_of(system).ensure(SYSTEMS[system].make)


def import_keys(system: str, source: Path, *, origin: str, may_replace: bool) -> None:
    """Use the keys in the folder `source` from now on: a set, or just proving.key and verifying.key.

    Where there are keys already, these must be those with further contributions, and nobody may count on the ones
    before; or `may_replace`. Whatever else is taken counts as the work of a single party, whoever its contributors are
    said to be. Raises ProofFailed("keys_damaged") unless they are whole and of this circuit; KeysInUse.
    """
    given = _read_set(system, source)
    _check(system, given)
    folder = folder_of(system)
    try:
        _check_continues(folder, given)
    except (NotContinued, ProofFailed) as refusal:
        if folder.exists() and not may_replace:
            raise KeysInUse(_not_theirs(folder, refusal)) from refusal
        said, unverified = f"{UNVERIFIED}: {origin}", len(given.contributions)
    else:
        _refuse_in_use(folder, may_replace=may_replace)
        manifest = folder.manifest()
        said = f"{manifest['origin']}, then {origin}"
        unverified = manifest.get("unverified_contributions", 0)
    folder.replace(
        given.keys, origin=said, contributions=given.contributions, unverified_contributions=unverified
    )


def contribute(name: str, *, may_replace: bool) -> None:
    """Add a contribution to the Groth16 keys at hand, once they are seen to be sound.

    Raises ProofFailed("keys_damaged"); KeysInUse where somebody counts on them, unless `may_replace`.
    """
    folder = folder_of("groth16")
    manifest = folder.manifest()
    at_hand = _set_in(folder)
    _refuse_in_use(folder, may_replace=may_replace)
    _check("groth16", at_hand)
    keys, contribution = groth16_ceremony.contribute(at_hand.keys, name)
    folder.replace(
        keys,
        origin=manifest["origin"],
        contributions=[*at_hand.contributions, contribution],
        unverified_contributions=manifest.get("unverified_contributions", 0),
    )


def _check(system: str, given: KeySet) -> None:
    """ProofFailed("keys_damaged") unless they are keys of the circuit, and the contributions lead to them."""
    SYSTEMS[system].check(given.keys)
    if given.contributions:
        groth16_ceremony.check_contributions(given.keys, given.contributions)


def _check_continues(folder: KeyFolder, given: KeySet) -> None:
    """NotContinued unless `given` is what lies in the folder and what was contributed to it; ProofFailed."""
    if not given.contributions:
        raise NotContinued("No contributions come with them")
    ours = _set_in(folder)
    groth16_ceremony.check_continuation(
        given.keys, given.contributions, ours=ours.keys, our_contributions=ours.contributions
    )


def _refuse_in_use(folder: KeyFolder, *, may_replace: bool) -> None:
    use = use_of(folder.system)
    if use and not may_replace:
        raise KeysInUse(f"The keys in {folder.path} are in use: {use}")


def _not_theirs(folder: KeyFolder, refusal: Exception) -> str:
    why = str(refusal).rstrip(".")
    said = f"{folder.path} has keys, which these don't continue: {why}."
    use = use_of(folder.system)
    return f"{said} The keys here are in use: {use}" if use else said


def _set_in(folder: KeyFolder) -> KeySet:
    return KeySet(keys=folder.load_both(), contributions=list(folder.manifest()["contributions"]))


def _read_set(system: str, source: Path) -> KeySet:
    if (source / MANIFEST).exists():
        return _set_in(KeyFolder(path=source, system=system, circuit=statement_circuit().digest))
    try:
        keys: dict[str, Any] = {part: json.loads((source / f"{part}.key").read_bytes()) for part in PARTS}
    except (OSError, ValueError) as error:
        raise ProofFailed(
            "keys_damaged", f"{source} has no proving.key and verifying.key: {error}"
        ) from error
    return KeySet(keys=keys, contributions=[])
