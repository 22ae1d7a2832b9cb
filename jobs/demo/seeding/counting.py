"""Counts what a batch holds into rollups and groups of errors, as the platform would have while it happened."""

from __future__ import annotations

import functools
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from jobs.demo.seeding.batches import Batch
from jobs.demo.seeding.stories import Attempt, JobStory
from jobs.models.rollups import Measure
from jobs.rollups.buckets import bucket_of
from jobs.rollups.errors import fingerprint_of, normalise
from jobs.statements import batch as batch_of
from jobs.statements import run

SQL = Path(__file__).parent / "sql"
# Seconds of a step, and for how many such steps are kept.
GRAINS = {60: 6 * 3_600, 600: 3 * 86_400, 3_600: 90 * 86_400}

LOSSES = ("worker_lost", "poison")
# Most say what another has said already.
fingerprint = functools.lru_cache(50_000)(fingerprint_of)
_normal = functools.lru_cache(50_000)(normalise)


def count_jobs(batch: Batch) -> None:
    """Count the attempts of a batch, how long they waited and took, and what went wrong with them."""
    groups: dict[UUID, dict[str, Any]] = {}
    for job in batch.jobs:
        tenant, name = batch.tenant_of(job).id, job.service.name
        for attempt in job.attempts:
            _count_attempt(batch, job, attempt)
            if attempt.error:
                _note_error(batch, groups, job, attempt.error, attempt.ended_at)
        if job.ended_at and not job.attempts:
            batch.count(tenant, Measure.ENDED, name, job.status, job.ended_at)
            if job.status == "failed" and job.error:
                _note_error(batch, groups, job, job.error, job.ended_at)
    if groups:
        run("add_error_groups", {"groups": batch_of(list(groups.values()))}, folder=SQL)


def _count_attempt(batch: Batch, job: JobStory, attempt: Attempt) -> None:
    tenant, name, at = batch.tenant_of(job).id, job.service.name, attempt.ended_at
    batch.count(tenant, Measure.ENDED, name, attempt.outcome if attempt.is_final else "retried", at)
    waited = bucket_of((attempt.started_at - attempt.due_at).total_seconds())
    ran = bucket_of((at - attempt.started_at).total_seconds())
    batch.count(tenant, Measure.WAITED, name, str(waited), at)
    if (attempt.error or {}).get("code") not in LOSSES:  # or nobody would have known when it ended
        batch.count(tenant, Measure.RAN, name, str(ran), at)


def _note_error(
    batch: Batch, groups: dict[UUID, dict[str, Any]], job: JobStory, error: dict[str, Any], at: datetime
) -> None:
    tenant, name = batch.tenant_of(job).id, job.service.name
    key = fingerprint(tenant, name, error["code"], error["message"])
    batch.count(tenant, Measure.ERROR, name, str(key), at)
    group = groups.setdefault(
        key,
        {
            "fingerprint": key,
            "tenant_id": tenant,
            "name": name,
            "code": error["code"],
            "message": _normal(error["message"]),
            "count": 0,
            "sample_job_id": job.id,
            "first_seen_at": at,
            "last_seen_at": at,
        },
    )
    group["count"] += 1
    group["first_seen_at"] = min(group["first_seen_at"], at)
    if at >= group["last_seen_at"]:
        group["last_seen_at"], group["sample_job_id"] = at, job.id


def write_rollups(batch: Batch) -> None:
    """Add what the batch has counted to the rollups that are still kept."""
    steps: Counter[tuple[Any, ...]] = Counter()
    now = int(batch.plan.now.timestamp())
    for (*what, minute), count in batch.counts.items():
        for grain, kept_seconds in GRAINS.items():
            if minute > now - kept_seconds:
                steps[(*what, grain, minute // grain * grain)] += count
    names = ("scope", "measure", "name", "key", "grain", "at")
    rows = [{**dict(zip(names, step, strict=True)), "count": count} for step, count in steps.items()]
    if rows:
        run("add_rollups", {"rollups": batch_of(rows)}, folder=SQL)
