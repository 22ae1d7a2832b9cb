"""What is mined after its submission was given up is found out, and said of the submission."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from attestations.chain.client import Registry
from attestations.chain.errors import ChainUnavailable
from attestations.models import Submission
from attestations.proofs.groth16 import calldata_of
from attestations.services.reconciling import BATCH, RECONCILE, TAKEN_ALL_THE_SAME
from attestations.services.submissions import PUBLISH, NewSubmission, approve_submission, submit
from jobs.models import Job, Tenant
from jobs.queue.enqueue import enqueue_job
from jobs.testing import RunJobs
from tests.attestations.chain.chains import SENDER, Chain
from tests.attestations.chain.conftest import Publish
from tests.attestations.chain.proving import Proved
from tests.attestations.chain.test_publishing import CLOSED, HASH
from tests.attestations.chain.test_registering import Stop, rows, statuses, stop_at
from tests.factories import make_submission, make_tenant, make_transaction


def reconcile(run_jobs: RunJobs) -> Job:
    """The job after its run."""
    job_id = enqueue_job(RECONCILE, {})
    run_jobs()
    return Job.objects.get(pk=job_id)


def give_up(submission: Submission) -> None:
    Submission.objects.filter(pk=submission.pk).update(
        status="rejected", failed_at=timezone.now(), failure_reason="Enough.", proof_json=""
    )


def test_a_rejected_submission_says_that_the_chain_has_it(
    chain: Chain, settings: Any, tenant: Tenant, run_jobs: RunJobs
) -> None:
    taken, _ = submit(tenant, NewSubmission(sha256_hash=HASH), actor_id="ada")
    approve_submission(taken, by="rita")
    settings.CHAIN_CONFIRMATIONS, settings.CHAIN_RECEIPT_SECONDS = 2, 0
    Job.objects.filter(kind=PUBLISH).update(max_attempts=1)
    run_jobs()
    taken.refresh_from_db()
    why = taken.failure_reason
    assert taken.status == "rejected"
    chain.mine(5)

    first, second = reconcile(run_jobs), reconcile(run_jobs)

    assert (first.result, second.result) == (
        {"ended": 1, "rejected_but_mined": 1},
        {"ended": 0, "rejected_but_mined": 0},
    )
    (row,) = rows()
    receipt = chain.ask("eth_getTransactionReceipt", row.transaction_id)
    assert (row.status, row.block_number, row.gas_used) == (
        "mined",
        int(receipt["blockNumber"], 16),
        int(receipt["gasUsed"], 16),
    )
    taken.refresh_from_db()
    assert (taken.status, taken.failure_reason) == ("rejected", why + TAKEN_ALL_THE_SAME)
    assert (taken.transaction_id, taken.block_number) == (row.transaction_id, row.block_number)
    assert (taken.chain_id, taken.contract_address) == (31337, settings.CONTRACT_ADDRESS)


def test_what_is_in_a_block_that_is_not_final_is_left_for_later(
    publish: Publish, submission: Submission, settings: Any, run_jobs: RunJobs
) -> None:
    settings.CHAIN_CONFIRMATIONS, settings.CHAIN_RECEIPT_SECONDS = 3, 0
    with pytest.raises(ChainUnavailable, match="confirmations"):
        publish(submission)
    give_up(submission)

    job = reconcile(run_jobs)

    assert job.result == {"ended": 0, "rejected_but_mined": 0}
    assert statuses() == ["pending"]


def test_one_whose_nonce_another_has_used_is_dropped(
    chain: Chain, publish: Publish, submission: Submission, run_jobs: RunJobs
) -> None:
    with pytest.raises(Stop):
        publish(submission, checkpoint=stop_at(2))
    give_up(submission)
    chain.ask("eth_sendTransaction", {"from": SENDER, "to": SENDER, "value": "0x1"})
    chain.mine()

    job = reconcile(run_jobs)

    submission.refresh_from_db()
    assert job.result == {"ended": 1, "rejected_but_mined": 0}
    assert statuses() == ["dropped"]
    assert (submission.failure_reason, submission.transaction_id) == ("Enough.", "")


def test_one_that_the_contract_has_refused_is_reverted(
    chain: Chain, registry: Registry, proved: Proved, transactional_db: None, run_jobs: RunJobs
) -> None:
    of_another = registry.attest_call(b"\1" * 32, proved.statement.commitment, calldata_of(proved.proof))
    nonce, _ = registry.node.transaction_counts()
    sent = chain.ask(
        "eth_sendTransaction",
        {"from": SENDER, "to": of_another.to, "data": of_another.data, "gas": hex(400_000)},
    )
    chain.mine()
    given_up = make_submission(make_tenant(), status="rejected")
    make_transaction(given_up, nonce=nonce, transaction_id=sent)

    job = reconcile(run_jobs)

    assert job.result == {"ended": 1, "rejected_but_mined": 0}
    (row,) = rows()
    assert row.status == "reverted"
    assert row.block_number
    assert row.gas_used


def test_what_is_still_wanted_is_left_to_its_own_job(
    chain: Chain, publish: Publish, submission: Submission, settings: Any, run_jobs: RunJobs
) -> None:
    settings.CHAIN_CONFIRMATIONS, settings.CHAIN_RECEIPT_SECONDS = 2, 0
    with pytest.raises(ChainUnavailable, match="confirmations"):
        publish(submission)
    chain.mine(5)

    job = reconcile(run_jobs)

    assert job.result == {"ended": 0, "rejected_but_mined": 0}
    assert statuses() == ["pending"]


def test_what_is_of_another_chain_or_key_is_left_alone(chain: Chain, run_jobs: RunJobs) -> None:
    given_up = make_submission(make_tenant(), status="rejected")
    make_transaction(given_up, chain_id=1, nonce=0)
    make_transaction(given_up, sender="0x" + "12" * 20, nonce=0)

    job = reconcile(run_jobs)

    assert job.result == {"ended": 0, "rejected_but_mined": 0}
    assert statuses() == ["pending", "pending"]


def test_a_batch_is_bounded_and_the_oldest_come_first(chain: Chain, run_jobs: RunJobs) -> None:
    given_up = make_submission(make_tenant(), status="rejected")
    for _ in range(BATCH + 1):
        make_transaction(given_up, nonce=0)

    reconcile(run_jobs)
    assert statuses() == ["dropped"] * BATCH + ["pending"]

    reconcile(run_jobs)
    assert statuses() == ["dropped"] * (BATCH + 1)


def test_a_long_reason_is_cut_for_what_comes_behind_it(chain: Chain, run_jobs: RunJobs) -> None:
    given_up = make_submission(make_tenant(), status="rejected", failure_reason="a" * 2_000)
    make_transaction(given_up, status="mined", block_number=7, ended_at=timezone.now())

    reconcile(run_jobs)

    given_up.refresh_from_db()
    assert len(given_up.failure_reason) == 2_000
    assert given_up.failure_reason.endswith("a" + TAKEN_ALL_THE_SAME)


def test_without_a_chain_nothing_happens(settings: Any, db: None, run_jobs: RunJobs) -> None:
    settings.CHAIN_RPC_URL = ""
    make_transaction(make_submission(make_tenant(), status="rejected"))

    job = reconcile(run_jobs)

    assert (job.status, job.result) == ("completed", {"ended": 0, "rejected_but_mined": 0})


def test_while_the_chain_is_away_it_is_tried_again(chain: Chain, settings: Any, run_jobs: RunJobs) -> None:
    make_transaction(make_submission(make_tenant(), status="rejected"))
    settings.CHAIN_RPC_URL = CLOSED

    job = reconcile(run_jobs)

    assert (job.status, job.error["code"]) == ("queued", "chain_unavailable")
