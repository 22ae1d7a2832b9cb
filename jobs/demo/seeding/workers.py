"""Writes who has done the work of a batch."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from jobs.demo.seeding.batches import Batch
from jobs.demo.seeding.counting import SQL
from jobs.statements import batch as batch_of
from jobs.statements import run


def write_workers(batch: Batch) -> None:
    """Note the remote workers of a batch, when they were seen, and what they offer."""
    seen: dict[tuple[UUID, str], tuple[set[str], list[datetime]]] = {}
    for job in batch.jobs:
        for attempt in () if job.service.kind else job.attempts:
            services, moments = seen.setdefault((batch.tenant_of(job).id, attempt.worker), (set(), []))
            services.add(job.service.name)
            moments.append(attempt.ended_at)
    rows: list[dict[str, Any]] = [
        {
            "tenant_id": tenant,
            "worker_id": worker,
            "services": sorted(services),
            "first_seen_at": min(moments),
            "last_seen_at": max(moments),
        }
        for (tenant, worker), (services, moments) in seen.items()
    ]
    if rows:
        run("add_workers", {"workers": batch_of(rows)}, folder=SQL)
