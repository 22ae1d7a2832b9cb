"""What was sent is found again, and what is not certain yet is asked again."""

from __future__ import annotations

from typing import Any

import pytest
from eth_account import Account

from attestations.chain.client import Registry
from attestations.chain.errors import ChainRefused, ChainUnavailable
from attestations.models import ChainTransaction, Submission
from tests.attestations.chain.chains import SENDER, Chain
from tests.attestations.chain.conftest import Publish
from tests.attestations.chain.proving import Proved, prove
from tests.attestations.chain.proxies import lying
from tests.attestations.chain.test_contract import STRANGER, send
from tests.attestations.chain.test_nonces import reject
from tests.attestations.chain.test_registering import mined_of, rows, statuses
from tests.factories import make_submission


def submit_again(submission: Submission) -> Submission:
    """The same hash, once more, with the same proof."""
    same = ("sha256_hash", "commitment", "submitter", "proof_json")
    fields = {name: getattr(submission, name) for name in same}
    reject(submission)
    return make_submission(submission.tenant, status="proof_publishing", **fields)


def leave_waiting(publish: Publish, submission: Submission, chain: Chain, settings: Any) -> None:
    """An attempt whose transaction no block has taken in time."""
    chain.ask("evm_setAutomine", False)
    seconds, settings.CHAIN_RECEIPT_SECONDS = settings.CHAIN_RECEIPT_SECONDS, 0
    with pytest.raises(ChainUnavailable):
        publish(submission)
    settings.CHAIN_RECEIPT_SECONDS = seconds


def test_what_was_mined_for_a_rejected_submission_is_found_by_the_next_of_its_hash(
    publish: Publish, submission: Submission, chain: Chain, settings: Any
) -> None:
    leave_waiting(publish, submission, chain, settings)
    chain.mine()

    registration = publish(submit_again(submission))

    (row,) = rows()
    assert (row.transaction_id, row.status) == (registration.transaction_id, "mined")
    assert mined_of(chain) == [row.transaction_id]


def test_what_still_waits_for_a_rejected_submission_is_replaced_by_the_next_of_its_hash(
    publish: Publish, submission: Submission, chain: Chain, settings: Any
) -> None:
    leave_waiting(publish, submission, chain, settings)

    registration = publish(
        submit_again(submission), stage=lambda name, _: chain.mine() if name == "send" else None
    )

    first, second = rows()
    assert first.nonce == second.nonce
    assert (first.status, second.status) == ("dropped", "mined")
    assert mined_of(chain) == [second.transaction_id] == [registration.transaction_id]


def test_another_tenants_transaction_of_the_hash_is_not_ours(
    publish: Publish, submission: Submission, settings: Any, other_tenant: Any
) -> None:
    publish(submission)
    theirs = make_submission(
        other_tenant, status="proof_publishing", sha256_hash=submission.sha256_hash, submitter=SENDER
    )

    with pytest.raises(ChainRefused) as refused:
        publish(theirs, prove(secret=7))

    assert refused.value.code == "already_registered"


@pytest.mark.parametrize("interval", [0, 12])
def test_a_provider_that_tells_of_few_blocks_at_a_time_finds_the_event(
    publish: Publish, submission: Submission, chain: Chain, settings: Any, interval: int
) -> None:
    """Where blocks are seconds apart, and where many have the same second."""
    chain.ask("anvil_mine", hex(30), hex(interval))
    first = publish(submission)
    chain.ask("anvil_mine", hex(40), hex(interval))
    ChainTransaction.objects.all().delete()
    asked: list[Any] = []

    def refuse_long_ranges(method: str, params: Any, _: int) -> Any:
        if method != "eth_getLogs":
            return None
        asked.append(params)
        blocks = (params[0]["fromBlock"], params[0]["toBlock"])
        if "latest" in blocks or int(blocks[1], 16) - int(blocks[0], 16) > 9:
            return {"error": {"code": -32600, "message": "eth_getLogs is limited to a 10 block range"}}
        return None

    with lying(chain.url, refuse_long_ranges) as url:
        settings.CHAIN_RPC_URL = url
        assert publish(submission) == first

    assert len(asked) == 1 if interval else asked


