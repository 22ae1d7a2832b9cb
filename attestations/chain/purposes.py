"""What a transaction is for: the digest that it has recorded, for whom, and whether anybody wants that any more."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Now

from attestations.models import ChainTransaction, Submission
from jobs.models import Workflow

# Of what is recorded by hand nothing says that it was given up.
BY_HAND_FOR = timedelta(hours=1)

# Its submission has ended; its session does not run, or is forgotten; or nobody has come back to it by hand.
OVER = (
    Q(submission__status__in=[Submission.Status.COMPLETE, Submission.Status.REJECTED])
    | (Q(workflow__isnull=False) & ~Q(workflow__status=Workflow.Status.RUNNING))
    | Q(submission__isnull=True, workflow__isnull=True, created_at__lt=Now() - BY_HAND_FOR)
)
# Nor does anybody publish, until somebody asks for it, a submission whose publishing was skipped.
ABANDONED = OVER | Q(submission__skipped_reason__gt="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """Have a digest (64 hex digits) recorded for a submission, for a proof session's workflow, or by hand for neither.

    Its fields are columns of ChainTransaction. A tenant's transactions of a digest are looked at together, whatever
    they were for: the contract takes one of them.
    """

    sha256_hash: str
    tenant_id: UUID | None = None
    submission_id: UUID | None = None
    workflow_id: UUID | None = None

    @classmethod
    def of_submission(cls, submission: Submission) -> Purpose:
        return cls(
            sha256_hash=submission.sha256_hash, tenant_id=submission.tenant_id, submission_id=submission.pk
        )

    @classmethod
    def of_session(cls, session: Workflow, sha256_hash: str) -> Purpose:
        return cls(sha256_hash=sha256_hash, tenant_id=session.tenant_id, workflow_id=session.pk)

    @classmethod
    def of_row(cls, row: ChainTransaction) -> Purpose:
        return cls(
            sha256_hash=row.sha256_hash,
            tenant_id=row.tenant_id,
            submission_id=row.submission_id,
            workflow_id=row.workflow_id,
        )

    @property
    def columns(self) -> dict[str, Any]:
        return asdict(self)
