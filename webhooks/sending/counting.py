"""Counts attempts at deliveries: how they went, and how long endpoints took to answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from jobs.models import Measure
from jobs.rollups.buckets import bucket_of
from jobs.rollups.counting import Count, write_counts
from webhooks.sending.attempts import Outcome

SUCCEEDED, FAILED = "succeeded", "failed"


def count_attempts(outcomes: Sequence[Outcome], rows: Sequence[Any]) -> None:
    """Note those of these outcomes that were stored: `rows` are those of finish_deliveries.sql."""
    tenants = {row.id: row.tenant_id for row in rows}
    write_counts(_counts_of(outcomes, tenants))


def _counts_of(outcomes: Sequence[Outcome], tenants: Mapping[UUID, UUID]) -> Iterator[Count]:
    for outcome in outcomes:
        scope, name = tenants.get(outcome.record["id"]), str(outcome.endpoint_id)
        if scope is None:
            continue
        key = FAILED if outcome.verdict.reason else SUCCEEDED
        yield Count(scope=scope, measure=Measure.DELIVERED, name=name, key=key)
        if outcome.record["status_code"] is not None:
            bucket = bucket_of(outcome.record["duration_ms"] / 1_000)
            yield Count(scope=scope, measure=Measure.ANSWERED, name=name, key=str(bucket))
