"""How many jobs one process can add in a second, one by one and in bulk, every call durable."""

from __future__ import annotations

import time
from statistics import median

from benchmarks.database import empty_tables, query
from benchmarks.jobs import CHUNK, KIND, fill_queue, the_tenant
from jobs.queue.enqueue import enqueue_job


def measure(*, is_quick: bool) -> dict[str, float]:
    """Enqueue one by one and in thousands, in turns."""
    rounds, single, bulk = (2, 100, 2 * CHUNK) if is_quick else (7, 500, 10 * CHUNK)
    _enqueue_singly(100)  # connect, prepare, begin the announcer's thread
    empty_tables()
    one_by_one, in_bulk = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        _enqueue_singly(single)
        one_by_one.append(single / (time.perf_counter() - began))
        began = time.perf_counter()
        fill_queue(bulk)
        in_bulk.append(bulk / (time.perf_counter() - began))
    _check_queued(rounds * (single + bulk))
    return {"enqueue_per_s": median(one_by_one), "bulk_enqueue_per_s": median(in_bulk)}


def _enqueue_singly(count: int) -> None:
    tenant = the_tenant()
    for _ in range(count):
        enqueue_job(KIND, tenant_id=tenant.pk)


def _check_queued(count: int) -> None:
    queued = query("SELECT count(*) FROM jobs_job WHERE kind = %s AND status = 'queued'", KIND)[0]
    assert queued == count, f"{count} jobs were enqueued, {queued} are in the queue"
