"""Nothing but the proof that was made, for the statement it was made for, is valid."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from attestations.proofs.groth16 import Groth16Proof, calldata_of
from attestations.proofs.making import is_valid
from attestations.proofs.plonk import POINTS, SCALARS, PlonkProof
from attestations.proofs.points import FIELD, compressed_g1_from, compressed_g1_to, g1_to
from attestations.proofs.protocol import SCALAR_FIELD, ProofFailed, Statement
from attestations.proofs.provers import find_prover, load_prover, prover_path
from tests.attestations.proofs.proving import SECRET, Proved, make_statement, prove

SYSTEMS = ["groth16", "plonk"]
EARLIER = "plonk, its points as coordinates"
FORMS = [*SYSTEMS, EARLIER]  # in which a proof may be stored

# On the twisted curve, but in none of the subgroup's multiples: x = 2 + i.
OUTSIDE_SUBGROUP = [
    ["0x2", "0x1"],
    [
        hex(7292567877523311580221095596750716176434782432868683424513645834767876293070),
        hex(19659275751359636165940301690575149581329631496732780143538578556285923319774),
    ],
]
INFINITY = ["0x0", "0x0"]
GENERATOR = ["0x1", "0x2"]
COMPRESSED_INFINITY = "0x" + "00" * 31 + "40"
COMPRESSED_GENERATOR = "0x01" + "00" * 31
GENERATOR_2 = [
    [
        hex(10857046999023057135944570762232829481370756359578518086990519993285655852781),
        hex(11559732032986387107991004021392285783925812861821192530917403151452391805634),
    ],
    [
        hex(8495653923123431417604973247489272438418190587263600148770280649306958101930),
        hex(4082367875863433681332203403145435568316851327593401208105741076214120093531),
    ],
]


@dataclass(frozen=True)
class Two:
    """Two proofs of different statements."""

    first: Proved
    second: Proved


@pytest.fixture(scope="module")
def both(session_proof_keys: Path) -> dict[str, Two]:
    made = {}
    for name in SYSTEMS:
        prover = load_prover(prover_path(name), session_proof_keys / name)
        proved = []
        for picture in (b"one", b"two"):
            statement = make_statement(picture)
            proved.append(Proved(statement, prover.to_json(prover.prove(statement, SECRET))))
        made[name] = Two(*proved)
    made[EARLIER] = Two(_as_earlier(made["plonk"].first), _as_earlier(made["plonk"].second))
    return made


def _as_earlier(proved: Proved) -> Proved:
    """As proofs of PlonK were stored once."""
    points = {name: g1_to(compressed_g1_from(point)) for name, point in proved.proof["points"].items()}
    return Proved(proved.statement, proved.proof | {"points": points})


def _with_point(proof: dict[str, Any], name: str, point: Any) -> dict[str, Any]:
    return proof | {"points": proof["points"] | {name: point}}


def _negated(point: list[str]) -> list[str]:
    return [point[0], hex(FIELD - int(point[1], 16))]


def _negated_2(point: list[list[str]]) -> list[list[str]]:
    return [point[0], [hex(-int(number, 16) % FIELD) for number in point[1]]]


def _plus(number: str, more: int) -> str:
    return hex(int(number, 16) + more)


# What may be done to a point of G1, given another proof's point.
CHANGES_OF_POINT: dict[str, Callable[[list[str], list[str]], Any]] = {
    "negated": lambda point, other: _negated(point),
    "another's": lambda point, other: other,
    "the generator": lambda point, other: GENERATOR,
    "infinity": lambda point, other: INFINITY,
    "off the curve": lambda point, other: [point[0], _plus(point[1], 1)],
    "x plus the field's order": lambda point, other: [_plus(point[0], FIELD), point[1]],
    "y plus the field's order": lambda point, other: [point[0], _plus(point[1], FIELD)],
    "swapped": lambda point, other: [point[1], point[0]],
}
CHANGES_OF_POINT_2: dict[str, Callable[[Any, Any], Any]] = {
    "negated": lambda point, other: _negated_2(point),
    "another's": lambda point, other: other,
    "the generator": lambda point, other: GENERATOR_2,
    "infinity": lambda point, other: [INFINITY, INFINITY],
    "off the curve": lambda point, other: [point[0], [point[1][0], _plus(point[1][1], 1)]],
    "imaginary part first": lambda point, other: [part[::-1] for part in point],
    "plus the field's order": lambda point, other: [[_plus(point[0][0], FIELD), point[0][1]], point[1]],
    "outside the subgroup": lambda point, other: OUTSIDE_SUBGROUP,
}


def _number(point: str) -> int:
    return int.from_bytes(bytes.fromhex(point[2:]), "little")


def _compressed(number: int) -> str:
    return "0x" + number.to_bytes(32, "little").hex()


OTHER_Y, IS_INFINITY = 1 << 255, 1 << 254  # flags, which x is too small for
# What may be done to a compressed point, given another proof's: these are points, but others ...
OTHER_POINTS: dict[str, Callable[[str, str], str]] = {
    "negated": lambda point, other: _compressed(_number(point) ^ OTHER_Y),
    "another's": lambda point, other: other,
    "the generator": lambda point, other: COMPRESSED_GENERATOR,
}
# ... and these are none.
NO_POINTS: dict[str, Callable[[str], Any]] = {
    "infinity": lambda point: COMPRESSED_INFINITY,
    "infinity with this x": lambda point: _compressed(_number(point) & ~OTHER_Y | IS_INFINITY),
    "both flags": lambda point: _compressed(_number(point) | OTHER_Y | IS_INFINITY),
    "all bits": lambda point: "0x" + "ff" * 32,
    "off the curve": lambda point: _compressed(4),
    "x is the field's order": lambda point: _compressed(FIELD),
    "x plus the field's order": lambda point: _compressed(_number(point) % OTHER_Y + FIELD),
    "the generator's x plus the field's order": lambda point: _compressed(1 + FIELD),
    "the other one's, too": lambda point: _compressed(1 + FIELD | OTHER_Y),
    "31 bytes": lambda point: point[:-2],
    "33 bytes": lambda point: point + "00",
    "half a byte less": lambda point: point[:-1],
    "capitals": lambda point: "0x" + point[2:].upper(),
    "capital X": lambda point: "0X" + point[2:],
    "no prefix": lambda point: point[2:],
    "two digits for the prefix": lambda point: "00" + point[2:],
    "blanks between bytes": lambda point: "0x" + bytes.fromhex(point[2:]).hex(" "),
    "a line's end": lambda point: point + "\n",
    "a number": lambda point: _number(point),
    "bytes": lambda point: list(bytes.fromhex(point[2:])),
    "in a list": lambda point: [point],
    "coordinates among compressed ones": lambda point: g1_to(compressed_g1_from(point)),
    "uncompressed": lambda point: point + "00" * 32,
    "nothing": lambda point: "0x",
    "null": lambda point: None,
}


@pytest.mark.parametrize("change", CHANGES_OF_POINT)
@pytest.mark.parametrize("part", ["a", "c"])
def test_groth16_with_another_point_is_refused(
    proof_keys: Path, both: dict[str, Two], part: str, change: str
) -> None:
    first, second = both["groth16"].first, both["groth16"].second
    changed = first.proof | {part: CHANGES_OF_POINT[change](first.proof[part], second.proof[part])}

    assert not is_valid("groth16", first.statement, changed)


@pytest.mark.parametrize("change", CHANGES_OF_POINT_2)
def test_groth16_with_another_point_of_g2_is_refused(
    proof_keys: Path, both: dict[str, Two], change: str
) -> None:
    first, second = both["groth16"].first, both["groth16"].second
    changed = first.proof | {"b": CHANGES_OF_POINT_2[change](first.proof["b"], second.proof["b"])}

    assert not is_valid("groth16", first.statement, changed)


@pytest.mark.parametrize("change", CHANGES_OF_POINT)
@pytest.mark.parametrize("name", POINTS)
def test_an_earlier_plonk_with_another_point_is_refused(
    proof_keys: Path, both: dict[str, Two], name: str, change: str
) -> None:
    first, second = both[EARLIER].first, both[EARLIER].second
    point = CHANGES_OF_POINT[change](first.proof["points"][name], second.proof["points"][name])

    assert not is_valid("plonk", first.statement, _with_point(first.proof, name, point))


@pytest.mark.parametrize("change", OTHER_POINTS)
@pytest.mark.parametrize("name", POINTS)
def test_plonk_with_another_point_is_refused(
    proof_keys: Path, both: dict[str, Two], name: str, change: str
) -> None:
    first, second = both["plonk"].first, both["plonk"].second
    point = OTHER_POINTS[change](first.proof["points"][name], second.proof["points"][name])

    changed = _with_point(first.proof, name, point)

    assert find_prover("plonk").to_json(find_prover("plonk").from_json(changed)) == changed
    assert not is_valid("plonk", first.statement, changed)


@pytest.mark.parametrize("change", NO_POINTS)
@pytest.mark.parametrize("name", POINTS)
def test_plonk_with_no_point_is_no_proof(
    proof_keys: Path, both: dict[str, Two], name: str, change: str
) -> None:
    first = both["plonk"].first
    changed = _with_point(first.proof, name, NO_POINTS[change](first.proof["points"][name]))

    with pytest.raises(ProofFailed) as failure:
        find_prover("plonk").from_json(changed)

    assert failure.value.code == "proof_invalid"
    assert not is_valid("plonk", first.statement, changed)


@pytest.mark.parametrize("name", POINTS)
def test_plonk_with_another_byte_is_refused(proof_keys: Path, both: dict[str, Two], name: str) -> None:
    first = both["plonk"].first
    number = _number(first.proof["points"][name])

    for byte in range(32):
        point = _compressed(number ^ 1 << 8 * byte + byte % 8)
        assert not is_valid("plonk", first.statement, _with_point(first.proof, name, point)), byte


@hypothesis_settings(max_examples=500, deadline=None)
@given(data=st.binary(min_size=32, max_size=32))
def test_a_compressed_point_has_one_spelling(data: bytes) -> None:
    spelled = "0x" + data.hex()

    try:
        point = compressed_g1_from(spelled)
    except ProofFailed:
        return

    assert compressed_g1_to(point) == spelled
    assert point.x == _number(spelled) % IS_INFINITY
    assert (point.y**2 - point.x**3) % FIELD == 3


def test_plonk_is_written_with_compressed_points(proof_keys: Path, both: dict[str, Two]) -> None:
    written = both["plonk"].first.proof
    proof = find_prover("plonk").from_json(written)
    assert isinstance(proof, PlonkProof)

    for name, spelled in written["points"].items():
        point = getattr(proof.proof, name)
        is_larger_y = point.y > FIELD - point.y
        assert spelled == _compressed(point.x | (OTHER_Y if is_larger_y else 0))


def test_an_earlier_plonk_still_verifies(proof_keys: Path, both: dict[str, Two]) -> None:
    now, earlier = both["plonk"].first, both[EARLIER].first
    prover = find_prover("plonk")

    assert earlier.proof["points"]["tau_a"][0].startswith("0x")
    assert is_valid("plonk", earlier.statement, earlier.proof)
    assert prover.to_json(prover.from_json(earlier.proof)) == now.proof


@pytest.mark.parametrize("name", SCALARS)
def test_plonk_with_another_scalar_is_refused(proof_keys: Path, both: dict[str, Two], name: str) -> None:
    first, second = both["plonk"].first, both["plonk"].second
    value = int(first.proof["scalars"][name], 16)
    others = [(value + 1) % SCALAR_FIELD, -value % SCALAR_FIELD, 0, value + SCALAR_FIELD]

    for other in [*map(hex, others), second.proof["scalars"][name], "-0x1"]:
        changed = deepcopy(first.proof)
        changed["scalars"][name] = other
        assert not is_valid("plonk", first.statement, changed), other


def _changed_statements(statement: Statement) -> dict[str, Statement]:
    """Every public input changed by one, swapped, and by the order of the field, which a verifier can't see."""
    number = int.from_bytes(statement.digest)
    half = statement.digest[:16], statement.digest[16:]
    return {
        "commitment + 1": replace(statement, commitment=(statement.commitment + 1) % SCALAR_FIELD),
        "commitment plus the field's order": replace(
            statement, commitment=statement.commitment + SCALAR_FIELD
        ),
        "commitment negated": replace(statement, commitment=SCALAR_FIELD - statement.commitment),
        "another's commitment": make_statement(b"one", secret=5),
        "low half + 1": replace(statement, digest=(number ^ 1).to_bytes(32)),
        "high half + 1": replace(statement, digest=(number ^ (1 << 128)).to_bytes(32)),
        "halves swapped": replace(statement, digest=half[1] + half[0]),
        "another digest": replace(statement, digest=bytes(range(32))),
        "no digest": replace(statement, digest=bytes(32)),
        "submitter + 1": replace(statement, submitter=hex(int(statement.submitter, 16) + 1)),
        "submitter plus the field's order": replace(
            statement, submitter=hex(int(statement.submitter, 16) + SCALAR_FIELD)
        ),
        "digest of 33 bytes": replace(statement, digest=b"\0" + statement.digest),
        "no submitter": replace(statement, submitter="0x" + "0" * 40),
        "submitter and low half swapped": replace(
            statement,
            digest=half[0] + int(statement.submitter, 16).to_bytes(16 + 4)[-16:],
            submitter="0x" + half[1].hex().rjust(40, "0"),
        ),
    }


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("change", _changed_statements(make_statement()))
def test_a_proof_of_one_statement_proves_no_other(
    proof_keys: Path, both: dict[str, Two], system: str, change: str
) -> None:
    first = both[system].first
    other = _changed_statements(first.statement)[change]

    assert is_valid(system, first.statement, first.proof)
    assert other != first.statement
    assert not is_valid(system, other, first.proof)


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_submitters_capitals_make_no_difference(
    proof_keys: Path, both: dict[str, Two], system: str
) -> None:
    first = both[system].first

    assert is_valid(
        system, replace(first.statement, submitter=first.statement.submitter.lower()), first.proof
    )


