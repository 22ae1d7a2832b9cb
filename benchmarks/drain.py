"""How fast a cluster empties a full queue, and what share that is of raw SQL doing the same writes."""

from __future__ import annotations

from statistics import median

from benchmarks.database import empty_tables, query, settle_tables
from benchmarks.jobs import KIND, are_all_ended, check_all_attested, fill_queue
from benchmarks.processes import cluster, running
from jobs.queue.handlers import get_handler

PROCESSES = 2
PATIENCE_SECONDS = 300.0


def measure(*, is_quick: bool) -> dict[str, float]:
    """Drain by raw SQL and by a cluster in turns, two processes each."""
    count, rounds = (4_000, 1) if is_quick else (30_000, 5)
    floor, ours = [], []
    for _ in range(rounds):
        floor.append(_rate_of_floor(count))
        ours.append(_rate_of_cluster(count))
    return {
        "drain_jobs_per_s": median(ours),
        "drain_share_of_floor": median(ours) / median(floor),
    }


def _rate_of_cluster(count: int) -> float:
    _prepare(count)
    with cluster(workers=PROCESSES) as process:
        process.wait_until(are_all_ended, seconds=PATIENCE_SECONDS, pause=0.25)
    return _rate(count)


def _rate_of_floor(count: int) -> float:
    _prepare(count)
    command = ["-m", "benchmarks.floor", str(get_handler(KIND).batch_size)]
    with running(*command) as first, running(*command) as second:
        first.wait_for_end(seconds=PATIENCE_SECONDS)
        second.wait_for_end(seconds=PATIENCE_SECONDS)
    return _rate(count)


def _prepare(count: int) -> None:
    empty_tables()
    fill_queue(count)
    settle_tables()


def _rate(count: int) -> float:
    """Jobs per second on the database's clock, from the first claim to the last outcome."""
    check_all_attested(count)
    seconds = query(
        "SELECT extract(epoch FROM max(completed_at) - min(started_at))::float8 FROM jobs_job WHERE kind = %s",
        KIND,
    )[0]
    return count / float(seconds)
