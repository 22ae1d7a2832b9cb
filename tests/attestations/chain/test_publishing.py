"""A submission from its picture to the contract's record, and what becomes of it while the chain is away."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models import F
from django.utils import timezone

from attestations.chain.client import open_registry
from attestations.models import Attestation, ChainTransaction, Submission
from attestations.proofs.making import make_proof
from attestations.proofs.provers import find_prover
from attestations.services import proving
from attestations.services.pictures import Picture
from attestations.services.submissions import (
    GENERATE,
    PUBLISH,
    NewSubmission,
    approve_submission,
    publish_submission,
    submit,
)
from jobs.evaluator.runs import evaluate
from jobs.forensics.timeline import forensics_of
from jobs.models import Job, Tenant, Workflow
from jobs.queue.sweep import sweep
from jobs.testing import RunJobs
from tests.attestations.chain.chains import SENDER, Chain
from tests.conftest import MakeEndpoint
from webhooks.models import Message

PNG = b"\x89PNG\r\n\x1a\n" + b"painted" * 100
HASH = hashlib.sha256(PNG).hexdigest()
CLOSED = "http://127.0.0.1:9"  # nothing listens there


@pytest.fixture(autouse=True)
def _own_storage(settings: Any, tmp_path: Any) -> None:
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def submission(tenant: Tenant) -> Submission:
    picture = Picture(file=io.BytesIO(PNG), content_type="image/png", extension=".png", size=len(PNG))
    taken, _ = submit(tenant, NewSubmission(sha256_hash=HASH, picture=picture), actor_id="ada")
    return taken


def run_next(run_jobs: RunJobs) -> list[Job]:
    """What is due, and where nothing is, what comes next."""
    if jobs := run_jobs():
        return jobs
    Job.objects.filter(status=Job.Status.QUEUED).update(run_at=timezone.now())
    return run_jobs()


def test_a_picture_is_proved_published_and_told(
    chain: Chain, submission: Submission, run_jobs: RunJobs, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint(event_types=["submission.complete"])
    approve_submission(submission, by="rita")
    Job.objects.filter(kind=PUBLISH).update(run_at=timezone.now() + timedelta(hours=1))

    run_jobs()
    submission.refresh_from_db()
    stored = json.loads(submission.proof_json)
    assert (submission.status, submission.transaction_id) == ("proof_publishing", "")
    assert stored["system"] == "groth16"

    run_next(run_jobs)
    submission.refresh_from_db()
    assert (submission.status, submission.proof_json) == ("complete", "")
    assert submission.verified_at
    assert submission.is_verified_on_chain is True
    receipt = chain.ask("eth_getTransactionReceipt", submission.transaction_id)
    assert (receipt["status"], int(receipt["blockNumber"], 16)) == ("0x1", submission.block_number)
    record = open_registry().record_of(bytes.fromhex(HASH))
    assert record is not None
    assert (record.submitter, record.commitment) == (SENDER, int(submission.commitment, 16))
    assert set(submission.publishing_stages) == {"load", "send", "confirm"}
    # One attestation per attempt, and one of the workflow.
    assert [row.attestation_type for row in Attestation.objects.order_by("id")] == [
        "worker_completion",
        "worker_completion",
        "workflow_completion",
    ]
    body = json.loads(bytes(Message.objects.get().body))
    assert body["type"] == "submission.complete"
    assert body["data"]["transaction_id"] == submission.transaction_id
    assert body["workflow_id"] == submission.latest_workflow_id
    evaluate()
    assert Workflow.objects.get().status_category == "complete"
    told = [moment.type for moment in forensics_of(Workflow.objects.get()).moments]
    assert {"transaction_signed", "transaction_ended", "submission_ended"} <= set(told)


def test_while_the_chain_is_away_the_proof_stays_and_nobody_proves_again(
    chain: Chain,
    settings: Any,
    submission: Submission,
    run_jobs: RunJobs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proved: list[str] = []

    def counting(*args: Any, **kwargs: Any) -> Any:
        proved.append("once")
        return make_proof(*args, **kwargs)

    monkeypatch.setattr(proving, "make_proof", counting)
    approve_submission(submission, by="rita")
    settings.CHAIN_RPC_URL = CLOSED
    proofs, waits = [], []
    run_jobs()
    for _ in range(4):
        publish = Job.objects.get(kind=PUBLISH)
        ended_at = Attestation.objects.filter(job=publish).latest("id").created_at
        waits.append(round((publish.run_at - ended_at).total_seconds()))
        submission.refresh_from_db()
        proofs.append(submission.proof_json)
        assert (submission.status, publish.error["code"]) == ("proof_publishing", "chain_unavailable")
        assert submission.publishing_retry_count == publish.attempt - 1
        run_next(run_jobs)

    settings.CHAIN_RPC_URL = chain.url
    run_next(run_jobs)

    submission.refresh_from_db()
    assert waits == [60, 120, 240, 480]
    assert len(set(proofs)) == 1
    assert proofs[0]
    assert proved == ["once"]
    assert submission.status == "complete"
    assert Attestation.objects.filter(job=Job.objects.get(kind=GENERATE)).count() == 1
    assert Attestation.objects.filter(job=Job.objects.get(kind=PUBLISH)).count() == 6


def test_after_the_last_attempt_the_submission_is_rejected_with_its_reason(
    chain: Chain, settings: Any, submission: Submission, run_jobs: RunJobs
) -> None:
    approve_submission(submission, by="rita")
    settings.CHAIN_RPC_URL = CLOSED
    run_jobs()
    Job.objects.filter(kind=PUBLISH).update(max_attempts=F("attempt") + 1)

    run_next(run_jobs)

    submission.refresh_from_db()
    assert (submission.status, submission.proof_json, submission.transaction_id) == ("rejected", "", "")
    assert submission.failed_at
    assert submission.failure_reason == Job.objects.get(kind=PUBLISH).error["message"]
    assert CLOSED not in submission.failure_reason


def test_a_proof_that_is_not_published_within_a_day_expires(
    chain: Chain, settings: Any, submission: Submission, run_jobs: RunJobs
) -> None:
    approve_submission(submission, by="rita")
    settings.CHAIN_RPC_URL = CLOSED
    run_jobs()
    publish = Job.objects.get(kind=PUBLISH)
    proved_at = Job.objects.get(kind=GENERATE).completed_at
    assert publish.expires_at
    assert proved_at
    assert abs(publish.expires_at - proved_at - timedelta(hours=24)) < timedelta(seconds=5)

    Job.objects.filter(pk=publish.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    sweep()

    submission.refresh_from_db()
    assert submission.status == "rejected"
    assert Job.objects.get(kind=PUBLISH).error["code"] == "expired"


def test_a_digest_that_somebody_else_has_registered_is_rejected_at_once(
    chain: Chain, submission: Submission, other_tenant: Tenant, run_jobs: RunJobs
) -> None:
    theirs, _ = submit(other_tenant, NewSubmission(sha256_hash=HASH), actor_id="bob")
    approve_submission(theirs, by="rita")
    run_jobs()
    approve_submission(submission, by="rita")

    run_jobs(include_delayed=True)

    submission.refresh_from_db()
    theirs.refresh_from_db()
    assert (theirs.status, submission.status) == ("complete", "rejected")
    assert "registered already" in submission.failure_reason
    assert Job.objects.get(kind=PUBLISH, workflow=submission.workflow_id).attempt == 1


def test_a_stored_proof_that_was_tampered_with_is_never_sent(
    chain: Chain, settings: Any, submission: Submission, run_jobs: RunJobs
) -> None:
    approve_submission(submission, by="rita")
    settings.CHAIN_RPC_URL = CLOSED
    run_jobs()
    submission.refresh_from_db()
    proof = json.loads(submission.proof_json)
    proof["a"], proof["c"] = proof["c"], proof["a"]
    Submission.objects.filter(pk=submission.pk).update(proof_json=json.dumps(proof))
    settings.CHAIN_RPC_URL = chain.url

    run_next(run_jobs)

    submission.refresh_from_db()
    assert submission.status == "rejected"
    assert Job.objects.get(kind=PUBLISH).error["code"] == "proof_invalid"
    assert not ChainTransaction.objects.exists()


def test_a_proof_that_no_contract_can_verify_is_recorded_and_says_so(
    chain: Chain, tenant: Tenant, run_jobs: RunJobs
) -> None:
    taken, _ = submit(tenant, NewSubmission(sha256_hash=HASH, proof_system="plonk"), actor_id="ada")
    approve_submission(taken, by="rita")

    run_jobs()

    taken.refresh_from_db()
    record = open_registry().record_of(bytes.fromhex(HASH))
    assert (taken.status, taken.is_verified_on_chain) == ("complete", False)
    assert record is not None
    assert (record.is_verified_on_chain, record.proof_digest.hex()) == (False, taken.proof_digest)


def test_what_was_skipped_is_proved_anew_for_the_chain_that_came(
    chain: Chain, settings: Any, submission: Submission, run_jobs: RunJobs
) -> None:
    url, settings.CHAIN_RPC_URL = settings.CHAIN_RPC_URL, ""
    approve_submission(submission, by="rita")
    run_jobs()
    submission.refresh_from_db()
    unbound = submission.proof_digest
    settings.CHAIN_RPC_URL = url

    publish_submission(submission, by="rita", reason="The chain is there.")
    assert (submission.status, submission.skipped_reason) == ("proof_generation", "")
    run_jobs()

    submission.refresh_from_db()
    assert (submission.status, submission.submitter) == ("complete", SENDER)
    assert submission.proof_digest != unbound
    assert list(Workflow.objects.order_by("pk").values_list("workflow_id", "status")) == [
        (f"submission-{submission.pk}", "completed"),
        (f"submission-{submission.pk}-run-2", "completed"),
    ]


def test_what_was_published_later_is_no_problem_any_more(
    chain: Chain, settings: Any, submission: Submission, run_jobs: RunJobs
) -> None:
    url, settings.CHAIN_RPC_URL = settings.CHAIN_RPC_URL, ""
    approve_submission(submission, by="rita")
    run_jobs()
    evaluate()
    settings.CHAIN_RPC_URL = url

    publish_submission(Submission.objects.get(), by="rita")
    run_jobs()
    evaluate()

    assert set(Workflow.objects.values_list("status_category", flat=True)) == {"complete"}


def test_a_contract_that_is_not_there_may_be_put_there_in_time(
    chain: Chain, settings: Any, submission: Submission, run_jobs: RunJobs
) -> None:
    approve_submission(submission, by="rita")
    there = settings.CONTRACT_ADDRESS
    settings.CONTRACT_ADDRESS = "0x" + "11" * 20
    run_jobs()

    publish = Job.objects.get(kind=PUBLISH)
    submission.refresh_from_db()
    assert (publish.status, publish.error["code"]) == ("queued", "no_contract")
    assert submission.proof_json

    Job.objects.filter(pk=publish.pk).update(payload={**publish.payload, "contract_address": there})
    run_next(run_jobs)
    submission.refresh_from_db()
    assert submission.status == "complete"


def test_what_was_skipped_with_a_proof_for_this_chain_is_published_alone(
    chain: Chain, settings: Any, submission: Submission, run_jobs: RunJobs
) -> None:
    approve_submission(submission, by="rita")
    Job.objects.filter(kind=PUBLISH).update(run_at=timezone.now() + timedelta(hours=1))
    run_jobs()
    url, settings.CHAIN_RPC_URL = settings.CHAIN_RPC_URL, ""
    run_next(run_jobs)
    submission.refresh_from_db()
    proof = submission.proof_digest
    settings.CHAIN_RPC_URL = url

    publish_submission(submission, by="rita")
    jobs = run_jobs()

    submission.refresh_from_db()
    assert [job.kind for job in jobs] == [PUBLISH]
    assert (submission.status, submission.proof_digest) == ("complete", proof)


def test_a_proof_that_waited_while_its_keys_were_replaced_goes_to_the_contract_that_has_them(
    chain: Chain, proof_keys: Path, settings: Any, tmp_path: Path, submission: Submission, run_jobs: RunJobs
) -> None:
    settings.PROOF_KEYS_DIR = shutil.copytree(proof_keys, tmp_path / "keys")
    approve_submission(submission, by="rita")
    Job.objects.filter(kind=PUBLISH).update(run_at=timezone.now() + timedelta(hours=1))
    run_jobs()
    submission.refresh_from_db()
    waiting = json.loads(submission.proof_json)["verifying_key"]

    call_command("proof_keys", "groth16", contribute="Ada", replace=True, stdout=io.StringIO())
    run_next(run_jobs)

    submission.refresh_from_db()
    assert (submission.status, submission.failure_reason) == ("complete", "")
    assert submission.is_verified_on_chain is True
    assert open_registry().verifying_key_digest() == waiting != find_prover("groth16").verifying_key_digest
