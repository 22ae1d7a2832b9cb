"""How soon the job of a killed process runs again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import psycopg
from django.conf import settings

from benchmarks.database import empty_tables
from benchmarks.processes import cluster
from jobs.models import Job
from jobs.queue.enqueue import enqueue_job

PATIENCE_SECONDS = 120.0


def measure(*, is_quick: bool) -> dict[str, float]:
    """Kill a process of the cluster while it runs a job; the lease alone says when that is noticed."""
    empty_tables()
    with cluster() as process:
        with _keys_nobody_can_read():
            job_id = enqueue_job("system.apply_retention")
            process.wait_until(lambda: _is_running(job_id, attempt=1), seconds=PATIENCE_SECONDS)
            killed_at = time.time()
            os.kill(_pid_of(job_id), signal.SIGKILL)
            process.wait_until(lambda: _is_running(job_id, attempt=2), seconds=PATIENCE_SECONDS)
        process.wait_until(lambda: _is_completed(job_id), seconds=PATIENCE_SECONDS)
    started_at = Job.objects.get(pk=job_id).started_at
    assert started_at is not None
    return {"recovery_s": started_at.timestamp() - killed_at}


@contextmanager
def _keys_nobody_can_read() -> Iterator[None]:
    """Lock the table of idempotency keys: the job that looks for old ones runs until the block ends."""
    with psycopg.connect(
        settings.DATABASE_URL
    ) as other:  # not Django's connection: jobs are enqueued on that
        other.execute("LOCK TABLE jobs_idempotencykey IN ACCESS EXCLUSIVE MODE")
        yield


def _is_running(job_id: UUID, *, attempt: int) -> bool:
    return Job.objects.filter(pk=job_id, status=Job.Status.RUNNING, attempt=attempt).exists()


def _is_completed(job_id: UUID) -> bool:
    return Job.objects.filter(pk=job_id, status=Job.Status.COMPLETED, attempt=2).exists()


def _pid_of(job_id: UUID) -> int:
    """The process that runs the job: a cluster's workers are named `<queue>@<host>:<pid>`."""
    return int(Job.objects.get(pk=job_id).worker.rpartition(":")[2])
