"""Writes the story of jobs and workflows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import transaction

from jobs.hygiene.sanitizer import sanitize_base64
from jobs.models import Job, Workflow
from jobs.queue.wakeups import announce_changes_on_commit
from jobs.statements import batch, run


def record_event(subject: Job | Workflow, type_: str, data: dict[str, Any]) -> None:
    """Add a line to the story of a job (and of its workflow), or of a workflow alone.

    Locks the workflow's row, or that of a job outside workflows, until the transaction at hand ends.
    """
    job_id: UUID | None = subject.pk if isinstance(subject, Job) else None
    workflow_id: UUID | None = subject.workflow_id if isinstance(subject, Job) else subject.pk
    with transaction.atomic(savepoint=False):
        run(
            "record_events",
            {
                "tenant": subject.tenant_id,
                "job": job_id,
                "workflow": workflow_id,
                "events": batch([{"type": type_, "data": sanitize_base64(data)}]),
            },
        )
        announce_changes_on_commit([job_id, workflow_id])


def record_of_attempt(job_id: UUID, attempt: int, events: Sequence[tuple[str, dict[str, Any]]]) -> bool:
    """Add lines to the story of a job that runs in-house; False, with nothing added, when that attempt is over.

    The lines are stored as they are given, in one statement that is a transaction of its own: the caller sanitises.
    """
    rows = run(
        "record_of_attempt",
        {
            "job": job_id,
            "attempt": attempt,
            "events": batch([{"type": type_, "data": data} for type_, data in events]),
        },
    )
    if rows:
        announce_changes_on_commit([job_id, rows[0].workflow_id])
    return bool(rows)
