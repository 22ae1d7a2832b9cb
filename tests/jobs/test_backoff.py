"""Retry delays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.queue.backoff import RetryPolicy


def test_delays_double_up_to_the_cap() -> None:
    policy = RetryPolicy(delay_seconds=60, backoff=2, cap_seconds=200, jitter=0)

    assert [policy.delay_after(n) for n in (1, 2, 3, 4)] == [60, 120, 200, 200]


def test_an_explicit_list_is_followed_and_its_end_repeats() -> None:
    policy = RetryPolicy(delays=(0, 5, 300), jitter=0)

    assert [policy.delay_after(n) for n in (1, 2, 3, 4)] == [0, 5, 300, 300]


@given(
    failures=st.integers(1, 10_000),
    delay=st.floats(0, 1e4),
    backoff=st.floats(1, 10),
    jitter=st.floats(0, 1),
)
def test_jitter_only_ever_adds(failures: int, delay: float, backoff: float, jitter: float) -> None:
    plain = RetryPolicy(delay_seconds=delay, backoff=backoff, jitter=0).delay_after(failures)

    spread = RetryPolicy(delay_seconds=delay, backoff=backoff, jitter=jitter).delay_after(failures)

    assert plain <= spread <= plain * (1 + jitter) + 1e-9


@pytest.mark.parametrize("failures", [1, 1_000_000])
def test_no_count_of_failures_overflows(failures: int) -> None:
    assert RetryPolicy().delay_after(failures) <= 3600 * 1.2
