"""Buckets: percentiles read from them are as good as a bucket is narrow."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.rollups.buckets import BOUNDS, bounds_of, bucket_of, percentile

DURATIONS = st.floats(min_value=-5, max_value=BOUNDS[-1] * 3)
SHARES = st.floats(min_value=0, max_value=1)


@given(DURATIONS)
def test_a_duration_lies_within_the_bounds_of_its_bucket(seconds: float) -> None:
    lower, upper = bounds_of(bucket_of(seconds))

    assert lower <= max(seconds, 0.0) < upper


def test_buckets_meet_and_grow_by_the_root_of_two() -> None:
    for bucket in range(1, len(BOUNDS)):
        lower, upper = bounds_of(bucket)
        assert bounds_of(bucket - 1)[1] == lower
        assert upper / lower == pytest.approx(math.sqrt(2))
    assert bounds_of(0) == (0.0, 0.001)
    assert bounds_of(len(BOUNDS))[1] == math.inf


@given(st.lists(DURATIONS, min_size=1), SHARES)
def test_a_percentile_lies_in_the_bucket_of_the_true_one(durations: list[float], share: float) -> None:
    counts = Counter(bucket_of(seconds) for seconds in durations)
    place = max(math.ceil(share * len(durations)), 1)
    true = sorted(durations)[place - 1]

    found = percentile(counts, share)

    assert found is not None
    lower, upper = bounds_of(bucket_of(true))
    assert lower <= found <= upper
    assert math.isfinite(found)


@given(st.dictionaries(st.integers(0, len(BOUNDS)), st.integers(0, 10_000)), SHARES, SHARES)
def test_a_larger_share_takes_no_less_time(counts: dict[int, int], one: float, other: float) -> None:
    low, high = (percentile(counts, share) for share in sorted((one, other)))

    if low is None or high is None:
        assert not sum(counts.values())
    else:
        assert low <= high


def test_of_nothing_there_is_no_percentile() -> None:
    assert percentile({}, 0.5) is None
    assert percentile({3: 0}, 0.5) is None


def test_within_a_bucket_the_place_decides() -> None:
    lower, upper = bounds_of(20)

    assert percentile({20: 100}, 0.5) == pytest.approx((lower + upper) / 2)
    assert percentile({20: 100}, 1.0) == pytest.approx(upper)
    assert percentile({5: 99, 20: 1}, 0.99) == pytest.approx(bounds_of(5)[1])