def _malformed(proof: dict[str, Any]) -> dict[str, Any]:
    part = "a" if "a" in proof else "points"
    inner = proof[part] if part == "a" else proof[part]["tau_a"]
    number = inner if isinstance(inner, str) else inner[0]

    def with_number(value: Any) -> dict[str, Any]:
        point = value if isinstance(inner, str) else [value, inner[1]]
        return proof | {"a": point} if part == "a" else _with_point(proof, "tau_a", point)

    return {
        "None": None,
        "a list": [proof],
        "a text": json.dumps(proof),
        "nothing": {},
        "a number": 5,
        "one part missing": {name: proof[name] for name in proof if name != part},
        "one part more": proof | {"d": inner},
        "a part that is None": proof | {part: None},
        "a part that is a text": proof | {part: "0x1"},
        "a part that is too long": proof | {part: [*inner, "0x1"]},
        "a part that is empty": proof | {part: []},
        "another curve": proof | {"curve": "BLS12_381"},
        "no curve": proof | {"curve": None},
        "another system": proof | {"system": "stark"},
        "another key": proof | {"verifying_key": "0" * 64},
        "a key that is none": proof | {"verifying_key": "0"},
        "a key that is a number": proof | {"verifying_key": 5},
        "a plain integer": with_number(int(number, 16)),
        "a huge integer": with_number(10**400),
        "a huge hex": with_number("0x" + "f" * 10_000),
        "65 digits": with_number("0x" + "f" * 65),
        "no prefix": with_number(number[2:]),
        "capitals": with_number(number.upper()),
        "no hex": with_number("0xxyz"),
        "empty hex": with_number("0x"),
        "a leading zero": with_number("0x0" + number[2:]),
        "a line's end": with_number(number + "\n"),
        "digits of another script": with_number("0x٣"),
        "a negative number": with_number("-0x1"),
        "a boolean": with_number(True),
        "a float": with_number(1.5),
        "infinity's float": with_number(float("inf")),
    }


