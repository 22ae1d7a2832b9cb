"""MiMC over BN254's scalar field, as circomlib's MiMC7 has it: x^7 in 91 rounds, constants from keccak256("mimc").

Reference: Albrecht et al., https://eprint.iacr.org/2016/492, §5.2; circomlib's mimc7. `attestations.proofs.circuit`
states the same calculations as constraints.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from eth_hash.auto import keccak

from attestations.proofs.protocol import SCALAR_FIELD

ROUNDS = 91
SEED = b"mimc"


@cache
def round_constants() -> tuple[int, ...]:
    """The first is 0; each other one is the next keccak256 of the one before, modulo the field."""
    constants, state = [0], keccak(SEED)
    for _ in range(ROUNDS - 1):
        state = keccak(state)
        constants.append(int.from_bytes(state) % SCALAR_FIELD)
    return tuple(constants)


@cache
def commitment_domain() -> int:
    """The key that commitments are hashed with, so that no other use of MiMC here gives the same number."""
    return int.from_bytes(keccak(b"affidavit: commitment to a creator's key")) % SCALAR_FIELD


def encrypt(value: int, key: int) -> int:
    """MiMC7's block cipher: each round raises value + key + constant to the seventh; the key is added at last."""
    for constant in round_constants():
        value = pow(value + key + constant, 7, SCALAR_FIELD)
    return (value + key) % SCALAR_FIELD


def multihash(values: Iterable[int], key: int) -> int:
    """Hash `values` under `key` (Miyaguchi–Preneel): each step's state is the key that encrypts the next value."""
    state = key
    for value in values:
        state = (state + value + encrypt(value, state)) % SCALAR_FIELD
    return state


def commitment_of(secret: int) -> int:
    """What the world may know of a creator's key: its hash."""
    return multihash([secret], commitment_domain())


def signature_of(secret: int, message: Iterable[int]) -> int:
    """The message's hash under the key. It is an inner wire of the proof, and nobody is ever shown it."""
    return multihash(message, secret)
