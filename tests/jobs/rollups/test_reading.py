"""Reading rollups: every step of a window is there, and nothing of another scope."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from jobs.models import Measure, QueueGauge, Rollup
from jobs.models.jobs import PLATFORM
from jobs.models.rollups import EVERYONE
from jobs.rollups.buckets import bounds_of, bucket_of
from jobs.rollups.reading import WINDOWS, gauges, percentiles, series, totals, trends

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 4, 10, 37, 42, tzinfo=UTC)
HOUR = WINDOWS["hour"]


def make_rollup(at: datetime, count: int = 1, **fields: Any) -> Rollup:
    given = {
        "grain": 60,
        "scope": EVERYONE,
        "measure": Measure.ENDED,
        "name": "artgen",
        "key": "completed",
        **fields,
    }
    return Rollup.objects.create(at=at, count=count, **given)


@pytest.mark.parametrize(("name", "steps", "begins"), [("hour", 60, 36), ("day", 144, 20), ("week", 168, 0)])
def test_a_window_ends_with_the_step_that_is_under_way(name: str, steps: int, begins: int) -> None:
    window = WINDOWS[name]

    found = window.steps(NOW)

    assert len(found) == steps
    assert found[-1] <= NOW < found[-1] + timedelta(seconds=window.grain)
    assert all(
        later - earlier == timedelta(seconds=window.grain)
        for earlier, later in zip(found, found[1:], strict=False)
    )
    assert found[0].timestamp() % window.grain == 0


def test_a_series_has_every_step_and_sums_names() -> None:
    this, before = NOW.replace(second=0), NOW.replace(minute=36, second=0)
    make_rollup(this, 3)
    make_rollup(this, 4, name="upscale")
    make_rollup(this, 2, key="failed")
    make_rollup(before, 5)
    make_rollup(NOW.replace(second=0) - timedelta(hours=1), 100)  # one step too old
    make_rollup(this, 100, grain=600)
    make_rollup(this, 100, scope=uuid4())
    make_rollup(this, 100, measure=Measure.ERROR)

    found = series(EVERYONE, Measure.ENDED, HOUR, now=NOW)

    assert len(found) == 60
    assert found[-1] == (this, {"completed": 7, "failed": 2})
    assert found[-2] == (before, {"completed": 5})
    assert all(counts == {} for _, counts in found[:-2])


def test_a_series_may_be_of_one_name() -> None:
    this = NOW.replace(second=0)
    make_rollup(this, 3)
    make_rollup(this, 4, name="upscale")

    assert series(EVERYONE, Measure.ENDED, HOUR, name="upscale", now=NOW)[-1] == (this, {"completed": 4})


def test_totals_are_by_name_and_key() -> None:
    for minutes in (0, 5, 59):
        make_rollup(NOW.replace(second=0) - timedelta(minutes=minutes), 2)
    make_rollup(NOW.replace(second=0), 9, key="failed", name="upscale")

    found = totals(EVERYONE, Measure.ENDED, HOUR, now=NOW)

    assert found == {("artgen", "completed"): 6, ("upscale", "failed"): 9}


def test_trends_are_by_key_with_zeros() -> None:
    this = NOW.replace(second=0)
    make_rollup(this, 3, key="a")
    make_rollup(this - timedelta(minutes=2), 4, key="a")
    make_rollup(this, 9, key="c")

    found = trends(EVERYONE, Measure.ENDED, HOUR, ["a", "b"], now=NOW)

    assert found == {"a": [0] * 57 + [4, 0, 3], "b": [0] * 60}


def test_percentiles_are_of_each_name_and_of_all() -> None:
    this = NOW.replace(second=0)
    fast, slow = bucket_of(0.01), bucket_of(30)
    make_rollup(this, 90, measure=Measure.RAN, key=str(fast))
    make_rollup(this, 10, measure=Measure.RAN, key=str(slow), name="upscale")

    found = percentiles(EVERYONE, Measure.RAN, HOUR, (0.5, 0.95), now=NOW)

    assert set(found) == {"", "artgen", "upscale"}
    for name, bucket in (("artgen", fast), ("upscale", slow)):
        assert all(bounds_of(bucket)[0] < (each or 0) <= bounds_of(bucket)[1] for each in found[name])
    half, most = found[""]
    assert half is not None
    assert most is not None
    assert bounds_of(fast)[0] < half <= bounds_of(fast)[1]
    assert bounds_of(slow)[0] < most <= bounds_of(slow)[1]


def test_of_nothing_there_are_no_percentiles() -> None:
    assert percentiles(EVERYONE, Measure.RAN, HOUR, now=NOW) == {"": [None, None, None]}


def make_gauge(scope: UUID, name: str = "default", **fields: Any) -> QueueGauge:
    given = {
        "is_remote": False,
        "due_count": 1,
        "later_count": 2,
        "running_count": 3,
        "sampled_at": NOW,
        **fields,
    }
    return QueueGauge.objects.create(scope=scope, name=name, **given)


def test_gauges_are_a_tenants_own_or_summed_over_all() -> None:
    mine, oldest = uuid4(), NOW - timedelta(hours=1)
    make_gauge(mine)
    make_gauge(PLATFORM, due_count=10, oldest_due_at=oldest)
    make_gauge(PLATFORM, name="artgen", is_remote=True)

    everyones, own = gauges(EVERYONE), gauges(mine)

    assert [
        (each.name, each.is_remote, each.due_count, each.later_count, each.running_count)
        for each in everyones
    ] == [
        ("artgen", True, 1, 2, 3),
        ("default", False, 11, 4, 6),
    ]
    assert everyones[1].oldest_due_at == oldest
    assert [(each.name, each.due_count, each.oldest_due_at) for each in own] == [("default", 1, None)]


@pytest.mark.parametrize("read", [series, totals, percentiles])
def test_each_is_one_statement(read: Any, statements: list[str]) -> None:
    read(EVERYONE, Measure.RAN, WINDOWS["week"])

    assert len(statements) == 1
