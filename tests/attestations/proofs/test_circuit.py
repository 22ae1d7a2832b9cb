"""The circuit says what `mimc.py` calculates, and nothing else satisfies it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attestations.proofs.circuit import KEY, PUBLIC, statement_circuit
from attestations.proofs.groth16_keys import rows_of
from attestations.proofs.mimc import commitment_of, signature_of
from attestations.proofs.plonk_keys import gates_of, layout_of, public_rows
from attestations.proofs.protocol import SCALAR_FIELD, InvalidStatement, Statement
from tests.attestations.proofs.proving import SECRET, make_statement


@settings(max_examples=20, deadline=None)
@given(
    secret=st.integers(1, SCALAR_FIELD - 1),
    digest=st.binary(min_size=32, max_size=32),
    submitter=st.integers(0, 2**160 - 1),
)
def test_circuit_calculates_what_mimc_does(secret: int, digest: bytes, submitter: int) -> None:
    statement = Statement(commitment=commitment_of(secret), digest=digest, submitter=f"0x{submitter:040x}")

    wires = statement_circuit().solve(statement, secret)

    assert tuple(wires[: len(PUBLIC)]) == statement.public_inputs
    assert wires[-1] == signature_of(secret, statement.public_inputs[1:])


def test_the_signature_stays_inside() -> None:
    circuit = statement_circuit()

    signature = circuit.gates[-1].output

    assert signature not in PUBLIC
    assert signature == circuit.wire_count - 1


@pytest.mark.parametrize("secret", [SECRET + 1, 0, -1, SCALAR_FIELD, SECRET + SCALAR_FIELD])
def test_another_key_than_the_one_behind_the_commitment_is_refused(secret: int) -> None:
    with pytest.raises(InvalidStatement, match="the key is"):
        statement_circuit().solve(make_statement(), secret)


def test_every_wire_is_held_by_the_rows_of_groth16() -> None:
    wires = statement_circuit().solve(make_statement(), SECRET)
    rows = rows_of(statement_circuit())

    def holds(values: list[int]) -> bool:
        a, b, c = (matrix.dot([1, *values]) for matrix in (rows.A, rows.B, rows.C))
        return all(x * y % SCALAR_FIELD == z for x, y, z in zip(a, b, c, strict=True))

    assert holds(wires)
    for wire in [*range(KEY + 1), *range(KEY + 1, len(wires), 97), len(wires) - 1]:
        assert not holds([*wires[:wire], wires[wire] + 1, *wires[wire + 1 :]]), wire


def test_every_wire_is_held_by_the_gates_of_plonk() -> None:
    circuit, statement = statement_circuit(), make_statement()
    wires = circuit.solve(statement, SECRET)
    gates, layout = gates_of(circuit), layout_of(circuit)

    def holds(values: list[int]) -> bool:
        public = public_rows(statement)
        for row, names in enumerate(layout):
            a, b, c = (0 if name is None else values[name] for name in names)
            value = gates.qL[row] * a + gates.qR[row] * b + gates.qO[row] * c + gates.qM[row] * a * b
            if (value + gates.qC[row] + public.get(row, 0)) % SCALAR_FIELD:
                return False
        return True

    assert holds(wires)
    for wire in [*range(KEY + 1), *range(KEY + 1, len(wires), 97), len(wires) - 1]:
        assert not holds([*wires[:wire], wires[wire] + 1, *wires[wire + 1 :]]), wire


def test_plonk_copies_a_wire_to_all_its_cells_and_no_other() -> None:
    circuit = statement_circuit()
    gates, layout = gates_of(circuit), layout_of(circuit)
    cells: dict[int, set[int]] = {}
    for row, names in enumerate(layout):
        for column, wire in enumerate(names):
            if wire is not None:
                cells.setdefault(wire, set()).add(column * gates.length + row)

    assert sorted(gates.permutation) == list(range(3 * gates.length))
    assert len(cells) == circuit.wire_count
    for same in cells.values():
        walked, cell = set[int](), min(same)
        while cell not in walked:
            walked.add(cell)
            cell = gates.permutation[cell]
        assert walked == same


def test_keys_of_another_circuit_are_told_apart() -> None:
    circuit = statement_circuit()
    other = replace(circuit, gates=[replace(circuit.gates[0], constant=1), *circuit.gates[1:]])

    assert circuit.digest == statement_circuit().digest
    assert circuit.digest != other.digest
