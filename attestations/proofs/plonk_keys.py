"""What PlonK makes of the circuit: gates, copies, and keys for them as JSON.

The first rows hold the public inputs: each row's left wire minus its public input is 0, and the wire is copied to
wherever the circuit has it. The proving key is a universal set of powers; all else follows from the circuit.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from zksnake.ecc import EllipticCurve
from zksnake.plonk import Plonk, VerifyingKey

from attestations.proofs.circuit import PUBLIC, Circuit, statement_circuit
from attestations.proofs.keys import KeyPair
from attestations.proofs.points import g1_from, g1_or_infinity_from, g1_to, g2_from, g2_to
from attestations.proofs.protocol import SCALAR_FIELD, ProofFailed, Statement

CURVE = EllipticCurve("BN254")
SELECTORS = ("L", "R", "O", "M", "C")
# zksnake's prover needs so many powers more than there are rows.
EXTRA_POWERS = 6
Row = tuple[int | None, int | None, int | None]


@dataclass(frozen=True, slots=True)
class Gates:
    """Selectors and permutation as zksnake reads them."""

    length: int
    qL: list[int]  # noqa: N815
    qR: list[int]  # noqa: N815
    qO: list[int]  # noqa: N815
    qM: list[int]  # noqa: N815
    qC: list[int]  # noqa: N815
    permutation: list[int]


def layout_of(circuit: Circuit) -> list[Row]:
    """The wires of each row: left, right, output."""
    public: list[Row] = [(wire, None, None) for wire in PUBLIC]
    return [*public, *((gate.left, gate.right, gate.output) for gate in circuit.gates)]


def gates_of(circuit: Circuit) -> Gates:
    """Compile the circuit: a row per public input and per gate, padded to a power of two."""
    rows = [(1, 0, 0, 0, 0) for _ in PUBLIC]
    rows += [
        (gate.left_factor, gate.right_factor, -1 % SCALAR_FIELD, gate.product, gate.constant)
        for gate in circuit.gates
    ]
    length = 1 << (len(rows) - 1).bit_length()
    rows += [(0, 0, 0, 0, 0)] * (length - len(rows))
    left, right, output, product, constant = (list(column) for column in zip(*rows, strict=True))
    permutation = _permutation(layout_of(circuit), length)
    return Gates(length, left, right, output, product, constant, permutation)


def _permutation(layout: list[Row], length: int) -> list[int]:
    """For each cell the next one with the same wire, in a cycle: cells are all left ones, then right, then output."""
    cells: dict[int, list[int]] = {}
    for cell, wire in _wires_by_cell(layout, length):
        cells.setdefault(wire, []).append(cell)
    permutation = list(range(3 * length))
    for same in cells.values():
        for cell, following in zip(same, [*same[1:], same[0]], strict=True):
            permutation[cell] = following
    return permutation


def _wires_by_cell(layout: list[Row], length: int) -> Iterator[tuple[int, int]]:
    for number, row in enumerate(layout):
        for column, wire in enumerate(row):
            if wire is not None:
                yield column * length + number, wire


def public_rows(statement: Statement) -> dict[int, int]:
    """What the rows of the public inputs add, in the order in which the transcript takes them."""
    return {row: -value % SCALAR_FIELD for row, value in enumerate(statement.public_inputs)}


def make_keys() -> KeyPair:
    """A set-up by one party: whoever kept its random number could prove anything."""
    system = Plonk(gates_of(statement_circuit()))
    system.setup()
    proving = {"tau_1": [g1_to(point) for point in system.proving_key.tau_g1]}
    return {"proving": proving, "verifying": _write_verifying(system.verifying_key)}


def read_proving_key(data: Any, verifying_key: VerifyingKey) -> Plonk:
    """A system ready to prove; ProofFailed("keys_damaged") where the powers don't give this verifying key."""
    gates = gates_of(statement_circuit())
    try:
        powers = [g1_from(item) for item in data["tau_1"]]
    except (KeyError, TypeError, ProofFailed) as error:
        raise ProofFailed("keys_damaged", f"A key file is no PlonK proving key: {error}") from error
    if len(powers) != gates.length + EXTRA_POWERS:
        raise ProofFailed("keys_damaged", "The keys are for a circuit of another size.")
    system = Plonk(gates)
    system.G1_tau = []  # setup() checks the length of this one instead of what it is given
    system.setup(g1_tau=powers, g2_tau=verifying_key.tau_g2)
    if _write_verifying(system.verifying_key) != _write_verifying(verifying_key):
        raise ProofFailed("keys_damaged", "The two keys don't belong together, or to this circuit.")
    return system


def read_verifying_key(data: Any) -> VerifyingKey:
    """ProofFailed("keys_damaged") where it is none for this circuit."""
    try:
        selectors = {name: g1_or_infinity_from(data["selectors"][name]) for name in SELECTORS}
        copies = [g1_from(item) for item in data["permutation"]]
        length, tau_2 = data["length"], g2_from(data["tau_2"])
    except (KeyError, TypeError, ProofFailed) as error:
        raise ProofFailed("keys_damaged", f"A key file is no PlonK verifying key: {error}") from error
    if length != gates_length() or len(copies) != 3:
        raise ProofFailed("keys_damaged", "The keys are for a circuit of another size.")
    return VerifyingKey(length, tau_2, selectors, copies)


def check_keys(keys: KeyPair) -> None:
    """ProofFailed("keys_damaged") unless both keys are of this circuit, of each other, and powers of one number."""
    verifying = read_verifying_key(keys["verifying"])
    powers = read_proving_key(keys["proving"], verifying).G1_tau
    random = [secrets.randbits(128) for _ in powers[1:]]
    lower, upper = CURVE.multiexp(powers[:-1], random), CURVE.multiexp(powers[1:], random)
    is_one = powers[0] == CURVE.G1()
    if not is_one or CURVE.pairing(upper, CURVE.G2()) != CURVE.pairing(lower, verifying.tau_g2):
        raise ProofFailed("keys_damaged", "The keys are wrong: tau_1 are not powers of tau.")


def gates_length() -> int:
    """How many rows the circuit takes, padding included."""
    return 1 << (len(layout_of(statement_circuit())) - 1).bit_length()


def _write_verifying(key: VerifyingKey) -> dict[str, Any]:
    return {
        "length": key.n,
        "tau_2": g2_to(key.tau_g2),
        "selectors": {name: g1_to(key.tau_selector_poly[name]) for name in SELECTORS},
        "permutation": [g1_to(point) for point in key.tau_permutation_poly],
    }
