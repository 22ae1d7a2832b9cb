"""What is offered for gas, and where its transactions are shown."""

from __future__ import annotations

from typing import Any

import pytest

from attestations.chain.errors import ChainUnavailable
from attestations.chain.explorers import explorer_url
from attestations.chain.fees import GWEI, Fees, beating, in_gwei, offered_fees

CAP = 100 * GWEI
TRANSACTION = "0x" + "ab" * 32


def test_twice_the_base_fee_and_the_tip_are_offered() -> None:
    assert offered_fees(3 * GWEI, GWEI, cap=CAP) == Fees(7 * GWEI, GWEI)


def test_the_offer_stays_below_the_cap() -> None:
    assert offered_fees(80 * GWEI, 200 * GWEI, cap=CAP) == Fees(CAP, CAP)


@pytest.mark.parametrize(
    ("base_fee", "believed"), [(1, 30 * GWEI), (GWEI, 30 * GWEI), (20 * GWEI, 40 * GWEI)]
)
def test_no_silly_tip_is_believed(base_fee: int, believed: int) -> None:
    assert offered_fees(base_fee, 10**30, cap=CAP) == Fees(2 * base_fee + believed, believed)


def test_a_base_fee_above_the_cap_is_too_much() -> None:
    with pytest.raises(ChainUnavailable, match=r"120\.5 gwei"):
        offered_fees(120 * GWEI + GWEI // 2, 1, cap=CAP)


@pytest.mark.parametrize("earlier", [Fees(8, 8), Fees(9, 0), Fees(7 * GWEI, GWEI), Fees(1, 1)])
def test_a_replacement_offers_an_eighth_more_of_both(earlier: Fees) -> None:
    fees = beating(Fees(1, 0), earlier, cap=CAP)

    assert fees.max_fee * 8 >= earlier.max_fee * 9
    assert fees.priority * 8 >= earlier.priority * 9
    assert fees.priority > earlier.priority


def test_a_replacement_offers_what_is_asked_now_when_that_is_more() -> None:
    assert beating(Fees(50, 40), Fees(8, 8), cap=CAP) == Fees(50, 40)


def test_a_replacement_above_the_cap_is_too_much() -> None:
    with pytest.raises(ChainUnavailable, match="CHAIN_MAX_FEE_GWEI"):
        beating(Fees(1, 1), Fees(CAP, 1), cap=CAP)


@pytest.mark.parametrize(
    ("wei", "text"),
    [(0, "0"), (1, "0.000000001"), (GWEI, "1"), (12_500_000_000, "12.5"), (100 * GWEI, "100")],
)
def test_amounts_are_written_as_people_do(wei: int, text: str) -> None:
    assert in_gwei(wei) == text


@pytest.mark.parametrize(
    ("chain_id", "start"),
    [
        (1, "https://etherscan.io"),
        (421614, "https://sepolia.arbiscan.io"),
        (42170, "https://nova.arbiscan.io"),
    ],
)
def test_a_known_chain_has_an_explorer(chain_id: int, start: str) -> None:
    assert explorer_url(chain_id, TRANSACTION) == f"{start}/tx/{TRANSACTION}"


@pytest.mark.parametrize("chain_id", [31337, 999_999, None])
def test_nobody_explores_other_chains(chain_id: int | None) -> None:
    assert explorer_url(chain_id, TRANSACTION) is None


def test_the_operator_may_name_an_explorer(settings: Any) -> None:
    settings.CHAIN_EXPLORER_URL = "https://blocks.example/"

    assert explorer_url(31337, TRANSACTION) == f"https://blocks.example/tx/{TRANSACTION}"


def test_what_was_not_sent_is_shown_nowhere() -> None:
    assert explorer_url(1, "") is None
