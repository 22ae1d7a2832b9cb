"""Whether Groth16 keys are really those of the circuit, and what one party adds to them.

A set-up has random numbers behind it, and whoever knows all of them can prove anything. They come in two phases: tau,
alpha, beta and gamma; then delta, which many may make together, each multiplying it by a number of their own. A
contribution does the second: proofs stay sound if one contributor has forgotten their number *and* the first phase
was honest, of which `single-party setup` says that one party's word is all there is. Contributions are no remedy for
a first phase whose numbers were kept: who has those divides delta out again.

What can be checked by anybody, without these numbers, is that keys belong to the circuit: `check_keys` does, by
pairings of random combinations of all points. That says nothing of who made them: a list of contributions is easily
invented for a set whose numbers are all known. What it is worth is seen by whoever holds the keys that it begins with
(`check_continuation`), and by a contributor who finds their own in it (`contribution_digests`).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from zksnake.array import SparseArray
from zksnake.ecc import EllipticCurve
from zksnake.groth16 import ProvingKey, VerifyingKey
from zksnake.polynomial import ifft

from attestations.canonical import digest_of
from attestations.proofs.circuit import PUBLIC, statement_circuit
from attestations.proofs.groth16_keys import Rows, read_proving_key, read_verifying_key, rows_of
from attestations.proofs.keys import KeyPair
from attestations.proofs.points import g1_from, g1_to, g2_from, g2_to
from attestations.proofs.protocol import SCALAR_FIELD, ProofFailed

CURVE = EllipticCurve("BN254")
G1, G2 = CURVE.G1(), CURVE.G2()
Contribution = dict[str, Any]
# What contributions change; all else is of the first phase.
SECOND_PHASE = {
    "proving": {"delta_1", "delta_2", "target_1", "kdelta_1"},
    "verifying": {"delta_2"},
}


class NotContinued(Exception):
    """Keys are not others with further contributions; str() says how it shows."""


def contribute(keys: KeyPair, name: str) -> tuple[KeyPair, Contribution]:
    """Multiply delta by a random number that is forgotten at once; the new keys, and what may be checked of it."""
    factor = secrets.randbelow(SCALAR_FIELD - 1) + 1
    before = read_verifying_key(keys["verifying"]), g1_from(keys["proving"]["delta_1"])
    proving, verifying = dict(keys["proving"]), dict(keys["verifying"])
    proving["delta_1"] = g1_to(before[1] * factor)
    proving["delta_2"] = verifying["delta_2"] = g2_to(before[0].delta_2 * factor)
    inverse = pow(factor, -1, SCALAR_FIELD)
    for field in ("target_1", "kdelta_1"):
        points = [g1_from(item) for item in proving[field]]
        proving[field] = [g1_to(point) for point in CURVE.batch_mul(points, [inverse] * len(points))]
    contribution = {
        "name": name,
        "delta_before": keys["proving"]["delta_1"],
        "delta_after": proving["delta_1"],
        "factor": g2_to(G2 * factor),
    }
    return {"proving": proving, "verifying": verifying}, contribution


def check_contributions(keys: KeyPair, contributions: Sequence[Contribution]) -> None:
    """ProofFailed("keys_damaged") unless each follows from the one before, and the last is the keys' delta."""
    try:
        deltas = [item["delta_before"] for item in contributions[1:]] + [keys["proving"]["delta_1"]]
        for item, following in zip(contributions, deltas, strict=False):
            _check_contribution(item, following)
    except (KeyError, TypeError) as error:
        raise ProofFailed("keys_damaged", "The keys are wrong: a contribution lacks fields.") from error


def check_continuation(
    keys: KeyPair,
    contributions: Sequence[Contribution],
    *,
    ours: KeyPair,
    our_contributions: Sequence[Contribution],
) -> None:
    """NotContinued unless `keys`, checked before with their contributions, are ours and what others added to them."""
    if first_phase(keys) != first_phase(ours):
        raise NotContinued("The first phase is another than that of the keys here")
    count = len(our_contributions)
    if list(contributions[:count]) != list(our_contributions):
        raise NotContinued("The contributions that are here are not the first of theirs")
    added = contributions[count:]
    if not added or added[0]["delta_before"] != ours["proving"]["delta_1"]:
        raise NotContinued("No contribution follows on the delta of the keys here")


def contribution_digests(keys: KeyPair, contributions: Sequence[Contribution]) -> list[str]:
    """A SHA-256 for each contribution, of the first phase, of those before it and of itself.

    A contributor who finds theirs in the result knows that it was neither left out nor put on other keys.
    """
    digests = [digest_of(first_phase(keys))]
    for item in contributions:
        digests.append(digest_of({"before": digests[-1], "contribution": item}))
    return digests[1:]


