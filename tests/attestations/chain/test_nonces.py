"""One nonce that is not used stops no other publisher of the key."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from attestations.chain.client import open_node
from attestations.chain.errors import ChainUnavailable
from attestations.chain.fees import Fees
from attestations.chain.signing import sign
from attestations.models import ChainTransaction, Submission
from attestations.services.submissions import NewSubmission, approve_submission, submit
from jobs.models import Job, Tenant
from jobs.testing import RunJobs
from tests.attestations.chain.chains import SENDER, Chain
from tests.attestations.chain.conftest import Publish, make_published
from tests.attestations.chain.proving import prove
from tests.attestations.chain.proxies import lying
from tests.attestations.chain.test_registering import Stop, mined_of, rows, statuses, stop_at

GWEI = 10**9


def reject(submission: Submission) -> None:
    Submission.objects.filter(pk=submission.pk).update(
        status="rejected", failed_at=submission.created_at, failure_reason="Enough.", proof_json=""
    )


def at_the_cap(publish: Publish, submission: Submission, chain: Chain, *, is_sent: bool) -> None:
    """Leave a transaction that offers so much that the cap allows no better one; gas is cheap afterwards."""
    chain.ask("anvil_setNextBlockBaseFeePerGas", hex(60 * GWEI))
    chain.mine()
    with pytest.raises(Stop):
        publish(submission, checkpoint=stop_at(2))
    if is_sent:
        chain.ask("evm_setAutomine", False)
        open_node().send(rows()[0].raw)
    chain.ask("anvil_setNextBlockBaseFeePerGas", hex(GWEI))
    if not is_sent:
        chain.mine()


def test_what_a_dead_publisher_has_stored_is_sent_by_the_next(
    publish: Publish, submission: Submission, chain: Chain
) -> None:
    with pytest.raises(Stop):
        publish(submission, checkpoint=stop_at(2))
    other = prove(b"another picture")

    registration = publish(make_published(other), other)

    stored, _ = rows()
    assert mined_of(chain) == [stored.transaction_id, registration.transaction_id]
    assert publish(submission).transaction_id == stored.transaction_id


def test_what_the_node_has_lost_is_sent_by_the_next(
    publish: Publish, submission: Submission, chain: Chain, settings: Any
) -> None:
    chain.ask("evm_setAutomine", False)
    settings.CHAIN_RECEIPT_SECONDS = 0
    with pytest.raises(ChainUnavailable):
        publish(submission)
    chain.ask("anvil_dropAllTransactions")
    chain.ask("evm_setAutomine", True)
    settings.CHAIN_RECEIPT_SECONDS = 20
    other = prove(b"another picture")

    registration = publish(make_published(other), other)

    assert mined_of(chain) == [rows()[0].transaction_id, registration.transaction_id]


def test_a_stale_one_is_replaced_after_what_was_missing_before_it_is_sent(
    publish: Publish, submission: Submission, chain: Chain
) -> None:
    with pytest.raises(Stop):
        publish(submission, checkpoint=stop_at(2))
    other = prove(b"another picture")
    behind = make_published(other)
    with pytest.raises(Stop):
        publish(behind, other, checkpoint=stop_at(2))
    ChainTransaction.objects.filter(submission=behind).update(created_at=timezone.now() - timedelta(hours=1))

    registration = publish(behind, other)

    first, stale, replacement = rows()
    assert mined_of(chain) == [first.transaction_id, registration.transaction_id]
    assert (stale.nonce, stale.status) == (replacement.nonce, "dropped")
    assert replacement.transaction_id == registration.transaction_id


def test_a_skipped_submission_holds_no_nonce(
    chain: Chain, settings: Any, tenant: Tenant, other_tenant: Tenant, run_jobs: RunJobs, tmp_path: Any
) -> None:
    settings.MEDIA_ROOT = tmp_path
    skipped, _ = submit(tenant, NewSubmission(sha256_hash="aa" * 32), actor_id="ada")
    approve_submission(skipped, by="rita")
    away = lambda method, *_: (503, b"away") if method == "eth_sendRawTransaction" else None  # noqa: E731
    with lying(chain.url, away) as url:
        settings.CHAIN_RPC_URL = url
        run_jobs()
    settings.CHAIN_RPC_URL, settings.CONTRACT_ADDRESS = "", ""
    Job.objects.filter(status=Job.Status.QUEUED).update(run_at=timezone.now())
    run_jobs()
    skipped.refresh_from_db()
    assert (skipped.skipped_reason, statuses()) == ("no chain configured", ["pending"])
    settings.CHAIN_RPC_URL, settings.CONTRACT_ADDRESS = chain.url, chain.contract_address
    other, _ = submit(other_tenant, NewSubmission(sha256_hash="bb" * 32), actor_id="bob")
    approve_submission(other, by="rita")

    run_jobs()

    other.refresh_from_db()
    left, taken = rows()
    assert other.status == "complete"
    assert left.nonce == taken.nonce
    assert (left.status, taken.status) == ("dropped", "mined")


def test_an_abandoned_one_that_the_cap_does_not_let_anybody_beat_is_forgotten_where_the_node_lacks_it(
    publish: Publish, submission: Submission, chain: Chain
) -> None:
    at_the_cap(publish, submission, chain, is_sent=False)
    reject(submission)
    other = prove(b"another picture")

    registration = publish(make_published(other), other)

    # Nothing is published for a submission that was rejected.
    assert mined_of(chain) == [registration.transaction_id]
    abandoned, taken = rows()
    assert (abandoned.nonce, abandoned.status) == (taken.nonce, "dropped")


def test_an_abandoned_one_that_the_cap_does_not_let_anybody_beat_goes_first_where_the_node_has_it(
    publish: Publish, submission: Submission, chain: Chain
) -> None:
    at_the_cap(publish, submission, chain, is_sent=True)
    reject(submission)
    other = prove(b"another picture")

    registration = publish(
        make_published(other), other, stage=lambda name, _: chain.mine() if name == "send" else None
    )

    abandoned, refused, taken = rows()
    assert mined_of(chain) == [abandoned.transaction_id, taken.transaction_id]
    assert registration.transaction_id == taken.transaction_id
    assert (refused.status, refused.nonce) == ("dropped", abandoned.nonce)


@pytest.mark.parametrize("is_sent", [False, True])
def test_ones_own_that_the_cap_does_not_let_it_beat_is_waited_for(
    publish: Publish, submission: Submission, chain: Chain, *, is_sent: bool
) -> None:
    at_the_cap(publish, submission, chain, is_sent=is_sent)
    ChainTransaction.objects.update(created_at=timezone.now() - timedelta(hours=1))

    registration = publish(submission, stage=lambda name, _: chain.mine() if name == "send" else None)

    assert mined_of(chain) == [registration.transaction_id] == [rows()[0].transaction_id]


def test_ones_own_that_could_not_be_bettered_in_time_is_said_so(
    publish: Publish, submission: Submission, chain: Chain, settings: Any
) -> None:
    at_the_cap(publish, submission, chain, is_sent=True)
    ChainTransaction.objects.update(created_at=timezone.now() - timedelta(hours=1))
    settings.CHAIN_RECEIPT_SECONDS = 0

    with pytest.raises(ChainUnavailable, match="can't be replaced below CHAIN_MAX_FEE_GWEI"):
        publish(submission)

    assert statuses() == ["pending"]


@pytest.mark.parametrize("is_stored", [False, True])
def test_a_nonce_at_which_a_strangers_transaction_waits_is_left_to_it(
    publish: Publish, submission: Submission, chain: Chain, *, is_stored: bool
) -> None:
    """Another program sends with the key, between our question and our sending."""
    chain.ask("evm_setAutomine", False)
    if is_stored:
        with pytest.raises(Stop):
            publish(submission, checkpoint=stop_at(2))
    node, calls = open_node(), iter(range(100))
    nonce = node.transaction_counts()[0]
    foreign = sign(
        node.account,
        chain_id=31337,
        nonce=nonce,
        gas=21_000,
        fees=Fees(50 * GWEI, 40 * GWEI),
        data="0x",
        to=SENDER,
    )

    def interfere() -> None:
        if next(calls) == (0 if is_stored else 1):
            node.send(foreign.raw)

    registration = publish(
        submission,
        checkpoint=interfere,
        stage=lambda name, _: chain.mine() if name == "send" else None,
    )

    assert mined_of(chain) == [foreign.transaction_id, registration.transaction_id]
    assert [(row.nonce, row.status) for row in rows()] == [(nonce, "dropped"), (nonce + 1, "mined")]
