"""What a transaction offers for its gas (EIP-1559). All amounts are wei per unit of gas."""

from __future__ import annotations

from dataclasses import dataclass

from attestations.chain.errors import ChainUnavailable

GWEI = 10**9
# Of a tip: as much as a chain asks for that takes nothing below 25 gwei, however low its base fee (Polygon).
TIP_MAX = 30 * GWEI


@dataclass(frozen=True, slots=True)
class Fees:
    """The most it pays in all, and the part of it that goes to whoever makes the block."""

    max_fee: int
    priority: int


def offered_fees(base_fee: int, priority: int, *, cap: int) -> Fees:
    """Twice the base fee, which holds for six full blocks in a row, and the tip. Raises ChainUnavailable above `cap`.

    What the node says of a tip is not believed beyond twice the base fee or TIP_MAX, whichever is more.
    """
    if base_fee > cap:
        raise ChainUnavailable(
            f"Gas costs {in_gwei(base_fee)} gwei, more than CHAIN_MAX_FEE_GWEI ({in_gwei(cap)})."
        )
    tip = min(priority, max(2 * base_fee, TIP_MAX))
    most = min(2 * base_fee + tip, cap)
    return Fees(most, min(tip, most))


def beating(offered: Fees, earlier: Fees, *, cap: int) -> Fees:
    """Fees with which nodes take a transaction for an earlier one of its nonce: both higher by an eighth or more.

    Raises ChainUnavailable where that would be above `cap`.
    """
    fees = Fees(
        max(offered.max_fee, _raised(earlier.max_fee)), max(offered.priority, _raised(earlier.priority))
    )
    if fees.max_fee > cap:
        raise ChainUnavailable(
            f"Its transaction can't be replaced below CHAIN_MAX_FEE_GWEI ({in_gwei(cap)}): "
            f"{in_gwei(fees.max_fee)} gwei are needed."
        )
    return fees


def in_gwei(wei: int) -> str:
    """An amount as people write it: `0.1`, `12`, `1.000000007`."""
    return f"{wei // GWEI}.{wei % GWEI:09}".rstrip("0").rstrip(".")


def _raised(fee: int) -> int:
    """12.5 % more, rounded up, and 1 more than nothing."""
    return max(-(-fee * 9 // 8), fee + 1)
