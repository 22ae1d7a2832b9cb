"""Writes the story of jobs and workflows."""

from __future__ import annotations

from typing import Any

from jobs.hygiene.sanitizer import sanitize_base64
from jobs.models import Event, Job, Workflow


def record_event(subject: Job | Workflow, type_: str, data: dict[str, Any]) -> None:
    """Add a line to the story of a job (and of its workflow), or of a workflow alone."""
    is_job = isinstance(subject, Job)
    Event.objects.create(
        tenant_id=subject.tenant_id,
        job_id=subject.pk if is_job else None,
        workflow_id=subject.workflow_id if is_job else subject.pk,
        type=type_,
        data=sanitize_base64(data),
    )
