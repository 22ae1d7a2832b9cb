"""What a submission tells of the timeline of its workflow: its review, its transactions, and its end.

Of a proof session's its transactions are told.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.db.models import QuerySet

from attestations.chain.explorers import explorer_url
from attestations.models import ChainTransaction, Submission
from jobs.forensics.moments import SOURCE_ROWS_MAX, Moment, left_out, short
from jobs.models import Workflow

# The moments that ask an account that looks at them in the monitor for the right to see submissions.
TYPES = (
    "submitted",
    "reviewed",
    "transaction_signed",
    "transaction_ended",
    "publishing_skipped",
    "submission_ended",
)


def tell_of_submission(workflow: Workflow) -> Iterator[Moment]:
    """When it was submitted and decided on, each transaction that was signed for it, and how it ended."""
    if workflow.kind != Workflow.Kind.SUBMISSION:
        return
    submission = Submission.objects.filter(workflow=workflow).defer("proof_json").first()
    if submission is None:  # another run of it is at hand
        return
    yield _submitted(submission)
    if submission.decided_at:
        yield Moment(
            at=submission.decided_at,
            type="reviewed",
            title=f"{submission.decided_by or 'Somebody'} {submission.decision} it.",
            data={
                "decision": submission.decision,
                "by": submission.decided_by,
                "reason": submission.decision_reason,
            },
        )
    yield from _of_transactions(ChainTransaction.objects.filter(submission=submission))
    yield from _end(submission, workflow)


def tell_of_session(workflow: Workflow) -> Iterator[Moment]:
    """Each transaction that was signed for a proof session."""
    if workflow.kind == Workflow.Kind.PROOF:
        yield from _of_transactions(ChainTransaction.objects.filter(workflow=workflow))


def _submitted(submission: Submission) -> Moment:
    return Moment(
        at=submission.created_at,
        type="submitted",
        title=f"{submission.actor_id or 'Somebody'} submitted {submission.sha256_hash[:12]}….",
        data={
            "submission_id": str(submission.pk),
            "sha256_hash": submission.sha256_hash,
            "proof_system": submission.proof_system,
            "has_picture": bool(submission.image),
        },
    )


def _of_transactions(sent: QuerySet[ChainTransaction]) -> Iterator[Moment]:
    rows = list(sent.defer("raw").order_by("-id")[: SOURCE_ROWS_MAX + 1])
    if len(rows) > SOURCE_ROWS_MAX:
        yield left_out("transactions", sent.count() - SOURCE_ROWS_MAX)
    for row in rows[:SOURCE_ROWS_MAX]:
        known = {"transaction_id": row.transaction_id, "chain_id": row.chain_id, "nonce": row.nonce}
        yield Moment(
            at=row.created_at,
            type="transaction_signed",
            title=f"Transaction {row.transaction_id[:12]}… was signed, with nonce {row.nonce}.",
            data=known | {"max_fee_per_gas": row.max_fee_per_gas, "sender": row.sender},
        )
        if row.ended_at:
            yield _transaction_ended(row, row.ended_at, known)


def _transaction_ended(row: ChainTransaction, ended_at: datetime, known: dict[str, object]) -> Moment:
    place = f" in block {row.block_number:,}" if row.block_number is not None else ""
    return Moment(
        at=ended_at,
        type="transaction_ended",
        title=f"Transaction {row.transaction_id[:12]}… was {row.status}{place}.",
        data=known
        | {
            "status": row.status,
            "block_number": row.block_number,
            "gas_used": row.gas_used,
            "explorer_url": explorer_url(row.chain_id, row.transaction_id),
            "error": short(row.error),
        },
    )


def _end(submission: Submission, workflow: Workflow) -> Iterator[Moment]:
    if submission.skipped_reason and workflow.ended_at:
        yield Moment(
            at=workflow.ended_at,
            type="publishing_skipped",
            title=f"Publishing was skipped: {submission.skipped_reason}.",
            data={"skipped_reason": submission.skipped_reason},
        )
    ended_at = submission.verified_at or submission.failed_at
    if ended_at:
        why = f": {short(submission.failure_reason)}" if submission.failure_reason else ""
        yield Moment(
            at=ended_at,
            type="submission_ended",
            title=f"The submission is {submission.status}{why.rstrip('.')}.",
            data={
                "status": submission.status,
                "transaction_id": submission.transaction_id,
                "explorer_url": explorer_url(submission.chain_id, submission.transaction_id),
                "failure_reason": submission.failure_reason,
            },
        )
