"""How endpoints have fared in their last attempts, read at a glance."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from webhooks.models import Attempt, Delivery, Endpoint

ATTEMPTS_LOOKED_AT = 50
COUNTED_MAX = 1_000  # deliveries that wait
TONES = {Attempt.Outcome.DELIVERED: "good", Attempt.Outcome.FAILED: "bad", Attempt.Outcome.UNKNOWN: "warn"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One attempt in the strip."""

    tone: str
    at: datetime
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The last attempts, the oldest first, and what they come to."""

    cells: list[Cell]
    share: str
    median: str
    percentile_95: str


class CountOf(Subquery):
    """How many rows a subquery has; with a slice it counts no further."""

    template = "(SELECT count(*) FROM (%(subquery)s) AS counted)"
    output_field = IntegerField()


def with_health(endpoints: QuerySet[Endpoint]) -> QuerySet[Any]:
    """Add to each endpoint the outcomes of its last attempts and how much waits for it, both bounded."""
    attempts = Attempt.objects.filter(endpoint=OuterRef("pk")).order_by("-id")
    return endpoints.annotate(
        outcomes=ArraySubquery(attempts.values("outcome")[:ATTEMPTS_LOOKED_AT]),
        waiting_count=waiting_count(OuterRef("pk")),
    )


def waiting_count(endpoint: Any) -> Any:
    """What is pending or held, each counted by the index of its own, up to COUNTED_MAX + 1."""
    mine = Delivery.objects.filter(endpoint=endpoint).order_by()
    pending = mine.filter(status=Delivery.Status.PENDING, is_manual=False)
    held = mine.filter(status=Delivery.Status.HELD)
    counts = [CountOf(rows.values("pk")[: COUNTED_MAX + 1]) for rows in (pending, held)]
    return Coalesce(counts[0], 0) + Coalesce(counts[1], 0)


def capped(count: int) -> str:
    return f"{count:,}" if count <= COUNTED_MAX else f"{COUNTED_MAX:,}+"


def share_of(outcomes: Sequence[str]) -> str:
    """How many of these attempts succeeded, in per cent; empty where there are none."""
    if not outcomes:
        return ""
    # Down, so that 100 % is said of nothing but a clean record.
    return f"{100 * sum(outcome == Attempt.Outcome.DELIVERED for outcome in outcomes) // len(outcomes)} %"


def health_of(endpoint: Endpoint) -> Health:
    """Look at an endpoint's last attempts."""
    fields = ("endpoint", "outcome", "status_code", "reason", "duration_ms", "started_at")
    newest = endpoint.attempts.order_by("-id").only(*fields)[:ATTEMPTS_LOOKED_AT]
    attempts = list(newest)[::-1]
    lengths = [attempt.duration_ms for attempt in attempts if attempt.duration_ms is not None]
    return Health(
        cells=[Cell(TONES[Attempt.Outcome(a.outcome)], a.started_at, _told(a)) for a in attempts],
        share=share_of([attempt.outcome for attempt in attempts]),
        median=f"{statistics.median(lengths):,.0f} ms" if lengths else "",
        percentile_95=f"{_percentile_95(lengths):,.0f} ms" if lengths else "",
    )


def _percentile_95(lengths: list[int]) -> float:
    if len(lengths) == 1:
        return lengths[0]
    return statistics.quantiles(lengths, n=20, method="inclusive")[-1]


def _told(attempt: Attempt) -> str:
    said = str(attempt.status_code or attempt.reason or attempt.outcome)
    return f"{said}, {attempt.duration_ms:,} ms" if attempt.duration_ms is not None else said
