"""Points of BN254 as JSON: coordinates as 0x and hex, those of G2 as [real, imaginary], or compressed, as one number.

Whatever is read is checked: on its curve, in its subgroup, each number spelled in one way only. zksnake's own
constructors panic at a wrong point, which is no exception that anybody catches, so points are read through its
decoder of compressed points, which raises ValueError.
"""

from __future__ import annotations

import re
from typing import Any

from zksnake._algebra import ec_bn254

from attestations.proofs.protocol import SCALAR_FIELD, ProofFailed

FIELD = 21888242871839275222246405745257275088696311157297823662689037894645226208583  # of coordinates
# What is written: no leading zeros, no capitals, so that a number has one spelling.
NUMBER = re.compile(r"0x(0|[1-9a-f][0-9a-f]{0,63})")
# x, the lowest byte first; of the last byte, whose two highest bits x leaves free, one says which y.
COMPRESSED = re.compile(r"0x[0-9a-f]{64}")
INFINITY = ["0x0", "0x0"]


def number_from(data: Any, *, below: int = SCALAR_FIELD) -> int:
    """Read a number; ProofFailed("proof_invalid") where it is none, or too large."""
    if isinstance(data, str) and NUMBER.fullmatch(data) and (number := int(data, 16)) < below:
        return number
    raise ProofFailed("proof_invalid", "a number is not 0x and hex, or is out of its range")


def g1_from(data: Any) -> Any:
    """Read a point of G1 other than infinity; ProofFailed("proof_invalid")."""
    x, y = (number_from(number, below=FIELD) for number in pair_from(data))
    return _decode(ec_bn254.PointG1, x.to_bytes(32, "little"), y)


def g2_from(data: Any) -> Any:
    """Read a point of G2 other than infinity; ProofFailed("proof_invalid")."""
    x, y = ([number_from(number, below=FIELD) for number in pair_from(part)] for part in pair_from(data))
    return _decode(ec_bn254.PointG2, b"".join(number.to_bytes(32, "little") for number in x), y)


def g1_or_infinity_from(data: Any) -> Any:
    """Read a point of a key, where infinity, written as the point (0, 0), is the commitment to nothing."""
    return ec_bn254.PointG1.identity() if data == INFINITY else g1_from(data)


def compressed_g1_from(data: Any) -> Any:
    """Read a compressed point of G1 other than infinity; ProofFailed("proof_invalid")."""
    if not isinstance(data, str) or not COMPRESSED.fullmatch(data):
        raise ProofFailed("proof_invalid", "a compressed point is not 0x and 64 hex digits")
    point = _point_of(ec_bn254.PointG1, bytes.fromhex(data[2:]))
    # The decoder takes any x for infinity's.
    if point == ec_bn254.PointG1.identity() or compressed_g1_to(point) != data:
        raise ProofFailed("proof_invalid", "a compressed point is infinity, or spelled in another way")
    return point


def pair_from(data: Any) -> list[Any]:
    """Read a list of two; ProofFailed("proof_invalid")."""
    if not isinstance(data, list) or len(data) != 2:
        raise ProofFailed("proof_invalid", "a point is not a list of two coordinates")
    return data


def _decode(group: Any, x: bytes, y: Any) -> Any:
    """The point at `x` whose other coordinate is `y`: of the two at `x` the decoder gives one."""
    point = _point_of(group, x)
    for candidate in (point, -point):
        if candidate.y == y:
            return candidate
    raise ProofFailed("proof_invalid", "a point is not on its curve")


def _point_of(group: Any, compressed: bytes) -> Any:
    try:
        return group.from_bytes(compressed)
    except ValueError as error:
        raise ProofFailed("proof_invalid", "a point is not on its curve, or not in its subgroup") from error


def g1_to(point: Any) -> list[str]:
    return [hex(point.x), hex(point.y)]


def compressed_g1_to(point: Any) -> str:
    return "0x" + bytes(point.to_bytes()).hex()


def g2_to(point: Any) -> list[list[str]]:
    return [[hex(number) for number in part] for part in (point.x, point.y)]