def first_phase(keys: KeyPair) -> KeyPair:
    """What of the keys no contribution changes."""
    return {
        part: {name: value for name, value in keys[part].items() if name not in changing}
        for part, changing in SECOND_PHASE.items()
    }


def _check_contribution(item: Contribution, following: Any) -> None:
    _require(isinstance(item["name"], str) and item["name"].isprintable(), "a contributor's name is none")
    before, after = g1_from(item["delta_before"]), g1_from(item["delta_after"])
    _require(item["delta_after"] == following, "the contributions don't follow from each other")
    _require(
        CURVE.pairing(after, G2) == CURVE.pairing(before, g2_from(item["factor"])),
        f"the contribution of {item['name']} is not what its factor says",
    )


def check_keys(keys: KeyPair) -> None:
    """ProofFailed("keys_damaged") unless both keys are of this circuit and of each other."""
    check_points(read_proving_key(keys["proving"]), read_verifying_key(keys["verifying"]))


def check_points(proving: ProvingKey, verifying: VerifyingKey) -> None:
    """The same, of keys that have been read."""
    for name in ("alpha_1", "beta_2", "delta_2"):
        _require(getattr(proving, name) == getattr(verifying, name), f"the two keys differ in {name}")
    _check_pairs(proving)
    _check_powers(proving)
    _check_wires(proving, verifying)


def _check_pairs(key: ProvingKey) -> None:
    """The same number in both groups."""
    for name, in_1, in_2 in (("beta", key.beta_1, key.beta_2), ("delta", key.delta_1, key.delta_2)):
        _require(CURVE.pairing(in_1, G2) == CURVE.pairing(G1, in_2), f"{name} differs between the groups")


def _check_powers(key: ProvingKey) -> None:
    """tau's powers in both groups; and its powers times t(tau)/delta, where t(tau) is tau^n - 1."""
    _require(key.tau_1[0] == G1 and key.tau_2[0] == G2, "the first power is not 1")
    random = _random_numbers(len(key.tau_1))
    tau = key.tau_2[1]
    for name, points in (("tau_1", key.tau_1), ("target_1", key.target_1)):
        lower, upper = CURVE.multiexp(points[:-1], random[1:]), CURVE.multiexp(points[1:], random[1:])
        _require(CURVE.pairing(upper, G2) == CURVE.pairing(lower, tau), f"{name} are not powers of tau")
    in_1, in_2 = CURVE.multiexp(key.tau_1, random), CURVE.multiexp(key.tau_2, random)
    _require(CURVE.pairing(in_1, G2) == CURVE.pairing(G1, in_2), "tau_1 and tau_2 differ")
    vanishing = CURVE.multi_pairing([key.tau_1[-1], -G1], [tau, G2])
    _require(CURVE.pairing(key.target_1[0], key.delta_2) == vanishing, "target_1 does not vanish on the rows")


def _check_wires(proving: ProvingKey, verifying: VerifyingKey) -> None:
    """Each column of the circuit is where it belongs: the public ones over gamma, the others over delta."""
    rows = rows_of(statement_circuit())
    count = len(PUBLIC) + 1
    for name, points, over, columns in (
        ("ic", verifying.ic, verifying.gamma_2, range(count)),
        ("kdelta_1", proving.kdelta_1, proving.delta_2, range(count, rows.A.n_col)),
    ):
        random = dict(zip(columns, _random_numbers(len(columns)), strict=True))
        expected = _combined(rows, random, proving)
        found = CURVE.pairing(CURVE.multiexp(points, list(random.values())), over)
        _require(found == expected, f"{name} are not those of the circuit")


def _combined(rows: Rows, random: dict[int, int], key: ProvingKey) -> Any:
    """The sum of random · (beta·A + alpha·B + C) over columns, at tau, in the target group."""
    a = CURVE.multiexp(key.tau_1, _polynomial(rows.A, random, len(key.tau_1)))
    b = CURVE.multiexp(key.tau_2, _polynomial(rows.B, random, len(key.tau_2)))
    c = CURVE.multiexp(key.tau_1, _polynomial(rows.C, random, len(key.tau_1)))
    return CURVE.multi_pairing([a, key.alpha_1, c], [key.beta_2, b, G2])


def _polynomial(matrix: SparseArray, random: dict[int, int], length: int) -> list[int]:
    """Coefficients of the polynomial that goes through the rows' sums."""
    sums = [0] * length
    for row, column, value in matrix.triplets:
        sums[row] += random.get(column, 0) * value
    return list(ifft([value % SCALAR_FIELD for value in sums], SCALAR_FIELD))


def _random_numbers(count: int) -> list[int]:
    return [secrets.randbits(128) for _ in range(count)]


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ProofFailed("keys_damaged", f"The keys are wrong: {otherwise}.")
