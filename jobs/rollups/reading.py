"""Reads rollups and gauges for the monitor: nothing here looks at a job."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Max, Min, QuerySet, Sum
from django.utils import timezone

from jobs.models import QueueGauge, Rollup
from jobs.models.rollups import EVERYONE
from jobs.rollups.buckets import percentile

Series = list[tuple[datetime, dict[str, int]]]


@dataclass(frozen=True, slots=True)
class Window:
    """The time up to now that a chart shows, in steps of `grain` seconds."""

    name: str
    label: str
    seconds: int
    grain: int

    def steps(self, now: datetime) -> list[datetime]:
        """Where its steps begin, oldest first; the last one is under way."""
        last = int(now.timestamp()) // self.grain * self.grain
        first = last - self.seconds + self.grain
        return [datetime.fromtimestamp(at, UTC) for at in range(first, last + 1, self.grain)]


WINDOWS = {
    window.name: window
    for window in (
        Window("hour", "Last hour", 3_600, 60),
        Window("day", "Last 24 hours", 86_400, 600),
        Window("week", "Last 7 days", 604_800, 3_600),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """What a queue or service has to do: of one tenant, or summed up over all of them."""

    name: str
    is_remote: bool
    due_count: int
    later_count: int
    running_count: int
    oldest_due_at: datetime | None
    sampled_at: datetime


def series(
    scope: UUID, measure: str, window: Window, *, name: str | None = None, now: datetime | None = None
) -> Series:
    """What was counted over time, by key: every step of the window is there, oldest first."""
    steps = window.steps(now or timezone.now())
    rows = _rollups(scope, measure, window, steps)
    if name is not None:
        rows = rows.filter(name=name)
    by_step: dict[datetime, dict[str, int]] = defaultdict(dict)
    for at, key, total in rows.values_list("at", "key").annotate(total=Sum("count")):
        by_step[at][key] = total
    return [(step, by_step.get(step, {})) for step in steps]


def trends(
    scope: UUID, measure: str, window: Window, keys: Collection[str], *, now: datetime | None = None
) -> dict[str, list[int]]:
    """What was counted over time under each of these keys: every step of the window is there, oldest first."""
    steps = window.steps(now or timezone.now())
    place = {step: index for index, step in enumerate(steps)}
    found = {key: [0] * len(steps) for key in keys}
    rows = _rollups(scope, measure, window, steps).filter(key__in=keys)
    for at, key, total in rows.values_list("at", "key").annotate(total=Sum("count")):
        found[key][place[at]] = total
    return found


def totals(
    scope: UUID, measure: str, window: Window, *, now: datetime | None = None
) -> dict[tuple[str, str], int]:
    """What was counted in the window, by (name, key)."""
    rows = _rollups(scope, measure, window, window.steps(now or timezone.now()))
    summed = rows.values_list("name", "key").annotate(total=Sum("count"))
    return {(name, key): total for name, key, total in summed}


def percentiles(
    scope: UUID,
    measure: str,
    window: Window,
    shares: Sequence[float] = (0.5, 0.95, 0.99),
    *,
    now: datetime | None = None,
) -> dict[str, list[float | None]]:
    """How long things took in the window, in seconds: per share, by name; under "" over all of them."""
    buckets: dict[str, Counter[int]] = {"": Counter()}
    for (name, key), count in totals(scope, measure, window, now=now).items():
        buckets.setdefault(name, Counter())[int(key)] += count
        buckets[""][int(key)] += count
    return {name: [percentile(counts, share) for share in shares] for name, counts in buckets.items()}


def gauges(scope: UUID) -> list[Gauge]:
    """What every queue and service had to do when a cluster last looked, by name."""
    rows = QueueGauge.objects.all() if scope == EVERYONE else QueueGauge.objects.filter(scope=scope)
    summed = rows.values("name", "is_remote").annotate(
        due=Sum("due_count"),
        later=Sum("later_count"),
        running=Sum("running_count"),
        oldest=Min("oldest_due_at"),
        sampled=Max("sampled_at"),
    )
    return [
        Gauge(
            name=row["name"],
            is_remote=row["is_remote"],
            due_count=row["due"],
            later_count=row["later"],
            running_count=row["running"],
            oldest_due_at=row["oldest"],
            sampled_at=row["sampled"],
        )
        for row in summed.order_by("name", "is_remote")
    ]


def _rollups(scope: UUID, measure: str, window: Window, steps: Sequence[datetime]) -> QuerySet[Rollup, Any]:
    """The rows of a window, as the primary key finds them."""
    ends = steps[-1] + timedelta(seconds=window.grain)
    return Rollup.objects.filter(
        grain=window.grain, scope=scope, measure=measure, at__gte=steps[0], at__lt=ends
    )
