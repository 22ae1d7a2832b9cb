"""Charts, drawn by the server: stacked bars over time as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.text import slugify

Point = tuple[datetime, Mapping[str, int]]

STEP, BAR, HEIGHT = 10, 8, 100  # of the drawing, which is stretched to the width there is
SMALLEST = 1.5  # one failure among thousands is still to be seen
TICKS = 5


@dataclass(frozen=True, slots=True)
class Series:
    """What one key adds to the chart: a word, a tone, a number in all, and the outline of its bars."""

    word: str
    tone: str
    total: str
    path: str


@dataclass(frozen=True, slots=True)
class Slot:
    """Where the pointer is told of one bar."""

    x: int
    text: str


def bars(points: Sequence[Point], *, keys: Sequence[tuple[str, str]], title: str) -> SafeString:
    """Draw counts over time as stacked bars, the first key at the bottom.

    `points` are (when a step begins, counts by key), the oldest first and evenly spaced; `keys` are (key, tone).
    """
    most = max((_sum(counts, keys) for _, counts in points), default=0)
    top = nice_top(most)
    return render_to_string(
        "admin/parts/chart.html",
        {
            "title": title,
            "slug": slugify(title),
            "width": max(len(points), 1) * STEP,
            "height": HEIGHT,
            "series": _outlined(points, keys, top),
            "slots": _slots(points, keys),
            "ticks": _ticks(points),
            "top": f"{top:,}",
            "half": f"{top // 2:,}" if top % 2 == 0 else "",
            "summary": summary(points, keys=keys, title=title),
            "is_empty": most == 0,
        },
    )


def nice_top(most: int) -> int:
    """The next number of 1, 2, 3, 4, 6 or 8 times a power of ten: one digit, and the middle of the scale is short too."""
    if most <= 2:
        return 2
    power: int = 10 ** int(math.log10(most))
    return next(step * power for step in (1, 2, 3, 4, 6, 8, 10) if step * power >= most)


def summary(points: Sequence[Point], *, keys: Sequence[tuple[str, str]], title: str) -> str:
    """The chart in words, for those who do not see it."""
    if not points or not any(_sum(counts, keys) for _, counts in points):
        return f"{title}: nothing in this time."
    totals = ", ".join(f"{word} {_total(points, word):,}" for word, _ in keys)
    at, counts = max(points, key=lambda point: _sum(point[1], keys))
    return f"{title}: {totals}. Most, {_sum(counts, keys):,}, from {at:%Y-%m-%d %H:%M} UTC on."


def _outlined(points: Sequence[Point], keys: Sequence[tuple[str, str]], top: int) -> list[Series]:
    paths: dict[str, list[str]] = {word: [] for word, _ in keys}
    for index, (_, counts) in enumerate(points):
        stacked = 0.0
        for word, height in _heights(counts, keys, top):
            stacked += height
            paths[word].append(f"M{index * STEP + 1} {HEIGHT - stacked:.1f}h{BAR}v{height:.1f}h-{BAR}z")
    return [Series(word, tone, f"{_total(points, word):,}", "".join(paths[word])) for word, tone in keys]


def _heights(counts: Mapping[str, int], keys: Sequence[tuple[str, str]], top: int) -> list[tuple[str, float]]:
    """How high each part of a bar is, but for those of nothing; together no higher than the chart."""
    parts = [
        (word, max(counts[word] * HEIGHT / top, SMALLEST)) for word, _ in keys if counts.get(word, 0) > 0
    ]
    scale = min(HEIGHT / max(sum(height for _, height in parts), 1), 1)
    return [(word, height * scale) for word, height in parts]


def _slots(points: Sequence[Point], keys: Sequence[tuple[str, str]]) -> list[Slot]:
    length = _step_of(points)
    return [
        Slot(index * STEP, f"{at:%Y-%m-%d %H:%M}–{at + length:%H:%M} UTC: {_counts(counts, keys)}")
        for index, (at, counts) in enumerate(points)
        if _sum(counts, keys)
    ]


def _ticks(points: Sequence[Point]) -> list[tuple[datetime, str]]:
    """A few times under the chart; days, where it spans some."""
    if len(points) < 2:
        return [(at, f"{at:%H:%M}") for at, _ in points]
    is_long = points[-1][0] - points[0][0] > timedelta(days=2)
    every = (len(points) - 1) / (TICKS - 1)
    times = [points[round(index * every)][0] for index in range(TICKS)]
    return [(at, f"{at:%a %-d}" if is_long else f"{at:%H:%M}") for at in times]


def _step_of(points: Sequence[Point]) -> timedelta:
    return points[1][0] - points[0][0] if len(points) > 1 else timedelta(0)


def _counts(counts: Mapping[str, int], keys: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{word} {counts.get(word, 0):,}" for word, _ in keys)


def _sum(counts: Mapping[str, int], keys: Sequence[tuple[str, str]]) -> int:
    return sum(counts.get(word, 0) for word, _ in keys)


def _total(points: Sequence[Point], word: str) -> int:
    return sum(counts.get(word, 0) for _, counts in points)
