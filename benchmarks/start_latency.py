"""How soon a lone job starts in an idle cluster."""

from __future__ import annotations

import random
import time
from statistics import median, quantiles
from uuid import UUID

from benchmarks.database import empty_tables, query
from benchmarks.jobs import KIND, are_all_ended, check_all_attested, the_tenant
from benchmarks.processes import cluster
from jobs.queue.enqueue import enqueue_job

WARM_UP = 20  # every process of the cluster has then connected and prepared its statements
PATIENCE_SECONDS = 60.0


def measure(*, is_quick: bool) -> dict[str, float]:
    """Enqueue jobs one at a time, each after a random pause.

    From the call of enqueue_job() to `completed_at`, the moment the outcome of a job that does nothing is
    stored: its handler has started before that, so this is a bound from above. One host, so one clock.
    """
    count = 40 if is_quick else 200
    empty_tables()
    with cluster() as process:
        _enqueue_slowly(WARM_UP)
        process.wait_until(are_all_ended, seconds=PATIENCE_SECONDS)
        called_at = _enqueue_slowly(count)
        process.wait_until(are_all_ended, seconds=PATIENCE_SECONDS)
    check_all_attested(WARM_UP + count)
    millis = [(_ended_at(job_id) - called) * 1000 for job_id, called in called_at.items()]
    return {"start_latency_p50_ms": median(millis), "start_latency_p95_ms": quantiles(millis, n=20)[-1]}


def _enqueue_slowly(count: int) -> dict[UUID, float]:
    """Enqueue `count` jobs and return when each call was made, in seconds since 1970."""
    tenant = the_tenant()
    called_at = {}
    for _ in range(count):
        time.sleep(random.uniform(0.02, 0.06))
        called = time.time()
        called_at[enqueue_job(KIND, tenant_id=tenant.pk)] = called
    return called_at


def _ended_at(job_id: UUID) -> float:
    return float(query("SELECT extract(epoch FROM completed_at) FROM jobs_job WHERE id = %s", job_id)[0])