def test_a_record_of_our_key_is_ours_also_after_the_publishers_key_has_changed(
    publish: Publish, submission: Submission, chain: Chain, settings: Any
) -> None:
    first = publish(submission)
    settings.PRIVATE_KEY, stranger = STRANGER, Account.from_key(STRANGER).address
    chain.ask("anvil_setBalance", stranger, hex(10**18))

    registration = publish(submission, prove(submitter=stranger))

    assert registration == first
    assert registration.submitter == SENDER


# --- What may change yet ---------------------------------------------------------------------------


def test_a_strangers_record_decides_once_it_is_confirmed(
    publish: Publish, submission: Submission, chain: Chain, registry: Registry, proved: Proved, settings: Any
) -> None:
    settings.CHAIN_CONFIRMATIONS = 3
    send(registry.node, registry.record_call(proved.statement.digest, 9, bytes(32)))
    with pytest.raises(ChainUnavailable, match="not confirmed yet"):
        publish(submission)
    chain.mine(2)

    with pytest.raises(ChainRefused) as refused:
        publish(submission)

    assert refused.value.code == "already_registered"
    assert rows() == []


def test_a_strangers_record_that_is_undone_leaves_the_digest_to_us(
    publish: Publish, submission: Submission, chain: Chain, registry: Registry, proved: Proved, settings: Any
) -> None:
    settings.CHAIN_CONFIRMATIONS = 2
    before = chain.ask("evm_snapshot")
    send(registry.node, registry.record_call(proved.statement.digest, 9, bytes(32)))
    with pytest.raises(ChainUnavailable):
        publish(submission)
    chain.ask("evm_revert", before)

    registration = publish(submission, checkpoint=lambda: chain.mine() if mined_of(chain) else None)

    assert registration.submitter == SENDER


def test_an_answer_that_is_missing_while_it_waits_ends_nothing(
    publish: Publish, submission: Submission, chain: Chain, settings: Any
) -> None:
    busy = lambda method, _, call: (429, b"") if (method, call) == ("eth_blockNumber", 1) else None  # noqa: E731
    with lying(chain.url, busy) as url:
        settings.CHAIN_RPC_URL = url
        publish(submission)

    assert statuses() == ["mined"]


def test_a_node_that_is_busy_until_the_end_is_what_the_attempt_says(
    publish: Publish, submission: Submission, chain: Chain, settings: Any
) -> None:
    settings.CHAIN_RECEIPT_SECONDS = 1
    busy = lambda method, *_: (429, b"") if method == "eth_blockNumber" else None  # noqa: E731
    with lying(chain.url, busy) as url:
        settings.CHAIN_RPC_URL = url
        with pytest.raises(ChainUnavailable, match="busy"):
            publish(submission)

    assert statuses() == ["pending"]


def test_one_that_ran_out_of_gas_is_sent_again_with_more(
    publish: Publish, submission: Submission, chain: Chain, settings: Any
) -> None:
    def too_little(method: str, _: Any, call: int) -> Any:
        if (method, call) != ("eth_estimateGas", 1):
            return None
        return lambda answer: {**answer, "result": hex(int(answer["result"], 16) * 4 // 5)}

    with lying(chain.url, too_little) as url:
        settings.CHAIN_RPC_URL = url
        with pytest.raises(ChainUnavailable, match="has reverted, though it would not now"):
            publish(submission)
        assert statuses() == ["reverted"]
        registration = publish(submission)

    first, second = rows()
    assert (first.status, second.status) == ("reverted", "mined")
    sent = chain.ask("eth_getTransactionByHash", registration.transaction_id)
    assert int(sent["gas"], 16) == first.gas_used * 3 // 2


def test_a_node_of_two_minds_about_a_digest_decides_nothing(
    publish: Publish, submission: Submission, chain: Chain, settings: Any
) -> None:
    """Behind its address one has the block of our record, another has not."""
    publish(submission)
    ChainTransaction.objects.all().delete()
    unrecorded = "0x" + "00" * 32 * 5

    def lags(method: str, params: Any, _: int) -> Any:
        is_record = (
            method == "eth_call" and len(params[0].get("data", params[0].get("input", ""))) == 2 + 8 + 64
        )
        return {"result": unrecorded} if is_record else None

    with lying(chain.url, lags) as url:
        settings.CHAIN_RPC_URL = url
        with pytest.raises(ChainUnavailable, match="both that the digest is registered and that it is not"):
            publish(submission)

    assert rows() == []
