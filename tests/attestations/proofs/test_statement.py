"""A statement's numbers have one spelling: whatever is out of its range is refused before any prover sees it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from attestations.proofs.making import make_proof
from attestations.proofs.protocol import SCALAR_FIELD, InvalidStatement
from tests.attestations.proofs.proving import SECRET, make_statement

OUT_OF_RANGE: list[dict[str, Any]] = [
    {"commitment": SCALAR_FIELD},
    {"commitment": -1},
    {"commitment": True},
    {"commitment": "5"},
    {"commitment": 5.0},
    {"digest": bytes(31)},
    {"digest": bytes(33)},
    {"digest": "0" * 32},
    {"submitter": "0x" + "0" * 39},
    {"submitter": "0x" + "0" * 41},
    {"submitter": "0" * 42},
    {"submitter": "0x" + "g" * 40},
    {"submitter": "0x" + "0" * 40 + "\n"},
    {"submitter": 5},
]


def test_public_inputs_are_commitment_halves_and_submitter() -> None:
    digest = bytes(range(32))
    statement = replace(make_statement(), digest=digest, submitter="0x" + "00" * 19 + "0A")

    inputs = statement.public_inputs

    assert inputs == (
        make_statement().commitment,
        int.from_bytes(digest[:16]),
        int.from_bytes(digest[16:]),
        10,
    )


@pytest.mark.parametrize("change", OUT_OF_RANGE, ids=str)
def test_what_is_out_of_range_is_no_statement(change: dict[str, Any]) -> None:
    statement = replace(make_statement(), **change)

    with pytest.raises(InvalidStatement):
        _ = statement.public_inputs
    with pytest.raises(InvalidStatement):
        make_proof("groth16", statement, SECRET)
