"""Keys of a ceremony are taken once they are seen to be the circuit's; a contribution makes new ones of the old."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from copy import copy
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from attestations.proofs.ceremony import SYSTEMS, folder_of
from attestations.proofs.groth16_ceremony import check_contributions, check_points, contribute
from attestations.proofs.groth16_keys import read_proving_key, read_verifying_key
from attestations.proofs.keys import KeyPair
from attestations.proofs.making import is_valid
from attestations.proofs.points import g1_from, g1_to, g2_from, g2_to
from attestations.proofs.protocol import ProofFailed
from attestations.proofs.provers import find_prover
from tests.attestations.proofs.proving import make_statement, prove


def keys_in(folder: Path) -> KeyPair:
    """The groth16 keys as they lie there."""
    return {
        part: json.loads((folder / "groth16" / f"{part}.key").read_bytes())
        for part in ("proving", "verifying")
    }


@pytest.fixture(scope="module")
def contributed(session_proof_keys: Path) -> tuple[KeyPair, list[dict[str, Any]]]:
    """The run's groth16 keys after two contributions."""
    keys, first = contribute(keys_in(session_proof_keys), "Ada")
    keys, second = contribute(keys, "Grace")
    return keys, [first, second]


def run(*arguments: str) -> str:
    output = StringIO()
    call_command("proof_keys", *arguments, stdout=output)
    return output.getvalue()


def _doubled(point: Any) -> Any:
    is_g1 = isinstance(point[0], str)
    return g1_to(g1_from(point) * 2) if is_g1 else g2_to(g2_from(point) * 2)


def _swap(items: list[Any], one: int, other: int) -> list[Any]:
    swapped = list(items)
    swapped[one], swapped[other] = items[other], items[one]
    return swapped


def _with(items: list[Any], at: int) -> list[Any]:
    """The points with the one at this place doubled."""
    changed = list(items)
    changed[at] = items[at] * 2
    return changed


WRONG_GROTH16: dict[str, tuple[str, str, Callable[[Any], Any]]] = {
    "alpha": ("proving", "alpha_1", lambda point: point * 2),
    "beta_1": ("proving", "beta_1", lambda point: point * 2),
    "beta_2": ("verifying", "beta_2", lambda point: point * 2),
    "gamma": ("verifying", "gamma_2", lambda point: point * 2),
    "delta_1": ("proving", "delta_1", lambda point: point * 2),
    "delta_2": ("verifying", "delta_2", lambda point: point * 2),
    "inputs swapped": ("verifying", "ic", lambda points: _swap(points, 1, 2)),
    "an input bound by less": ("verifying", "ic", lambda points: _with(points, -1)),
    "a power of tau": ("proving", "tau_1", lambda points: _with(points, 9)),
    "another tau": ("proving", "tau_2", lambda points: _with(points, 1)),
    "the first power": ("proving", "tau_1", lambda points: _with(points, 0)),
    "a target": ("proving", "target_1", lambda points: _with(points, -1)),
    "all targets": ("proving", "target_1", lambda points: [point * 2 for point in points]),
    "wires swapped": ("proving", "kdelta_1", lambda points: _swap(points, 0, 1)),
    "the last wire": ("proving", "kdelta_1", lambda points: _with(points, -1)),
}
UNREADABLE: dict[str, tuple[str, str, Callable[[Any], Any]]] = {
    "too few powers": ("proving", "tau_1", lambda items: items[:-1]),
    "too many inputs": ("verifying", "ic", lambda items: [*items, items[0]]),
    "a point off the curve": ("proving", "alpha_1", lambda point: [point[0], "0x1"]),
    "no point": ("proving", "alpha_1", lambda point: None),
    "infinity": ("verifying", "ic", lambda items: [*items[:-1], ["0x0", "0x0"]]),
}


@pytest.fixture(scope="module")
def read_keys(session_proof_keys: Path) -> dict[str, Any]:
    """The run's groth16 keys as zksnake's objects."""
    keys = keys_in(session_proof_keys)
    return {
        "proving": read_proving_key(keys["proving"]),
        "verifying": read_verifying_key(keys["verifying"]),
    }


def test_keys_of_the_platform_are_those_of_the_circuit(proof_keys: Path, read_keys: dict[str, Any]) -> None:
    check_points(read_keys["proving"], read_keys["verifying"])
    SYSTEMS["plonk"].check(folder_of("plonk").load_both())


@pytest.mark.parametrize("kind", WRONG_GROTH16)
def test_groth16_keys_that_are_not_the_circuits_are_refused(read_keys: dict[str, Any], kind: str) -> None:
    part, field, change = WRONG_GROTH16[kind]
    keys = {name: copy(key) for name, key in read_keys.items()}
    setattr(keys[part], field, change(getattr(keys[part], field)))

    with pytest.raises(ProofFailed) as failure:
        check_points(keys["proving"], keys["verifying"])

    assert failure.value.code == "keys_damaged"


@pytest.mark.parametrize("kind", UNREADABLE)
def test_groth16_keys_that_cannot_be_read_are_refused(session_proof_keys: Path, kind: str) -> None:
    part, field, change = UNREADABLE[kind]
    key = keys_in(session_proof_keys)[part]
    read: Callable[[dict[str, Any]], Any] = {
        "proving": read_proving_key,
        "verifying": read_verifying_key,
    }[part]

    with pytest.raises(ProofFailed) as failure:
        read(key | {field: change(key[field])})

    assert failure.value.code == "keys_damaged"


