"""Submissions as records: taken once per hash, reviewed, and followed to their end without a chain."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction

from attestations.models import Attestation, CreatorKey, Submission
from attestations.proofs.making import is_valid
from attestations.proofs.protocol import NOBODY, Statement
from attestations.services.creators import creator_of
from attestations.services.pictures import Picture
from attestations.services.submissions import (
    GENERATE,
    PUBLISH,
    NewSubmission,
    approve_submission,
    end_submissions,
    publish_submission,
    reject_submission,
    submit,
)
from jobs.errors import InvalidInput, InvalidTransition
from jobs.evaluator.runs import evaluate
from jobs.forensics.timeline import forensics_of
from jobs.models import Job, Tenant, Workflow
from jobs.services.jobs import cancel_job, complete_job, retry_job
from jobs.services.workflows import cancel_workflow, retry_workflow
from jobs.tenancy.sealing import unseal
from jobs.testing import RunJobs
from tests.conftest import MakeEndpoint
from tests.factories import claim_one, make_workflow
from webhooks.models import Message

PNG = b"\x89PNG\r\n\x1a\n" + b"painted" * 100
HASH = hashlib.sha256(PNG).hexdigest()

pytestmark = pytest.mark.usefixtures("no_chain")


@pytest.fixture(autouse=True)
def _own_storage(settings: object, tmp_path: object) -> None:
    settings.MEDIA_ROOT = tmp_path  # type: ignore[attr-defined]


def a_picture() -> Picture:
    return Picture(file=io.BytesIO(PNG), content_type="image/png", extension=".png", size=len(PNG))


def submitted(tenant: Tenant, **fields: object) -> Submission:
    return submit(tenant, NewSubmission(sha256_hash=HASH, **fields), actor_id="tester")[0]


def test_a_hash_is_taken_once_until_it_is_rejected(tenant: Tenant, other_tenant: Tenant) -> None:
    first, is_new = submit(tenant, NewSubmission(sha256_hash=HASH), actor_id="tester")
    again, is_new_again = submit(tenant, NewSubmission(sha256_hash=HASH), actor_id="tester")
    of_other, is_new_there = submit(other_tenant, NewSubmission(sha256_hash=HASH), actor_id="tester")

    assert (is_new, is_new_again, is_new_there) == (True, False, True)
    assert again == first != of_other
    reject_submission(first, by="eve", reason="It is a forgery.")
    assert submitted(tenant) not in (first, of_other)


def test_a_picture_that_comes_after_its_hash_is_added_once(tenant: Tenant) -> None:
    submitted(tenant)

    with_picture = submitted(tenant, picture=a_picture())
    third = submitted(tenant, picture=a_picture())

    with default_storage.open(with_picture.image) as stored:
        assert stored.read() == PNG
    assert (third.image, third.image_content_type, third.image_bytes) == (
        with_picture.image,
        "image/png",
        len(PNG),
    )
    assert len([path for path in Path(default_storage.location).rglob("*") if path.is_file()]) == 1


@pytest.mark.parametrize("text", ["", "ab", "g" * 64, HASH.upper(), HASH + "\n", "0x" + HASH[2:]])
def test_what_is_no_hash_is_refused(tenant: Tenant, text: str) -> None:
    with pytest.raises(InvalidInput):
        submit(tenant, NewSubmission(sha256_hash=text), actor_id="tester")


def test_a_system_without_a_prover_is_refused_at_the_door(tenant: Tenant) -> None:
    with pytest.raises(InvalidInput, match="prover not installed"):
        submitted(tenant, proof_system="stark")

    assert not Submission.objects.exists()


def test_approval_starts_two_jobs_of_which_one_waits(tenant: Tenant) -> None:
    submission = approve_submission(submitted(tenant), by="rita", reason="Lovely.")

    jobs = Job.objects.filter(workflow=submission.workflow_id).order_by("step_index")
    assert [(job.kind, job.queue, job.status) for job in jobs] == [
        (GENERATE, "proof-generation", "queued"),
        (PUBLISH, "proof-publishing", "waiting"),
    ]
    assert {job.trace_id for job in jobs} == {submission.trace_id}
    assert jobs[1].singleton_key == HASH
    assert (submission.status, submission.decision, submission.decided_by) == (
        "proof_generation",
        "approved",
        "rita",
    )


def test_only_what_awaits_review_is_approved(tenant: Tenant) -> None:
    submission = approve_submission(submitted(tenant), by="rita")

    with pytest.raises(InvalidTransition):
        approve_submission(submission, by="rita")

    assert Workflow.objects.count() == 1


def test_a_rejection_wants_a_reason_and_is_told(tenant: Tenant, make_endpoint: MakeEndpoint) -> None:
    make_endpoint(event_types=["submission.rejected"])
    submission = submitted(tenant)
    with pytest.raises(InvalidInput):
        reject_submission(submission, by="eve", reason=" ")

    reject_submission(submission, by="eve", reason="It is a forgery.")

    assert submission.status == "rejected"
    assert submission.failed_at
    body = json.loads(bytes(Message.objects.get().body))
    assert body["type"] == "submission.rejected"
    assert body["data"]["failure_reason"] == "Rejected by eve: It is a forgery."
    with pytest.raises(InvalidTransition):
        reject_submission(submission, by="eve", reason="Again.")


def test_rejecting_what_is_under_way_cancels_its_jobs_and_frees_the_hash(tenant: Tenant) -> None:
    submission = approve_submission(submitted(tenant), by="rita")

    reject_submission(submission, by="eve", reason="On second thoughts.")

    assert submission.status == "rejected"
    assert submission.failure_reason == "Rejected by eve: On second thoughts."
    assert set(Job.objects.values_list("status", flat=True)) == {"cancelled"}
    assert approve_submission(submitted(tenant), by="rita").status == "proof_generation"


def test_without_a_chain_the_proof_is_made_and_publishing_is_skipped_in_words(
    tenant: Tenant, run_jobs: RunJobs
) -> None:
    submission = approve_submission(submitted(tenant), by="rita")

    generate, publish = run_jobs()

    submission.refresh_from_db()
    assert (generate.status, publish.status) == ("completed", "completed")
    assert publish.result["skipped"] == submission.skipped_reason == "no chain configured"
    assert submission.status == "proof_publishing"
    assert submission.submitter == NOBODY
    assert set(submission.generation_stages) == {"setup", "prove", "verify"}
    proof = json.loads(submission.proof_json)
    # As it was made: nothing has taken its numbers for base64.
    assert proof == generate.result["proof"]
    assert is_valid("groth16", statement_of(submission), proof)


def statement_of(submission: Submission) -> Statement:
    return Statement(
        commitment=int(submission.commitment, 16),
        digest=bytes.fromhex(submission.sha256_hash),
        submitter=submission.submitter,
    )


def test_what_was_skipped_counts_as_incomplete_and_says_what_to_do(tenant: Tenant, run_jobs: RunJobs) -> None:
    submission = approve_submission(submitted(tenant), by="rita")
    run_jobs()

    evaluate()

    workflow = Workflow.objects.get()
    assert (workflow.status_category, workflow.problem_type) == ("incomplete", "missing_output")
    assert workflow.problem_details["where"]["submission_id"] == str(submission.pk)
    assert "no chain configured" in workflow.problem_details["missing"]


def test_each_attempt_leaves_an_attestation_with_what_was_asked(tenant: Tenant, run_jobs: RunJobs) -> None:
    approve_submission(submitted(tenant, user_id="ada"), by="rita")

    run_jobs()

    of_generate, of_publish, of_workflow = Attestation.objects.order_by("id")
    data = of_generate.attestation_data
    assert data["miniapp_req"]["request_body"]["sha256_hash"] == HASH
    assert data["emprops_req_payload"]["payload"] == {"sha256_hash": HASH, "proof_system": "groth16"}
    assert data["result"]["proof"]["system"] == "groth16"
    assert of_publish.attestation_data["emprops_req_payload"]["payload"] == {
        "sha256_hash": HASH,
        "contract_address": "",
    }
    assert of_workflow.attestation_data["miniapp_req"]["user_context"]["user_id"] == "ada"
    assert all(attestation.is_intact for attestation in (of_generate, of_publish, of_workflow))


def test_a_proof_that_can_never_be_made_rejects_its_submission_and_frees_the_hash(
    tenant: Tenant, run_jobs: RunJobs
) -> None:
    submission = approve_submission(submitted(tenant), by="rita")
    # As when a prover was taken away after the submission was taken.
    Submission.objects.filter(pk=submission.pk).update(proof_system="stark")

    run_jobs(include_delayed=True)

    submission.refresh_from_db()
    assert submission.status == "rejected"
    assert "prover not installed" in submission.failure_reason
    with pytest.raises(InvalidTransition, match="submit the picture again"):
        retry_workflow(Workflow.objects.get(), by="rita")
    with pytest.raises(InvalidTransition, match="submit the picture again"):
        retry_job(Job.objects.get(kind=GENERATE), by="rita")
    again = approve_submission(submitted(tenant), by="rita")
    assert Job.objects.filter(workflow=again.workflow_id).count() == 2


def test_cancelling_the_workflow_rejects_its_submission(tenant: Tenant) -> None:
    submission = approve_submission(submitted(tenant), by="rita")

    cancel_workflow(Workflow.objects.get(), by="otto")

    submission.refresh_from_db()
    assert (submission.status, submission.proof_json) == ("rejected", "")
    assert submission.failure_reason == "Cancelled by otto."


def test_a_job_that_comes_too_late_for_its_submission_says_so(tenant: Tenant, run_jobs: RunJobs) -> None:
    submission = approve_submission(submitted(tenant), by="rita")
    Submission.objects.filter(pk=submission.pk).update(
        status="rejected", failed_at="2026-01-01T00:00:00Z", failure_reason="By hand."
    )

    (job,) = run_jobs(include_delayed=True)

    assert (job.status, job.error["code"], job.attempt) == ("failed", "not_wanted", 1)


def test_publishing_what_was_skipped_waits_for_a_chain(tenant: Tenant, run_jobs: RunJobs) -> None:
    submission = approve_submission(submitted(tenant), by="rita")
    with pytest.raises(InvalidTransition):
        publish_submission(submission, by="rita")
    run_jobs()

    with pytest.raises(InvalidTransition, match="no chain configured"):
        publish_submission(submission, by="rita")


def test_a_tenant_has_one_key_that_is_readable_nowhere(
    tenant: Tenant, other_tenant: Tenant, run_jobs: RunJobs
) -> None:
    for owner in (tenant, other_tenant):
        approve_submission(submitted(owner), by="rita")

    run_jobs()

    mine, theirs = Submission.objects.order_by("pk")
    assert mine.commitment != theirs.commitment
    key = CreatorKey.objects.get(tenant=tenant)
    assert mine.commitment == key.commitment
    secret = unseal(key.sealed_secret).removeprefix("0x").lstrip("0")
    stored = json.dumps(list(Job.objects.values("payload", "ctx", "result", "error")))
    assert secret not in stored + repr(key) + key.sealed_secret


def test_the_timeline_tells_of_the_review_and_of_the_skip(tenant: Tenant, run_jobs: RunJobs) -> None:
    approve_submission(submitted(tenant), by="rita", reason="Lovely.")
    run_jobs()

    told = forensics_of(Workflow.objects.get())

    types = [moment.type for moment in told.moments]
    assert types.index("submitted") < types.index("reviewed") < types.index("attempt_started")
    assert "publishing_skipped" in types[types.index("run_ended") :]


def test_what_was_rejected_keeps_no_picture(
    tenant: Tenant, django_capture_on_commit_callbacks: Callable[..., AbstractContextManager[object]]
) -> None:
    submission = submitted(tenant, picture=a_picture())
    path = submission.image

    with django_capture_on_commit_callbacks(execute=True):
        reject_submission(submission, by="eve", reason="It must not be seen.")

    assert submission.image == ""
    assert not default_storage.exists(path)


def test_a_step_that_outlasts_its_workflow_changes_no_ended_submission(
    tenant: Tenant, run_jobs: RunJobs
) -> None:
    ended = approve_submission(submitted(tenant), by="rita")
    cancel_job(Job.objects.get(kind=PUBLISH), by="otto")
    ended.refresh_from_db()
    assert ended.status == "rejected"
    following = approve_submission(submitted(tenant), by="rita")

    run_jobs(include_delayed=True)

    outlasting = Job.objects.get(kind=GENERATE, workflow=ended.workflow_id)
    ended.refresh_from_db()
    following.refresh_from_db()
    assert (outlasting.status, outlasting.error["code"]) == ("failed", "not_wanted")
    assert (ended.status, following.status) == ("rejected", "proof_publishing")
    assert (following.generation_retry_count, following.skipped_reason) == (0, "no chain configured")


def test_a_proof_that_comes_after_the_end_is_not_stored(tenant: Tenant) -> None:
    submission = approve_submission(submitted(tenant), by="rita")
    generate = Job.objects.get(kind=GENERATE)
    token = claim_one(generate).lease_token
    cancel_job(Job.objects.get(kind=PUBLISH), by="otto")

    complete_job(generate, token, {"proof": {}, "stages": {}, "commitment": "0x1", "submitter": NOBODY})

    submission.refresh_from_db()
    generate.refresh_from_db()
    assert (submission.status, submission.proof_json, generate.status) == ("rejected", "", "completed")


def test_a_rejection_that_comes_too_late_is_no_decision(tenant: Tenant, run_jobs: RunJobs) -> None:
    submission = approve_submission(submitted(tenant), by="rita")
    run_jobs()
    submission.refresh_from_db()
    submission.decision, submission.decided_by, submission.decision_reason = "rejected", "eve", "No."
    submission.transaction_id = f"{1:#066x}"

    end_submissions([submission], {})

    submission.refresh_from_db()
    assert (submission.status, submission.decision) == ("complete", "approved")
    assert "Rejected by eve: No. That came too late." in submission.decision_reason


def test_a_skipped_submission_that_is_rejected_asks_nobody_to_publish_it(
    tenant: Tenant, run_jobs: RunJobs
) -> None:
    submission = approve_submission(submitted(tenant), by="rita")
    run_jobs()
    evaluate()

    reject_submission(submission, by="eve", reason="No.")
    evaluate()

    assert submission.skipped_reason == ""
    assert Workflow.objects.get().status_category == "complete"


def test_a_submission_whose_workflow_is_forgotten_can_be_asked_about(tenant: Tenant) -> None:
    submission = approve_submission(submitted(tenant), by="rita")
    cancel_workflow(Workflow.objects.get(), by="otto")
    submission.refresh_from_db()
    Job.objects.all().delete()
    Workflow.objects.all().delete()

    with pytest.raises(InvalidTransition, match="rejected already"):
        reject_submission(submission, by="eve", reason="No.")


def test_a_client_that_takes_the_name_of_its_workflow_holds_up_no_submission(tenant: Tenant) -> None:
    submission = submitted(tenant)
    make_workflow(tenant, workflow_id=f"submission-{submission.pk}")

    approve_submission(submission, by="rita")

    assert submission.latest_workflow_id == f"submission-{submission.pk}-run-2"
    assert submission.workflow
    assert submission.workflow.workflow_id == submission.latest_workflow_id


def test_a_key_that_nobody_can_open_is_named_as_what_it_is(
    tenant: Tenant, settings: Any, run_jobs: RunJobs
) -> None:
    creator_of(tenant.pk)
    approve_submission(submitted(tenant), by="rita")
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    (job,) = run_jobs()

    assert (job.status, job.error["code"]) == ("queued", "creator_key_unreadable")


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "complete"},
        {"status": "rejected"},
        {"status": "proof_publishing"},
        {"proof_json": "{}"},
        {"sha256_hash": "A" * 64},
        {"transaction_id": "0x1"},
        {"status": "lost"},
        {"proof_system": "snark"},
    ],
)
def test_the_database_refuses_what_no_submission_is(tenant: Tenant, wrong: dict[str, str]) -> None:
    submission = submitted(tenant)

    with pytest.raises(IntegrityError), transaction.atomic():
        Submission.objects.filter(pk=submission.pk).update(**wrong)
