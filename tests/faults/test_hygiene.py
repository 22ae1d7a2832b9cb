"""Processes that go through all rows, killed over and over: nothing is lost, nothing is counted twice."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from tests.faults.conftest import Platform

pytestmark = pytest.mark.faults

UNITS = 60_000
BLOATED = 3_000

# One in ten has failed. Nobody else is at work here: the rows are as they would be found after a night.
FILL_UNITS = f"""
INSERT INTO jobs_job (id, kind, service_required, queue, payload, ctx, priority, singleton_key, status, attempt,
    max_attempts, run_at, timeout_seconds, batch_size, worker, progress, trace_id, request_id, actor_id, step_name,
    is_cleanup_evaluated, status_category, problem_type, error, completed_at, failed_at)
SELECT gen_random_uuid(), 'system.ping', '', 'default', '{{}}', '{{}}', 50, '',
       CASE WHEN n % 10 = 0 THEN 'failed' ELSE 'completed' END, 1, 3, now(), 300, 1, 'w', 100, repeat('0', 32), '', '', '',
       false, '', '', CASE WHEN n % 10 = 0 THEN '{{"code": "oom", "message": "no"}}'::jsonb END,
       CASE WHEN n % 10 > 0 THEN now() END, CASE WHEN n % 10 = 0 THEN now() END
  FROM generate_series(1, {UNITS}) AS n
"""
FILL_EVENTS = f"""
INSERT INTO jobs_event (type, data)
SELECT 'log', jsonb_build_object('lines', jsonb_build_array('saved', translate(encode(
           decode((SELECT string_agg(md5(n::text || k), '') FROM generate_series(1, 256) k), 'hex'), 'base64'), E'\\n', '')))
  FROM generate_series(1, {BLOATED}) AS n
"""


@pytest.fixture
def held(platform: Platform) -> Platform:
    platform.hold()
    return platform


@pytest.fixture
def kills(is_long: bool) -> int:
    """How often it is tried to kill a process in the middle."""
    return 8 if is_long else 4


def killed(platform: Platform, *command: str, after: Any) -> bool:
    """Start a command and kill it as soon as `after` says that it is in the middle; False where it ended before."""
    process = platform.start("manage.py", *command)
    while process.poll() is None:
        if after():
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.01)
    assert process.returncode == 0
    return False


def one(platform: Platform, statement: str) -> Any:
    (row,) = platform.query(statement)
    (value,) = row.values()
    return value


def test_an_evaluator_that_is_killed_over_and_over_judges_each_unit_once(held: Platform, kills: int) -> None:
    platform = held
    platform.execute(FILL_UNITS)
    judged = "SELECT count(*) FROM jobs_job WHERE is_cleanup_evaluated"
    done = 0
    for _ in range(kills):
        before = one(platform, judged)
        done += killed(platform, "evaluate_jobs", after=lambda before=before: one(platform, judged) > before)

    platform.manage("evaluate_jobs")

    assert done >= 3, "it was too fast to be killed"
    assert one(platform, judged) == UNITS
    verdicts = platform.query(
        "SELECT status_category, problem_type, count(*) AS n FROM jobs_job GROUP BY 1, 2 ORDER BY 1"
    )
    assert [tuple(row.values()) for row in verdicts] == [
        ("complete", "", UNITS * 9 // 10),
        ("incomplete", "worker_failed", UNITS // 10),
    ]
    # what was judged by a run that was killed is recorded by none, but told of all the same: by the last
    assert one(platform, "SELECT sum(untold_count) FROM jobs_problemalert") == 0
    assert one(platform, "SELECT count(*) FROM jobs_evaluationrun WHERE finished_at IS NULL") == done


def test_a_cleaning_that_is_killed_over_and_over_cleans_each_row_once(held: Platform, kills: int) -> None:
    platform = held
    platform.execute(FILL_EVENTS)
    cleaned = "SELECT coalesce(sum(row_count), 0)::int FROM jobs_cleaning"
    before_all = one(platform, "SELECT sum(octet_length(data::text))::int FROM jobs_event")
    done = 0
    for _ in range(kills):
        before = one(platform, cleaned)
        done += killed(
            platform,
            "sanitize_base64",
            "--batch",
            "50",
            after=lambda before=before: one(platform, cleaned) > before,
        )

    platform.manage("sanitize_base64", "--batch", "50")

    assert done >= 3, "it was too fast to be killed"
    assert (
        one(platform, "SELECT count(*) FROM jobs_event WHERE data::text LIKE '%%removed base64%%'") == BLOATED
    )
    row = platform.query("SELECT * FROM jobs_cleaning WHERE \"table\" = 'jobs_event'")[0]
    after_all = one(platform, "SELECT sum(octet_length(data::text))::int FROM jobs_event")
    assert (row["row_count"], row["bytes_before"]) == (BLOATED, before_all)
    assert row["bytes_after"] == pytest.approx(after_all, rel=0.01)
    assert row["finished_at"] is not None


def test_two_evaluators_at_once_judge_each_unit_once(held: Platform) -> None:
    platform = held
    platform.execute(FILL_UNITS)

    both = [platform.start("manage.py", "evaluate_jobs") for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    platform.manage("evaluate_jobs")

    assert one(platform, "SELECT sum(evaluated_count)::int FROM jobs_evaluationrun") == UNITS
    assert one(platform, "SELECT count(*) FROM jobs_job WHERE NOT is_cleanup_evaluated") == 0
