"""MiMC7 gives the numbers that others' implementations of it give."""

from __future__ import annotations

from attestations.proofs.mimc import (
    ROUNDS,
    commitment_of,
    encrypt,
    multihash,
    round_constants,
    signature_of,
)
from attestations.proofs.protocol import SCALAR_FIELD


def test_constants_are_the_published_ones() -> None:
    constants = round_constants()

    assert len(constants) == ROUNDS == 91
    assert constants[:2] == (
        0,
        20888961410941983456478427210666206549300505294776164667214940546594746570981,
    )
    assert len(set(constants)) == 91


def test_cipher_agrees_with_go_iden3_crypto() -> None:
    assert encrypt(1, 2) == 10594780656576967754230020536574539122676596303354946869887184401991294982664
    assert encrypt(12, 45) == 0x2BA7EBAD3C6B6F5A20BDECBA2333C63173CA1A5F2F49D958081D9FA7179C44E4


def test_hash_agrees_with_circomlib() -> None:
    assert multihash([12], 0) == 0x237C92644DBDDB86D8A259E0E923AAAB65A93F1EC5758B8799988894AC0958FD
    assert multihash([78, 41], 0) == 0x067F3202335EA256AE6E6AADCD2D5F7F4B06A00B2D1E0DE903980D5AB552DC70
    assert multihash([12, 45], 0) == 0x15FF7FE9793346A17C3150804BCB36D161C8662B110C50F55CCB7113948D8879
    assert (
        multihash([12, 45, 78, 41], 0) == 0x284BC1F34F335933A23A433B6FF3EE179D682CD5E5E2FCDD2D964AFA85104BEB
    )


def test_a_commitment_is_no_signature() -> None:
    key = 77

    numbers = {commitment_of(key), signature_of(key, [key]), signature_of(key, []), multihash([key], 0)}

    assert len(numbers) == 4
    assert all(0 <= number < SCALAR_FIELD for number in numbers)
