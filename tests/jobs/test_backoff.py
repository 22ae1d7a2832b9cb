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


def test_a_jobs_own_list_takes_the_place_of_the_kinds_formula_and_attempts() -> None:
    policy = RetryPolicy(max_attempts=5, delay_seconds=60, jitter=0).overridden_by({"delays": [1, 2]})

    assert (policy.attempts, policy.delay_after(1), policy.delay_after(2)) == (3, 1, 2)


def test_a_jobs_own_formula_takes_the_place_of_the_kinds_list() -> None:
    policy = RetryPolicy(delays=(1, 2), jitter=0).overridden_by({"delay_seconds": 7})

    assert (policy.attempts, policy.delay_after(1)) == (None, 7)


def test_a_jobs_own_jitter_leaves_the_kinds_list() -> None:
    policy = RetryPolicy(delays=(10,), jitter=0.5).overridden_by({"jitter": 0})

    assert (policy.attempts, policy.delay_after(1)) == (2, 10)


def test_a_job_that_says_nothing_has_its_kinds_policy() -> None:
    policy = RetryPolicy(delays=(10,))

    assert policy.overridden_by(None) is policy
