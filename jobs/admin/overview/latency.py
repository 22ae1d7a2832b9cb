"""How long work waits and runs, by kind and service."""

from __future__ import annotations

from collections import Counter
from typing import Any

from jobs.admin.overview.sight import Card, Sight
from jobs.admin.overview.tiles import Measured, Percentiles, rate_of, seconds_of
from jobs.models import Job

ROWS = 10


def latency_card(sight: Sight, measured: Measured) -> Card:
    """Those with the most attempts in the window."""
    if not sight.may_see(Job):
        return None
    attempts: Counter[str] = Counter()
    for (name, _), count in measured.ended.items():
        attempts[name] += count
    most = sorted(attempts, key=lambda name: (-attempts[name], name))[:ROWS]
    return {
        "rows": [_row(name, attempts[name], measured) for name in most],
        "left_out": max(len(attempts) - ROWS, 0),
    }


def _row(name: str, attempts: int, measured: Measured) -> dict[str, Any]:
    failed, completed = (measured.ended.get((name, word), 0) for word in ("failed", "completed"))
    return {
        "name": name,
        "attempts": f"{attempts:,}",
        "rate": rate_of(failed, completed),
        "is_bad": bool(failed) and failed * 20 >= failed + completed,
        "waited": _seconds(measured.waited, name),
        "ran": _seconds(measured.ran, name),
    }


def _seconds(percentiles: Percentiles, name: str) -> list[str]:
    return [seconds_of(seconds) for seconds in percentiles.get(name, (None, None, None))]
