"""What Groth16 makes of the circuit: rows of an R1CS, and keys for them as JSON."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zksnake.array import SparseArray
from zksnake.groth16 import Groth16, ProvingKey, VerifyingKey

from attestations.proofs.circuit import PUBLIC, Circuit, Gate, statement_circuit
from attestations.proofs.keys import KeyPair
from attestations.proofs.points import g1_from, g1_to, g2_from, g2_to
from attestations.proofs.protocol import SCALAR_FIELD, ProofFailed

ONE = 0  # the column that is always 1; a wire's column is its number + 1
Cells = list[tuple[int, int]]

# Fields of zksnake's keys, with the group of their points.
PROVING_POINTS = {"alpha_1": 1, "beta_1": 1, "beta_2": 2, "delta_1": 1, "delta_2": 2}
PROVING_LISTS = {"tau_1": 1, "tau_2": 2, "target_1": 1, "kdelta_1": 1}
VERIFYING_POINTS = {"alpha_1": 1, "beta_2": 2, "gamma_2": 2, "delta_2": 2}
VERIFYING_LISTS = {"ic": 1}
WRITE: dict[int, Callable[[Any], Any]] = {1: g1_to, 2: g2_to}
READ: dict[int, Callable[[Any], Any]] = {1: g1_from, 2: g2_from}


@dataclass(frozen=True, slots=True)
class Rows:
    """An R1CS as zksnake reads it: (A·witness) × (B·witness) = C·witness, row by row."""

    A: SparseArray
    B: SparseArray
    C: SparseArray
    n_public: int


def rows_of(circuit: Circuit) -> Rows:
    """Compile the circuit: a row per gate. Give it to one Groth16 only, which pads the matrices."""
    size = len(circuit.gates), circuit.wire_count + 1
    a, b, c = (SparseArray([[]], *size, SCALAR_FIELD) for _ in range(3))
    for row, gate in enumerate(circuit.gates):
        for matrix, cells in zip((a, b, c), _cells_of(gate), strict=True):
            matrix.append([(row, column, value % SCALAR_FIELD) for column, value in cells])
    return Rows(a, b, c, n_public=len(PUBLIC) + 1)


def _cells_of(gate: Gate) -> tuple[Cells, Cells, Cells]:
    sums = [(gate.left + 1, gate.left_factor), (ONE, gate.constant)]
    if gate.right is None:
        return sums, [(ONE, 1)], [(gate.output + 1, 1)]
    sums.append((gate.right + 1, gate.right_factor))
    rest = [(gate.output + 1, 1), *((column, -value) for column, value in sums)]
    return [(gate.left + 1, gate.product)], [(gate.right + 1, 1)], rest


def make_keys() -> KeyPair:
    """A set-up by one party: whoever kept its random numbers could prove anything."""
    os.environ["ZKSNAKE_PARALLEL_CPU"] = "1"  # else joblib starts a pool of processes
    system = Groth16(rows_of(statement_circuit()))
    system.setup()
    return {
        "proving": _write(system.proving_key, PROVING_POINTS, PROVING_LISTS),
        "verifying": _write(system.verifying_key, VERIFYING_POINTS, VERIFYING_LISTS),
    }


def read_proving_key(data: dict[str, Any]) -> ProvingKey:
    """ProofFailed("keys_damaged") where it is none for this circuit."""
    circuit = statement_circuit()
    size = 1 << (len(circuit.gates) - 1).bit_length()
    lengths = {"tau_1": size, "tau_2": size, "target_1": size}
    lengths["kdelta_1"] = circuit.wire_count - len(PUBLIC)
    points = _read(data, PROVING_POINTS, PROVING_LISTS, lengths)
    return ProvingKey(
        points["alpha_1"],
        points["beta_1"],
        points["beta_2"],
        points["delta_1"],
        points["delta_2"],
        points["tau_1"],
        points["tau_2"],
        points["target_1"],
        points["kdelta_1"],
    )


def read_verifying_key(data: dict[str, Any]) -> VerifyingKey:
    """ProofFailed("keys_damaged") where it is none for this circuit."""
    points = _read(data, VERIFYING_POINTS, VERIFYING_LISTS, {"ic": len(PUBLIC) + 1})
    return VerifyingKey(
        points["alpha_1"], points["beta_2"], points["gamma_2"], points["delta_2"], points["ic"]
    )


def _write(key: Any, points: dict[str, int], lists: dict[str, int]) -> dict[str, Any]:
    single = {name: WRITE[group](getattr(key, name)) for name, group in points.items()}
    return single | {
        name: [WRITE[group](point) for point in getattr(key, name)] for name, group in lists.items()
    }


def _read(
    data: Any, points: dict[str, int], lists: dict[str, int], lengths: dict[str, int]
) -> dict[str, Any]:
    try:
        if any(len(data[name]) != length for name, length in lengths.items()):
            raise ProofFailed("keys_damaged", "The keys are for a circuit of another size.")
        single = {name: READ[group](data[name]) for name, group in points.items()}
        return single | {name: [READ[group](item) for item in data[name]] for name, group in lists.items()}
    except (KeyError, TypeError) as error:
        raise ProofFailed("keys_damaged", "A key file has other fields than a Groth16 key.") from error
    except ProofFailed as error:
        raise ProofFailed("keys_damaged", f"A key file is wrong: {error}") from error
