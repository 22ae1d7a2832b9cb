"""A pytest plugin for those who write handlers: `pytest_plugins = ["jobs.testing"]` in the topmost conftest.py.

The fixture `run_jobs` runs what is queued inside the test, where production has clusters do it.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from typing import Protocol
from uuid import UUID

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now
from psycopg.pq import TransactionStatus

from jobs.models import Job
from jobs.models.jobs import PLATFORM
from jobs.queue.claim import Lease, claim_in_house, first_in_turn
from jobs.queue.leases import LeaseKeeper
from jobs.queue.runner import Guard, raise_timed_out, run_batch, time_limit

# More attempts than a test can mean: a job that enqueues itself would never let it end.
MOST_ATTEMPTS = 10_000


class RunJobs(Protocol):
    """The type of the fixture `run_jobs`."""

    def __call__(self, *, include_delayed: bool = False) -> list[Job]: ...


@pytest.fixture
def run_jobs(db: None) -> RunJobs:
    """Run the in-house jobs of every queue until nothing more is due, and return those that ran.

    They run in the test's process and transaction, and so do the jobs they enqueue. With `include_delayed`
    what is due later (a retry, a `run_at`) runs too, the earliest first. The answer is fresh from the
    database, one entry per job, in the order in which they ended; what a handler raised is its job's `error`.
    """
    return _run_jobs


def _run_jobs(*, include_delayed: bool = False) -> list[Job]:
    keeper = _Keeper(worker="run_jobs", queue="")
    served = dict.fromkeys(settings.QUEUES, PLATFORM)
    ended: list[UUID] = []
    while _run_one_batch(keeper, served, ended) or (include_delayed and _hurry()):
        if len(ended) > MOST_ATTEMPTS:
            raise RuntimeError(f"After {len(ended)} attempts more is due: does a job enqueue itself?")
    last = {job_id: place for place, job_id in enumerate(ended)}
    return sorted(Job.objects.filter(pk__in=last), key=lambda job: last[job.pk])


def _run_one_batch(keeper: _Keeper, served: dict[str, UUID], ended: list[UUID]) -> bool:
    """Run the next batch of the first queue that has one; `served` names the tenant each served last."""
    for queue, after in served.items():
        if rows := claim_in_house(queue, keeper.worker, after=after):
            served[queue] = first_in_turn(rows, after)
            run_batch(rows, keeper, _guards())
            ended += [row.id for row in rows]
            return True
    return False


def _hurry() -> bool:
    """Make the job that is due next due at once; False when none is due later."""
    later = Job.objects.filter(status=Job.Status.QUEUED, service_required="", run_at__gt=Now())
    following = later.order_by("run_at", "pk").values("pk")[:1]
    return bool(Job.objects.filter(pk__in=following).update(run_at=Now()))


class _Keeper(LeaseKeeper):
    """Holds leases without a thread, which would look over a connection that can't see the test's rows."""

    def start(self) -> None:
        """Nothing renews: no test runs the sweep that would take a lapsed lease."""

    def is_stopped(self, lease: Lease) -> bool:
        self.look_for_cancellations([lease.job_id])
        return super().is_stopped(lease)


@contextlib.contextmanager
def _guards() -> Iterator[Guard]:
    """Timeouts by SIGALRM where a signal can reach the handler; what had set it before gets it back."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda seconds: _own_failures()
        return
    began = time.monotonic()
    before = signal.signal(signal.SIGALRM, raise_timed_out)
    left, interval = signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        yield _guard
    finally:
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - began), 0.001), interval)


@contextlib.contextmanager
def _guard(seconds: float) -> Iterator[None]:
    with _own_failures(), time_limit(seconds):
        yield


@contextlib.contextmanager
def _own_failures() -> Iterator[None]:
    """Let a statement that fails outside `atomic()` cost the handler its writes, and the test nothing.

    In production the handler has no transaction around it, and only the statement itself is undone.
    """
    savepoint = transaction.savepoint()
    try:
        yield
    finally:
        if connection.needs_rollback or _is_aborted():
            connection.needs_rollback = False  # or the next statement, this very rollback, would be refused
            transaction.savepoint_rollback(savepoint)
        else:
            transaction.savepoint_commit(savepoint)


def _is_aborted() -> bool:
    connection.ensure_connection()
    return bool(connection.connection.info.transaction_status == TransactionStatus.INERROR)
