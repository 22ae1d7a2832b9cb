"""A session's programs run one after the other, and its stream tells what they print and how it ends."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from attestations.canonical import canonical_json
from attestations.chain.client import open_registry
from attestations.models import Attestation, ChainTransaction, ProofSession
from attestations.proofs.making import is_valid
from attestations.proofs.protocol import Statement
from attestations.services.creators import creator_of
from attestations.sessions import running
from attestations.sessions.phases import GENERATE
from attestations.sessions.starting import start_session
from attestations.sessions.telling import describe_session
from jobs.evaluator.runs import evaluate
from jobs.models import Job, Tenant, Workflow
from jobs.services.workflows import retry_workflow
from jobs.testing import RunJobs
from tests.attestations.chain.chains import SENDER, Chain
from tests.attestations.sessions import provers
from tests.attestations.sessions.watching import frames_of, of_type, phases_in
from tests.factories import make_attestation, make_job

ANOTHER: Any = Account.from_key("0x" + "12" * 32)
ALL_PHASES = [("generating", 0), ("verifying", 33), ("attesting", 66), ("complete", 100)]


def start(tenant: Tenant, proof_type: str = "groth16") -> ProofSession:
    return start_session(tenant, "s-1", proof_type, actor_id="ada")[0]


def result_of(session: ProofSession, step: str) -> dict[str, Any]:
    result: dict[str, Any] | None = Job.objects.get(workflow=session.pk, step_name=step).result
    assert result
    return result


@pytest.mark.parametrize(("proof_type", "is_on_chain"), [("groth16", True), ("plonk", False)])
def test_proofs_are_made_verified_and_attested(
    chain: Chain, for_children: None, tenant: Tenant, run_jobs: RunJobs, proof_type: str, is_on_chain: bool
) -> None:
    make_attestation(make_job(tenant, status="completed"))
    session = start(tenant, proof_type)

    run_jobs()

    session.refresh_from_db()
    frames = frames_of(session)
    assert session.status == "completed", of_type(frames, "error")
    assert phases_in(frames) == ALL_PHASES
    assert [frame.id for frame in frames] == list(range(1, len(frames) + 1))
    assert frames[-1].event == "complete"
    results = frames[-1].data
    assert set(results) == {"generatedProofs", "verificationResults", "attestationResults"}
    _assert_true(results, proof_type, is_on_chain=is_on_chain)
    said = of_type(frames, "transaction")
    transactions = results["attestationResults"]["transactions"]
    assert [data["txHash"] for data in said] == [each["txHash"] for each in transactions]
    assert {data["explorerUrl"] for data in said} == {None}
    lines = [data["message"] for data in of_type(frames, "log")]
    assert all(isinstance(data["timestamp"], int) for data in of_type(frames, "log"))
    assert any("proof 3 of 3" in line for line in lines)
    if not is_on_chain:
        assert any("off chain" in line for line in lines)
        assert "off chain" in results["attestationResults"]["note"]


def _assert_true(results: dict[str, Any], proof_type: str, *, is_on_chain: bool) -> None:
    """Whoever has the results can see for themselves: each proof verifies, and the contract holds each digest."""
    proofs = results["generatedProofs"]
    assert [proof["name"] for proof in proofs] == ["request", "attestations", "workflows"]
    for proof in proofs:
        digest = bytes.fromhex(proof["sha256Hash"])
        statement = Statement(
            commitment=int(proof["commitment"], 16), digest=digest, submitter=proof["submitter"]
        )
        assert is_valid(proof_type, statement, proof["proof"])
        record = open_registry().record_of(digest)
        assert record is not None
        assert (record.commitment, record.is_verified_on_chain) == (statement.commitment, is_on_chain)
    verified = results["verificationResults"]
    assert (verified["verified"], verified["circuitsVerified"]) == (True, 3)
    assert verified["gasEstimate"] > 3 * 50_000


def test_what_was_proved_stays_with_the_proofs(
    no_chain: None, for_children: None, tenant: Tenant, run_jobs: RunJobs
) -> None:
    attestation = make_attestation(make_job(tenant, status="completed"))
    session = start(tenant)

    run_jobs()

    made = result_of(session, "generate")
    for proof in made["proofs"]:
        document = canonical_json(made["inputs"][proof["name"]])
        assert hashlib.sha256(document).hexdigest() == proof["sha256Hash"]
    assert made["inputs"]["attestations"]["attestations"] == {attestation.attestation_key: attestation.digest}


def test_without_a_chain_the_third_phase_is_skipped_and_says_so(
    no_chain: None, for_children: None, tenant: Tenant, run_jobs: RunJobs
) -> None:
    session = start(tenant)

    run_jobs()

    frames = frames_of(session)
    assert phases_in(frames) == ALL_PHASES
    assert frames[-1].data["attestationResults"] == {"skipped": "no chain configured"}
    assert frames[-1].data["verificationResults"]["gasEstimate"] is None
    assert "skipped: no chain configured" in [data["message"] for data in of_type(frames, "log")]
    assert not ChainTransaction.objects.exists()


def test_a_prover_that_is_not_installed_is_an_error_that_says_so(
    no_chain: None, for_children: None, tenant: Tenant, run_jobs: RunJobs
) -> None:
    session = start(tenant, "stark")

    run_jobs()

    frames = frames_of(session)
    assert [frame.event for frame in frames][-1] == "error"
    error = frames[-1].data
    assert error["error"].startswith("prover not installed")
    assert (error["phase"], error["code"]) == ("generating", 3)
    steps = Job.objects.filter(workflow=session.pk).order_by("step_index")
    assert [step.status for step in steps] == ["failed", "waiting", "waiting"]
    session.refresh_from_db()
    document = describe_session(session)
    assert (document["status"], document["progress"]) == ("error", 0)
    assert document["error"] == error["error"]
    assert "generatedProofs" not in document


def test_each_phase_and_the_whole_are_attested_and_evaluated(
    chain: Chain, for_children: None, tenant: Tenant, run_jobs: RunJobs
) -> None:
    session = start(tenant)

    run_jobs()
    evaluate()

    workflow = Workflow.objects.get(pk=session.pk)
    assert workflow.status_category == "complete", workflow.problem_details
    keys = Attestation.objects.filter(workflow=session.pk).values_list("attestation_key", flat=True)
    assert sorted(key.partition(":")[0] for key in keys) == ["worker-completion"] * 3 + [
        "workflow-completion"
    ]


def test_a_retry_repeats_only_the_phase_that_failed(
    chain: Chain, for_children: None, tenant: Tenant, run_jobs: RunJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAIN_RPC_URL", "http://127.0.0.1:9")
    session = start(tenant)
    run_jobs()
    before = frames_of(session)
    assert (before[-1].event, before[-1].data["phase"], before[-1].data["code"]) == ("error", "attesting", 5)
    proofs = result_of(session, "generate")

    monkeypatch.setenv("CHAIN_RPC_URL", chain.settings["CHAIN_RPC_URL"])
    retry_workflow(Workflow.objects.get(pk=session.pk), by="ada", reason="The node is back.")
    run_jobs()

    after = frames_of(session, position=len(before))
    assert phases_in(after) == [("attesting", 66), ("complete", 100)]
    assert after[-1].data["generatedProofs"][0]["proof"] == proofs["proofs"][0]["proof"]
    assert [frame.id for frame in after] == list(range(len(before) + 1, len(before) + len(after) + 1))
    attempts = (
        Job.objects.filter(workflow=session.pk).order_by("step_index").values_list("attempt", flat=True)
    )
    assert list(attempts) == [1, 1, 2]


def test_what_a_program_logs_is_no_part_of_its_error_and_carries_its_trace(
    chain: Chain,
    for_children: None,
    tenant: Tenant,
    run_jobs: RunJobs,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CHAIN_RPC_URL", "http://127.0.0.1:9")
    session = start(tenant)
    run_jobs()
    retry_workflow(Workflow.objects.get(pk=session.pk), by="ada", reason="With another key.")
    monkeypatch.setenv("CHAIN_RPC_URL", chain.settings["CHAIN_RPC_URL"])
    monkeypatch.setenv("PRIVATE_KEY", ANOTHER.key.hex())
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    capfd.readouterr()

    run_jobs()

    error = f"The proof is bound to {SENDER}; PRIVATE_KEY is that of {ANOTHER.address}."
    assert frames_of(session)[-1].data == {"error": error, "phase": "attesting", "code": 6}
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    of_program = [line for line in lines if line["pid"] != os.getpid()]
    assert of_program
    job = Job.objects.get(workflow=session.pk, step_name="attest")
    assert {line["traceId"] for line in of_program} == {job.trace_id}


def test_a_phase_leaves_no_folder_and_removes_what_was_left_long_ago(
    no_chain: None, for_children: None, tenant: Tenant, run_jobs: RunJobs, settings: Any, tmp_path: Path
) -> None:
    settings.DATA_DIR = tmp_path
    old, young = tmp_path / "phases" / "generate-old", tmp_path / "phases" / "generate-young"
    for folder in (old, young):
        folder.mkdir(parents=True)
        (folder / "proofs.json").write_text("{}")
    os.utime(old, (time.time() - 3_601,) * 2)
    session = start(tenant)

    run_jobs()

    assert frames_of(session)[-1].event == "complete"
    assert list((tmp_path / "phases").iterdir()) == [young]


def test_a_program_that_overstays_its_time_is_killed_and_the_session_ends(
    no_chain: None, for_children: None, tenant: Tenant, run_jobs: RunJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVERS", f"groth16={provers.__name__}.Slow")
    monkeypatch.setattr(running, "GENERATE", replace(GENERATE, seconds=4))
    session = start(tenant)

    run_jobs()

    frames = frames_of(session)
    assert of_type(frames, "log")
    assert frames[-1].data == {"error": "generate ran longer than 4 s", "phase": "generating", "code": -1}
    evaluate()
    assert Workflow.objects.get(pk=session.pk).problem_type == "timed_out"


def test_a_program_that_is_killed_has_no_exit_code(
    no_chain: None, for_children: None, tenant: Tenant, run_jobs: RunJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVERS", f"groth16={provers.__name__}.Killed")
    session = start(tenant)

    run_jobs()

    error = frames_of(session)[-1].data
    assert error == {"error": "generate was killed by signal 9", "phase": "generating", "code": -1}


def test_a_program_that_writes_no_result_fails_its_phase(
    no_chain: None, for_children: None, tenant: Tenant, run_jobs: RunJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "GENERATE", replace(GENERATE, step="exits"))  # which does nothing
    session = start(tenant)

    run_jobs()

    error = frames_of(session)[-1].data
    assert error == {"error": "exits has written no result", "phase": "generating", "code": -1}


def test_the_creators_key_is_in_nothing_that_is_stored(
    no_chain: None, for_children: None, tenant: Tenant, run_jobs: RunJobs
) -> None:
    session = start(tenant)
    run_jobs()

    secret = f"{creator_of(tenant.pk).secret:x}"
    told = str(frames_of(session)) + str(list(Job.objects.values_list("result", "error", "payload")))
    assert secret not in told.lower()
    assert secret not in str(list(Attestation.objects.values_list("attestation_data"))).lower()
