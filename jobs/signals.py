"""The one word the ground floor says upwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.dispatch import Signal

# Sent with `attempts: Sequence[FinishedAttempt]` and `workflows: Sequence[FinishedWorkflow]`, inside the
# transaction that finished them. A listener issues a number of statements that does not grow with the batch,
# and raises when it can't store what it must: the outcome then is not stored either.
work_finished = Signal()


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedAttempt:
    """An attempt of a job that ended, whether or not the job will be tried again.

    So is told, unattested, of a job that ended without (another) attempt: expired, cancelled in the queue.
    """

    job_id: UUID
    tenant_id: UUID | None
    kind: str
    service_required: str
    payload: Any
    ctx: dict[str, Any]
    attempt: int
    worker: str
    outcome: str  # completed, failed or cancelled
    is_final: bool  # False where the job goes back to the queue
    is_attested: bool
    is_told: bool  # False for a kind that opted out of attestations and messages
    result: Any
    error: dict[str, Any] | None
    workflow_pk: UUID | None
    workflow_id: str
    user_id: str
    trace_id: str
    request_id: str
    started_at: datetime | None  # None where no attempt was begun
    ended_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedWorkflow:
    """A run of a workflow that ended."""

    pk: UUID
    tenant_id: UUID
    workflow_id: str
    kind: str  # a Workflow.Kind
    user_id: str
    attempt: int
    status: str  # completed, failed or cancelled
    miniapp_req: Any
    outputs: list[str]
    error: dict[str, Any] | None
    total_steps: int
    completed_steps: int
    trace_id: str
    request_id: str
    ended_at: datetime


def announce(attempts: Sequence[FinishedAttempt], workflows: Sequence[FinishedWorkflow]) -> None:
    """Tell every listener what this transaction has finished."""
    if attempts or workflows:
        work_finished.send(sender=None, attempts=attempts, workflows=workflows)
