"""Counts attempts that have ended: how, after what wait, how long they took, and of which error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from jobs.models import Job, Measure
from jobs.models.jobs import PLATFORM
from jobs.queue.outcomes import code_and_message
from jobs.rollups.buckets import bucket_of
from jobs.rollups.counting import Count, write_counts
from jobs.rollups.errors import CODE_MAX_CHARS, normalise

RETRIED = "retried"  # the key of an attempt that failed and is made again

Counted = Counter[tuple[UUID, str, str, str]]


def count_attempts(ended: Sequence[Any], unstarted: Sequence[Any]) -> None:
    """Note rows of finish.sql, and of end_jobs.sql those of jobs that ended without an attempt: one statement."""
    counted: Counted = Counter()
    for row in ended:
        _count_end(counted, row)
        _count_times(counted, row)
    for row in unstarted:
        _count_end(counted, row)
    errors = _errors_of([*ended, *unstarted])
    write_counts(
        Count(scope=scope, measure=measure, name=name, key=key, count=count, details=errors.get(key))
        for (scope, measure, name, key), count in counted.items()
    )


def _count_end(counted: Counted, row: Any) -> None:
    scope, name = row.tenant_id or PLATFORM, row.kind or row.service_required
    key = RETRIED if row.status == Job.Status.QUEUED else row.status
    counted[scope, Measure.ENDED.value, name, key] += 1
    if row.error_fingerprint:
        counted[scope, Measure.ERROR.value, name, str(row.error_fingerprint)] += 1


def _count_times(counted: Counted, row: Any) -> None:
    scope, name = row.tenant_id or PLATFORM, row.kind or row.service_required
    counted[scope, Measure.WAITED.value, name, _bucket(row.started_at - row.due_at)] += 1
    if not row.was_lost:  # or nobody knows when it ended
        counted[scope, Measure.RAN.value, name, _bucket(row.ended_at - row.started_at)] += 1


def _bucket(duration: timedelta) -> str:
    return str(bucket_of(duration.total_seconds()))


def _errors_of(rows: Sequence[Any]) -> dict[str, dict[str, Any]]:
    """What the groups of these errors say, by fingerprint; the last job is the sample."""
    samples = {str(row.error_fingerprint): row for row in rows if row.error_fingerprint}
    return {fingerprint: _describe(row) for fingerprint, row in samples.items()}


def _describe(row: Any) -> dict[str, Any]:
    error = code_and_message(row.error) or {"code": "", "message": ""}
    return {
        "tenant": row.tenant_id,
        "code": error["code"][:CODE_MAX_CHARS],
        "message": normalise(error["message"]),
        "job": row.id,
    }
