"""The statement as arithmetic: a list of gates that Groth16 and PlonK both compile.

Every gate is `output = left_factor·left + right_factor·right + product·left·right + constant` over BN254's scalar
field, which is a row of an R1CS and a gate of vanilla PlonK alike. Wires are numbered: the four public inputs, then
the creator's key, then one per gate's output.

What holds: the commitment is the MiMC hash of the key, and the key has hashed (signed) both halves of the digest and
the submitter. The signature itself goes nowhere: who can't calculate it has no proof, and each public input stands in
its constraints, which binds the proof to it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from functools import cache

from attestations.proofs import mimc
from attestations.proofs.protocol import SCALAR_FIELD, InvalidStatement, Statement

COMMITMENT, HIGH, LOW, SUBMITTER = PUBLIC = range(4)
KEY = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """See the module; a wire that is None counts as nothing."""

    left: int
    right: int | None = None
    output: int
    left_factor: int = 0
    right_factor: int = 0
    product: int = 0
    constant: int = 0


@dataclass(slots=True)
class Circuit:
    """Gates in the order in which they can be calculated."""

    gates: list[Gate] = field(default_factory=list)
    wire_count: int = KEY + 1

    def multiply(self, left: int, right: int) -> int:
        output = self._new_wire()
        self.gates.append(Gate(left=left, right=right, output=output, product=1))
        return output

    def add(
        self, left: int, right: int | None = None, *, constant: int = 0, output: int | None = None
    ) -> int:
        """The sum of one or two wires and a constant, on a new wire or on `output`."""
        output = self._new_wire() if output is None else output
        factor = 0 if right is None else 1
        self.gates.append(
            Gate(
                left=left,
                right=right,
                output=output,
                left_factor=1,
                right_factor=factor,
                constant=constant % SCALAR_FIELD,
            )
        )
        return output

    def _new_wire(self) -> int:
        self.wire_count += 1
        return self.wire_count - 1

    @property
    def digest(self) -> str:
        """SHA-256 of the gates: keys made for other gates are of no use."""
        return hashlib.sha256(json.dumps([astuple(gate) for gate in self.gates]).encode()).hexdigest()

    def solve(self, statement: Statement, secret: int) -> list[int]:
        """Every wire's value; InvalidStatement where `secret` is not the key behind the commitment."""
        if not 0 < secret < SCALAR_FIELD:
            raise InvalidStatement("the key is no number of the scalar field")
        wires = [*statement.public_inputs, secret] + [0] * (self.wire_count - KEY - 1)
        for gate in self.gates:
            value = _output_of(gate, wires)
            if gate.output == COMMITMENT and value != statement.commitment:
                raise InvalidStatement("the key is not the one behind the commitment")
            wires[gate.output] = value
        return wires


def _output_of(gate: Gate, wires: Sequence[int]) -> int:
    left = wires[gate.left]
    right = 0 if gate.right is None else wires[gate.right]
    value = gate.left_factor * left + gate.right_factor * right + gate.product * left * right
    return (value + gate.constant) % SCALAR_FIELD


@cache
def statement_circuit() -> Circuit:
    """The one circuit there is: commitment and signature."""
    circuit = Circuit()
    _commit(circuit)
    state = KEY
    for message in (HIGH, LOW, SUBMITTER):
        encrypted = _encrypt(circuit, message, key=state)
        state = circuit.add(circuit.add(state, message), encrypted)
    return circuit


def _commit(circuit: Circuit) -> None:
    """The commitment is the key's hash under the domain: `mimc.commitment_of`."""
    domain = mimc.commitment_domain()
    encrypted = _encrypt(circuit, KEY, key_constant=domain)
    circuit.add(KEY, encrypted, constant=domain, output=COMMITMENT)


def _encrypt(circuit: Circuit, value: int, *, key: int | None = None, key_constant: int = 0) -> int:
    """MiMC7's cipher: `mimc.encrypt` under the key on a wire or under a constant one."""
    for constant in mimc.round_constants():
        value = _seventh_power(circuit, circuit.add(value, key, constant=constant + key_constant))
    return circuit.add(value, key, constant=key_constant)


def _seventh_power(circuit: Circuit, base: int) -> int:
    square = circuit.multiply(base, base)
    fourth = circuit.multiply(square, square)
    sixth = circuit.multiply(fourth, square)
    return circuit.multiply(sixth, base)
