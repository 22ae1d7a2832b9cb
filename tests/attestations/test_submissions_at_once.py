"""Reviewers, clients and jobs that come to one submission at the same time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from attestations.models import Submission
from attestations.services.submissions import (
    NewSubmission,
    approve_submission,
    reject_submission,
    submit,
)
from jobs.models import Job, Tenant, Workflow
from jobs.services.jobs import complete_job
from tests.factories import claim_one, make_tenant
from tests.jobs.together import at_once

HASH = "ab" * 32

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_chain")]


@pytest.fixture
def owner() -> Tenant:
    return make_tenant("acme")


def submitted(owner: Tenant) -> Submission:
    return submit(owner, NewSubmission(sha256_hash=HASH), actor_id="ada")[0]


PROVED = {
    "proof": {"system": "groth16"},
    "commitment": "0x1",
    "submitter": "0x" + "0" * 40,
    "contract_address": "",
    "stages": {"setup": 0.1},
}


def begin_proving(submission: Submission) -> Callable[[], Job]:
    """Claim the job that makes the proof; the call stores one, as the job does when it ends."""
    job = Job.objects.get(workflow=submission.workflow_id, step_index=0)
    token = claim_one(job).lease_token
    return lambda: complete_job(job, token, PROVED)


def test_one_hash_from_many_clients_is_one_submission(owner: Tenant) -> None:
    answers = at_once(
        *[lambda: submit(owner, NewSubmission(sha256_hash=HASH), actor_id="ada") for _ in range(6)]
    )

    assert sorted(is_new for _, is_new in answers) == [False] * 5 + [True]
    assert len({submission.pk for submission, _ in answers}) == 1


def test_one_of_two_approvals_starts_the_work(owner: Tenant) -> None:
    submission = submitted(owner)
    mine, other = (Submission.objects.get(pk=submission.pk) for _ in range(2))

    answers = at_once(
        lambda: approve_submission(mine, by="rita").status,
        lambda: approve_submission(other, by="otto").status,
    )

    assert sorted(answers) == ["invalid_transition", "proof_generation"]
    assert Workflow.objects.count() == 1


def test_approval_and_rejection_agree_on_what_has_come_first(owner: Tenant) -> None:
    for _ in range(5):
        submission = submitted(owner)
        mine, other = (Submission.objects.get(pk=submission.pk) for _ in range(2))

        at_once(
            lambda mine=mine: approve_submission(mine, by="rita").status,
            lambda other=other: reject_submission(other, by="eve", reason="No.").status,
        )

        submission.refresh_from_db()
        workflow = Workflow.objects.filter(pk=submission.workflow_id).first()
        if submission.status == "rejected":
            assert workflow is None or workflow.status == "cancelled"
        else:
            assert (submission.status, workflow and workflow.status) == ("proof_generation", "running")
            reject_submission(submission, by="eve", reason="So that the next round can begin.")


def test_a_rejection_and_the_end_of_the_proof_never_wait_for_each_other_in_a_circle(owner: Tenant) -> None:
    for _ in range(8):
        submission = approve_submission(submitted(owner), by="rita")
        end_proving = begin_proving(submission)

        at_once(
            end_proving,
            lambda submission=submission: reject_submission(submission, by="eve", reason="No.").status,
        )

        submission.refresh_from_db()
        # The running step has heard of it and the next does not begin, or it had ended and the next was stopped.
        assert submission.status == "rejected"
        assert submission.failure_reason == "Rejected by eve: No."
        assert not Job.objects.live().filter(workflow=submission.workflow_id).exists()


def test_a_new_submission_of_a_hash_that_is_just_being_rejected_ends_as_one_of_the_two(owner: Tenant) -> None:
    for _ in range(8):
        submission = submitted(owner)

        _, again = at_once(
            lambda submission=submission: reject_submission(submission, by="eve", reason="No."),
            lambda: submit(owner, NewSubmission(sha256_hash=HASH), actor_id="ada"),
        )

        live = Submission.objects.live()
        assert live.count() == (1 if again[1] else 0)
        live.delete()
