"""The figures on top of the overview: what goes on now, and what came of the window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.urls import reverse

from jobs.admin.displays import badge, span
from jobs.admin.overview.sight import Sight
from jobs.models import Job
from jobs.rollups.reading import Gauge

Percentiles = Mapping[str, Sequence[float | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was read of the rollups and gauges, once for all cards."""

    ended: Mapping[tuple[str, str], int]  # attempts by (kind or service, how they ended)
    waited: Percentiles
    ran: Percentiles
    gauges: Sequence[Gauge]

    def ended_as(self, *words: str) -> int:
        return sum(count for (_, word), count in self.ended.items() if word in words)


def tiles(sight: Sight, measured: Measured) -> list[dict[str, Any]]:
    """What an account that sees jobs gets to see."""
    if not sight.may_see(Job):
        return []
    gauges = measured.gauges
    due = sum(gauge.due_count for gauge in gauges)
    oldest = min((gauge.oldest_due_at for gauge in gauges if gauge.oldest_due_at), default=None)
    waiting_for = span(max(sight.now - oldest, timedelta(0))) if oldest else "–"
    completed, failed = measured.ended_as("completed"), measured.ended_as("failed")
    during = sight.window.label.lower()
    return [
        _tile("running", f"{sum(gauge.running_count for gauge in gauges):,}", "now", jobs_url("running")),
        _tile("queued", f"{due:,}", "due now", jobs_url("queued")),
        _tile("oldest due", waiting_for, "so long", jobs_url("queued")),
        _tile("completed", f"{completed:,}", during, jobs_url("completed", created=sight.window.name)),
        _tile("failed", f"{failed:,}", during, jobs_url("failed", created=sight.window.name)),
        _tile("failure rate", rate_of(failed, completed), during, "#errors", _tone_of(failed, completed)),
        _tile("p95 wait", seconds_of(_p95(measured.waited)), "due to begun", "#latency"),
        _tile("p95 run", seconds_of(_p95(measured.ran)), "begun to ended", "#latency"),
    ]


def jobs_url(status: str, **query: str) -> str:
    more = "".join(f"&{name}={value}" for name, value in query.items())
    return f"{reverse('admin:jobs_job_changelist')}?status__exact={status}{more}"


def rate_of(failed: int, completed: int) -> str:
    """The share of what has ended that failed; a little is never called nothing."""
    if not failed + completed:
        return "–"
    percent = 100 * failed / (failed + completed)
    if 0 < percent < 0.1:
        return "< 0.1 %"
    return f"{percent:.1f} %" if 0 < percent < 10 else f"{percent:.0f} %"


def seconds_of(seconds: float | None) -> str:
    """A latency in three digits or so: 12 ms, 1.4 s, 2 min 5 s."""
    if seconds is None:
        return "–"
    if seconds < 0.9995:
        return f"{seconds * 1_000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1_000:.1f} ms"
    return span(timedelta(seconds=seconds))


def _p95(percentiles: Percentiles) -> float | None:
    return percentiles.get("", (None, None, None))[1]


def _tone_of(failed: int, completed: int) -> str:
    return "bad" if failed and failed * 20 >= failed + completed else ""


def _tile(word: str, figure: str, note: str, url: str, tone: str = "") -> dict[str, Any]:
    return {"key": word, "badge": badge(word), "figure": figure, "note": note, "url": url, "tone": tone}