@pytest.mark.parametrize("field", ["tau_1", "tau_2", "selectors", "permutation", "length"])
def test_plonk_keys_that_are_not_the_circuits_are_refused(own_keys: Path, field: str) -> None:
    keys = folder_of("plonk").load_both()
    changes: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "tau_1": ("proving", lambda items: [*items[:-1], _doubled(items[-1])]),
        "tau_2": ("verifying", _doubled),
        "selectors": ("verifying", lambda points: points | {"L": points["R"]}),
        "permutation": ("verifying", lambda items: _swap(items, 0, 1)),
        "length": ("verifying", lambda length: length * 2),
    }
    part, change = changes[field]
    keys[part] = keys[part] | {field: change(keys[part][field])}

    with pytest.raises(ProofFailed) as failure:
        SYSTEMS["plonk"].check(keys)

    assert failure.value.code == "keys_damaged"


def test_contributions_make_other_keys_that_prove_as_well(
    own_keys: Path, contributed: tuple[KeyPair, list[dict[str, Any]]]
) -> None:
    keys, contributions = contributed
    before = find_prover("groth16").verifying_key_digest

    SYSTEMS["groth16"].check(keys)
    check_contributions(keys, contributions)
    folder_of("groth16").replace(
        keys, origin="a ceremony", contributions=contributions, unverified_contributions=0
    )
    new = prove("groth16", make_statement())

    assert is_valid("groth16", new.statement, new.proof)
    assert new.proof["verifying_key"] == find_prover("groth16").verifying_key_digest != before


@pytest.mark.parametrize(
    "change",
    [
        lambda items: items[:1],
        lambda items: items[::-1],
        lambda items: [items[0] | {"factor": items[1]["factor"]}, items[1]],
        lambda items: [items[0], items[1] | {"delta_before": items[0]["delta_before"]}],
        lambda items: [items[0], {"name": "Nobody"}],
        lambda items: [5, items[1]],
        lambda items: [items[0] | {"name": "Ada\n  contribution 9: Bob"}, items[1]],
        lambda items: [items[0] | {"name": ["Ada"]}, items[1]],
    ],
)
def test_contributions_that_do_not_lead_to_the_keys_are_refused(
    contributed: tuple[KeyPair, list[dict[str, Any]]], change: Callable[[list[Any]], list[Any]]
) -> None:
    keys, contributions = contributed

    with pytest.raises(ProofFailed) as failure:
        check_contributions(keys, change(contributions))

    assert failure.value.code == "keys_damaged"


def test_command_shows_what_there_is(own_keys: Path) -> None:
    shutil.rmtree(own_keys / "plonk")

    shown = run()

    assert f"groth16: verifying key {find_prover('groth16').verifying_key_digest}" in shown
    assert "checksums right" in shown
    assert "origin: single-party setup" in shown
    assert f"plonk: no keys in {own_keys / 'plonk'}" in shown


def test_command_says_what_is_damaged(own_keys: Path) -> None:
    (own_keys / "groth16" / "proving.key").write_text("{}")

    with pytest.raises(CommandError, match=r"groth16: .*proving\.key is not what its checksum says"):
        run("groth16")


def test_command_makes_keys_where_there_are_none(settings: Any, tmp_path: Path) -> None:
    settings.PROOF_KEYS_DIR = tmp_path / "new"

    first, second = run("plonk", "--make"), run("plonk", "--make")

    assert first == second
    assert "verifying key" in first


@pytest.mark.django_db
def test_command_contributes_and_another_host_takes_the_result(
    own_keys: Path, settings: Any, tmp_path: Path
) -> None:
    before = find_prover("groth16").verifying_key_digest
    shown = run("groth16", "--contribute", "Ada")
    passed_on = shutil.copytree(own_keys / "groth16", tmp_path / "passed on")
    settings.PROOF_KEYS_DIR = tmp_path / "other host"

    taken = run("groth16", "--import", str(passed_on), "--origin", "ceremony of two")

    assert "contribution 1: Ada" in shown
    assert "contribution 1: Ada" in taken
    assert "origin: unverified: whoever made it says: ceremony of two" in taken
    assert find_prover("groth16").verifying_key_digest != before


@pytest.mark.django_db
def test_command_replaces_keys_in_use_only_when_told_and_keeps_the_old_files(
    own_keys: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    folder = folder_of("plonk")
    keys = SYSTEMS["plonk"].make()
    other.mkdir()
    for part in ("proving", "verifying"):
        (other / f"{part}.key").write_text(json.dumps(keys[part]))
    before = find_prover("plonk").verifying_key_digest

    with pytest.raises(CommandError, match="--replace"):
        run("plonk", "--import", str(other), "--origin", "elsewhere")
    assert find_prover("plonk").verifying_key_digest == before
    run("plonk", "--import", str(other), "--origin", "elsewhere", "--replace")

    assert find_prover("plonk").verifying_key_digest != before
    assert (folder.path / "verifying.key").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--make"], "Of which"),
        (["plonk", "--contribute", "Ada"], "Only groth16"),
        (["groth16", "--contribute", "Ada\x1b[2J"], "name"),
        (["groth16", "--import", "/nowhere"], "--origin"),
        (["groth16", "--import", "/nowhere", "--origin", "x", "--replace"], "has no proving.key"),
    ],
)
def test_command_refuses_what_makes_no_sense(own_keys: Path, arguments: list[str], says: str) -> None:
    with pytest.raises(CommandError, match=says):
        run(*arguments)


def test_keys_of_the_other_system_are_refused(own_keys: Path) -> None:
    with pytest.raises(CommandError, match="another proof system"):
        run("groth16", "--import", str(own_keys / "plonk"), "--origin", "x", "--replace")

    assert "verifying key" in run("groth16")
