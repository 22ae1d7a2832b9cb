"""Buckets of durations: latencies are counted by bucket, and percentiles read from the counts. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping

# Where the buckets meet, in seconds: each is sqrt(2) times the one before, from 1 ms up to 50 days.
BOUNDS = tuple(0.001 * 2 ** (step / 2) for step in range(65))


def bucket_of(seconds: float) -> int:
    """The number of the bucket that a duration falls into; clocks that disagree may make it negative."""
    return bisect_right(BOUNDS, seconds)


def bounds_of(bucket: int) -> tuple[float, float]:
    """From where to where a bucket reaches, in seconds; the last one has no end."""
    lower = BOUNDS[bucket - 1] if bucket else 0.0
    return lower, BOUNDS[bucket] if bucket < len(BOUNDS) else math.inf


def percentile(counts: Mapping[int, int], share: float) -> float | None:
    """The seconds that `share` (0 to 1) of the counted durations stay within; None where nothing was counted.

    The answer lies in the bucket of the true one: as far up in it as the place among those counted there.
    """
    total = sum(counts.values())
    place, below = max(share * total, 1.0), 0
    for bucket, count in sorted(counts.items()):
        if count and below + count >= place:
            return _within(bucket, (place - below) / count)
        below += count
    return None


def _within(bucket: int, part: float) -> float:
    lower, upper = bounds_of(bucket)
    return lower if math.isinf(upper) else lower + (upper - lower) * part
