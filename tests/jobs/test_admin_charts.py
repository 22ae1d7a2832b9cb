"""Charts: bars that say in numbers and words what they show."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.admin.charts import HEIGHT, Point, bars, nice_top, summary

KEYS = (("completed", "good"), ("failed", "bad"))
MORNING = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


def points(*counts: tuple[int, int], step: timedelta = timedelta(minutes=10)) -> list[Point]:
    return [
        (MORNING + index * step, {"completed": completed, "failed": failed})
        for index, (completed, failed) in enumerate(counts)
    ]


def heights(html: str, tone: str) -> list[float]:
    """The heights of the bars of one tone, from the left."""
    found = re.search(rf'class="bars afd-{tone}" d="([^"]*)"', html)
    return [float(height) for height in re.findall(r"v([\d.]+)h", found[1])] if found else []


def test_bars_stand_on_one_another() -> None:
    html = bars(points((30, 10), (0, 0), (10, 0)), keys=KEYS, title="Ended")

    assert heights(html, "good") == [75.0, 25.0]  # of 40, which is the top
    assert heights(html, "bad") == [25.0]
    assert 'd="M1 0.0h8v25.0h-8z"' in html  # on top of the 30
    assert ">40</span>" in html
    assert ">20</span>" in html


def test_each_bar_tells_its_time_and_numbers() -> None:
    html = bars(points((1_200, 3), (0, 0)), keys=KEYS, title="Ended")

    assert re.findall(r"<title>(.*?)</title>", html) == [
        "2026-03-02 08:00–08:10 UTC: completed 1,200, failed 3"
    ]


def test_one_failure_among_thousands_is_seen() -> None:
    html = bars(points((9_999, 1)), keys=KEYS, title="Ended")

    assert heights(html, "bad") == [1.5]  # where it stands on 99.99 %, the others make room


def test_colour_is_not_all_that_tells_failures_apart() -> None:
    html = bars(points((1, 1)), keys=KEYS, title="Ended")

    assert 'fill="url(#ended-bad)"' in html
    assert "failed <b>1</b>" in html


def test_it_is_told_in_words() -> None:
    told = summary(points((5, 1), (20, 0)), keys=KEYS, title="Ended")

    assert told == "Ended: completed 25, failed 1. Most, 20, from 2026-03-02 08:10 UTC on."
    assert f'aria-label="{told}"' in bars(points((5, 1), (20, 0)), keys=KEYS, title="Ended")


@pytest.mark.parametrize("counts", [[], [(0, 0)], [(0, 0), (0, 0)]])
def test_nothing_is_a_chart_too(counts: list[tuple[int, int]]) -> None:
    html = bars(points(*counts), keys=KEYS, title="Ended")

    assert "Nothing in this time" in html
    assert "Ended: nothing in this time." in html


@pytest.mark.parametrize(
    ("step", "first", "last"),
    [(timedelta(minutes=1), "08:00", "10:47"), (timedelta(hours=1), "Mon 2", "Mon 9")],
)
def test_days_are_named_where_it_spans_some(step: timedelta, first: str, last: str) -> None:
    html = bars(points(*[(1, 0)] * 168, step=step), keys=KEYS, title="Ended")

    ticks = re.findall(r"<time [^>]*>(.*?)</time>", html)
    assert (len(ticks), ticks[0], ticks[-1]) == (5, first, last)


def test_names_are_escaped() -> None:
    hostile = '"><script>alert(1)</script>'

    html = bars([(MORNING, {hostile: 1})], keys=[(hostile, "good")], title=hostile)

    assert "<script>" not in html


@given(st.integers(0, 10**12))
def test_the_top_of_the_scale_is_round_and_near(most: int) -> None:
    top = nice_top(most)

    assert most <= top <= max(2 * most, 2)
    assert re.fullmatch(r"[1-9]0*", str(top))


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=20))
def test_no_bar_leaves_the_chart(counts: list[tuple[int, int]]) -> None:
    html = bars(points(*counts), keys=KEYS, title="Ended")

    tops = [float(top) for top in re.findall(r"M\d+ (-?[\d.]+)h8", html)]
    assert all(0 <= top <= HEIGHT for top in tops)
