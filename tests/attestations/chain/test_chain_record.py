"""`manage.py chain_record` prints what the contract holds of a digest, and says so where it holds nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from attestations.models import Submission
from tests.attestations.chain.chains import SENDER, Chain
from tests.attestations.chain.conftest import Publish
from tests.attestations.chain.proving import Proved


def test_a_record_is_printed_with_its_transaction(
    publish: Publish, submission: Submission, proved: Proved, capsys: pytest.CaptureFixture[str]
) -> None:
    registration = publish(submission)

    call_command("chain_record", submission.sha256_hash)

    record = json.loads(capsys.readouterr().out)
    assert record["commitment"] == f"{proved.statement.commitment:#066x}"
    assert (record["submitter"], record["is_verified_on_chain"]) == (SENDER, True)
    assert len(record["proof_digest"]) == 64
    assert record["transaction"] == {
        "transaction_id": registration.transaction_id,
        "block_number": registration.block_number,
        "is_success": True,
        "gas_used": registration.gas_used,
    }


def test_a_digest_without_a_record_is_an_error(chain: Chain) -> None:
    with pytest.raises(CommandError, match="holds no record of aaaa"):
        call_command("chain_record", "a" * 64)


def test_no_chain_is_an_error(settings: Any) -> None:
    settings.CHAIN_RPC_URL = settings.PRIVATE_KEY = settings.CONTRACT_ADDRESS = ""

    with pytest.raises(CommandError, match="no chain configured"):
        call_command("chain_record", "a" * 64)


@pytest.mark.parametrize("text", ["a" * 63, "A" * 64, "0x" + "a" * 64])
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="64 hex digits"):
        call_command("chain_record", text)