MALFORMED = _malformed({"a": GENERATOR}).keys()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", MALFORMED)
def test_what_is_malformed_is_no_proof(proof_keys: Path, both: dict[str, Two], form: str, kind: str) -> None:
    first = both[form].first
    data = _malformed(first.proof)[kind]

    assert not is_valid(first.proof["system"], first.statement, data)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", sorted(MALFORMED - {"another key"}))
def test_reading_it_says_so(proof_keys: Path, both: dict[str, Two], form: str, kind: str) -> None:
    first = both[form].first
    data = _malformed(first.proof)[kind]

    with pytest.raises(ProofFailed) as failure:
        find_prover(first.proof["system"]).from_json(data)

    assert failure.value.code == "proof_invalid"
    if form == "groth16":
        with pytest.raises(ProofFailed):
            calldata_of(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("0x1") | st.just("0x2"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@hypothesis_settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    system=st.sampled_from(SYSTEMS), part=st.sampled_from(["a", "b", "c", "points", "scalars"]), value=JSON
)
def test_no_part_of_whatever_shape_gets_through(
    proof_keys: Path, both: dict[str, Two], system: str, part: str, value: Any
) -> None:
    first = both[system].first

    assert not is_valid(system, first.statement, first.proof | {part: value})


@pytest.mark.parametrize(("system", "other"), [("groth16", "plonk"), ("plonk", "groth16")])
def test_a_proof_of_the_other_system_is_none(
    proof_keys: Path, both: dict[str, Two], system: str, other: str
) -> None:
    first = both[other].first

    assert not is_valid(system, first.statement, first.proof)
    assert not is_valid(system, first.statement, first.proof | {"system": system})


def test_a_proof_of_nothing_is_refused_as_a_whole(proof_keys: Path, both: dict[str, Two]) -> None:
    """All zero: what a verifier that forgets a check is known to accept."""
    first = both["plonk"].first
    scalars = dict.fromkeys(SCALARS, "0x0")

    for point in (COMPRESSED_INFINITY, COMPRESSED_GENERATOR, INFINITY, GENERATOR):
        nothing = {"points": dict.fromkeys(POINTS, point), "scalars": scalars}
        assert not is_valid("plonk", first.statement, first.proof | nothing), point


def test_calldata_has_imaginary_parts_first(proof_keys: Path, both: dict[str, Two]) -> None:
    proof = both["groth16"].first.proof

    a, b, c = calldata_of(proof)

    assert [hex(number) for number in a] == proof["a"]
    assert [[hex(number) for number in part[::-1]] for part in b] == proof["b"]
    assert [hex(number) for number in c] == proof["c"]


def test_proofs_are_of_the_documented_size(proof_keys: Path, both: dict[str, Two]) -> None:
    groth16 = find_prover("groth16").from_json(both["groth16"].first.proof)
    plonk = find_prover("plonk").from_json(both["plonk"].first.proof)

    assert isinstance(groth16, Groth16Proof)
    assert isinstance(plonk, PlonkProof)
    assert len(groth16.a.to_bytes() + groth16.b.to_bytes() + groth16.c.to_bytes()) == 128
    assert len(plonk.proof.to_bytes()) == 480
    assert g1_to(groth16.a) == both["groth16"].first.proof["a"]


def test_two_proofs_of_one_statement_differ(proof_keys: Path, both: dict[str, Two]) -> None:
    """They are blinded by random numbers: a proof tells nothing of the key."""
    for system in SYSTEMS:
        first = both[system].first
        again = prove(system, first.statement)

        assert again.proof != first.proof
        assert is_valid(system, first.statement, again.proof)
