"""Tells tenants what has become of their submissions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attestations.chain.explorers import explorer_url
from attestations.models import Submission
from webhooks.services.messages import Event, iso, write_messages


def tell_of_submissions(*, submissions: Sequence[Submission], **_: Any) -> None:
    """Write a message for each submission that the transaction at hand has ended.

    The number of statements does not grow with the submissions.
    """
    write_messages([_event_of(submission) for submission in submissions])


def _event_of(submission: Submission) -> Event:
    at = submission.verified_at or submission.failed_at
    assert at
    return Event(
        tenant_id=submission.tenant_id,
        type=f"submission.{submission.status}",
        at=at,
        workflow_id=submission.latest_workflow_id,
        user_id=submission.user_id,
        trace_id=submission.trace_id,
        request_id=submission.request_id,
        workflow_pk=submission.workflow_id,
        data={
            "submission_id": str(submission.pk),
            "sha256_hash": submission.sha256_hash,
            "status": submission.status,
            "proof_system": submission.proof_system,
            "commitment": submission.commitment,
            "submitter": submission.submitter,
            "proof_digest": submission.proof_digest,
            "chain_id": submission.chain_id,
            "contract_address": submission.contract_address,
            "transaction_id": submission.transaction_id,
            "explorer_url": explorer_url(submission.chain_id, submission.transaction_id),
            "is_verified_on_chain": submission.is_verified_on_chain,
            "verified_at": iso(submission.verified_at),
            "failed_at": iso(submission.failed_at),
            "failure_reason": submission.failure_reason,
            "trace_id": submission.trace_id,
            "request_id": submission.request_id,
        },
    )
