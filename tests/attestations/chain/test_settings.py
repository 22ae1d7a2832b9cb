"""Wrong settings of the chain are found by the system checks, which never show them."""

from __future__ import annotations

from typing import Any

import pytest

from attestations.chain.checks import check_chain
from tests.attestations.chain.chains import FIRST_KEY


@pytest.mark.parametrize(
    ("name", "value", "id_"),
    [
        ("CHAIN_RPC_URL", "ftp://node.example/s3cret", "affidavit.E030"),
        ("CHAIN_RPC_URL", "http://[s3cret", "affidavit.E030"),
        ("PRIVATE_KEY", "s3cret", "affidavit.E031"),
        ("PRIVATE_KEY", "0x" + "0" * 64, "affidavit.E031"),
        ("CONTRACT_ADDRESS", "0x12", "affidavit.E032"),
    ],
)
def test_a_wrong_setting_is_found_and_not_shown(settings: Any, name: str, value: str, id_: str) -> None:
    setattr(settings, name, value)

    (problem,) = check_chain()

    assert problem.id == id_
    assert value not in str(problem)


def test_good_and_missing_settings_pass(settings: Any) -> None:
    assert check_chain() == []

    settings.CHAIN_RPC_URL, settings.PRIVATE_KEY = "https://node.example/v3/key", FIRST_KEY
    settings.CONTRACT_ADDRESS = "0x" + "ab" * 20

    assert check_chain() == []
