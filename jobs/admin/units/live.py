"""How the page of a job or workflow goes on watching it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from jobs.models import Job, Workflow

LINES_MAX = 2_000  # what a page keeps of a log as it grows


def live_stream(unit: Job | Workflow, last_id: int) -> dict[str, Any] | None:
    """What unit.js needs to go on from where the page ends; None where the unit has ended, and nothing more comes."""
    if isinstance(unit, Job):
        if unit.is_final:
            return None
        url = reverse("job-events", args=[unit.pk])
    else:
        if unit.status != Workflow.Status.RUNNING:
            return None
        url = reverse("workflow-events", args=[unit.workflow_id])
    tenant = unit.tenant
    query = f"?{urlencode({'tenant': tenant.slug})}" if tenant else "?"
    return {"url": url + query, "last_id": last_id, "lines_max": LINES_MAX}
