"""Runs in-house jobs: claims for a process that is free, runs the handlers, stores the outcomes.

django-q2's workers call `work()`. It claims for itself, so nothing claimed ever waits in a pipe: a job is
under a lease only while a process runs it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from django_q.conf import Conf

from config.logging import HOSTNAME
from config.tracing import Trace, bound_trace
from jobs.errors import DomainError
from jobs.models import Job
from jobs.models.jobs import PLATFORM
from jobs.queue import draining
from jobs.queue.claim import Lease, claim_in_house, first_in_turn
from jobs.queue.companions import start_companions
from jobs.queue.envelope import JobEnvelope, JobStopped
from jobs.queue.finish import finish
from jobs.queue.handlers import Handler, PermanentError, TryAgain, find_handler
from jobs.queue.leases import LeaseKeeper
from jobs.queue.outcomes import Outcome, failed_or_retried, make_error, policy_of
from jobs.services.attempts import Attempt
from jobs.statements import AWAY

logger = logging.getLogger(__name__)

# A turn ends after this long even when more is due, so that django-q2 can recycle or stop the process.
TURN_SECONDS = 1.0
# Outcomes of a batch are stored at least this often, so that a slow neighbour doesn't keep them back.
STORE_EVERY_SECONDS = 0.2
# A handler that ignores its timeout (or sits in C code) has this long before its process is ended.
GRACE_SECONDS = 5.0
SLACK_SECONDS = 1.0
# While the database is away an outcome is offered again for as long as its lease can still be live.
STORE_RETRY_SECONDS = 0.5


class JobTimedOut(KeyboardInterrupt):
    """Raised inside a handler that has run for its timeout; not an Exception, so that few swallow it.

    Being a KeyboardInterrupt, it makes psycopg cancel the statement that the handler waits for, so that the
    connection can be used again.
    """


# Stands around a handler that may run for so many seconds.
Guard = Callable[[float], AbstractContextManager[object]]

_to_json = json.JSONEncoder(allow_nan=False).encode
_keepers: dict[int, LeaseKeeper] = {}
# By queue, the tenant whose turn it was last.
_served: dict[str, UUID] = {}


def this_keeper(queue: str) -> LeaseKeeper:
    """This process's lease keeper; a forked child makes its own."""
    pid = os.getpid()
    if pid not in _keepers:
        _keepers.clear()
        _keepers[pid] = LeaseKeeper(worker=f"{queue}@{HOSTNAME}:{pid}", queue=queue)
    return _keepers[pid]


def stop_keeper() -> None:
    """End this process's lease keeper (for a process that goes on with something else, as tests do)."""
    for keeper in _keepers.values():
        keeper.stop()
    _keepers.clear()


def work(queue: str) -> None:
    """Run what is due in `queue` for about a second. Never raises: django-q2 could do nothing about it."""
    try:
        with draining.turn:
            run_due_jobs(queue, seconds=TURN_SECONDS)
    except AWAY:
        logger.warning("queue turn ended by the database", exc_info=True)
        connection.close()
    except BaseException:
        logger.exception("queue turn failed")


def run_due_jobs(queue: str, *, seconds: float = float("inf")) -> int:
    """Claim and run batches until nothing is due, `seconds` have passed or no more may be taken up.

    Returns how many jobs were run.
    """
    keeper = this_keeper(queue)
    end = time.monotonic() + seconds
    count = 0
    while not draining.has_begun():
        after = _served.get(queue, PLATFORM)
        rows = claim_in_house(queue, keeper.worker, after=after)
        if not rows:
            break
        _served[queue] = first_in_turn(rows, after)
        run_batch(rows, keeper, HardLimit())
        count += len(rows)
        if time.monotonic() >= end:
            break
    return count


def run_batch(rows: list[Any], keeper: LeaseKeeper, limits: AbstractContextManager[Guard]) -> None:
    """Run claimed jobs one after the other, each under a guard of `limits`; store their outcomes together."""
    leases = [Lease(row.id, row.lease_token) for row in rows]
    keeper.hold(leases)
    outcomes: list[Outcome] = []
    stored_at = time.monotonic()
    try:
        with limits as guard:
            for row, lease in zip(rows, leases, strict=True):
                if keeper.has_lost(lease):
                    logger.warning("lease lost before the work began", extra={"jobId": str(row.id)})
                    continue
                outcomes.append(run_job(row, lease, keeper, guard))
                if time.monotonic() - stored_at > STORE_EVERY_SECONDS:
                    store(outcomes)
                    outcomes, stored_at = [], time.monotonic()
        store(outcomes)
    finally:
        keeper.let_go(leases)


def store(outcomes: list[Outcome]) -> None:
    """Store outcomes, waiting for a database that is away as long as one of their leases."""
    if not outcomes:
        return
    end = time.monotonic() + settings.LEASE_SECONDS
    while True:
        try:
            finished = finish(outcomes)
            break
        except AWAY:
            if time.monotonic() > end:
                raise
            logger.warning("outcomes not stored yet", exc_info=True)
            connection.close()
            time.sleep(STORE_RETRY_SECONDS)
    for outcome in outcomes:
        if outcome.lease.job_id not in finished:
            logger.warning("outcome came too late", extra={"jobId": str(outcome.lease.job_id)})


def run_job(row: Any, lease: Lease, keeper: LeaseKeeper, guard: Guard) -> Outcome:
    """Run one claimed job and say how it ended; whatever its handler raises is its outcome."""
    began = time.perf_counter()
    trace = Trace(row.trace_id, row.request_id)
    tenant_id = str(row.tenant_id) if row.tenant_id else None
    with bound_trace(trace, tenantId=tenant_id, actorId=row.actor_id or None):
        outcome = _outcome(row, lease, keeper, guard)
        _log(row, outcome, time.perf_counter() - began)
    return outcome


def _outcome(row: Any, lease: Lease, keeper: LeaseKeeper, guard: Guard) -> Outcome:
    handler = find_handler(row.kind)
    if handler is None:
        # A newer release may have enqueued it; another host may know it.
        error = make_error("unknown_kind", f"No handler is registered for {row.kind!r} here.")
        return failed_or_retried(row, lease, error, policy=policy_of(row))
    try:
        with guard(row.timeout_seconds):
            result = handler.run(_envelope(row, handler, lambda: keeper.is_stopped(lease)))
        _to_json(result)  # raises for what could not be stored
        return Outcome(lease=lease, status=Job.Status.COMPLETED, result=result)
    except JobTimedOut:
        error = make_error("timed_out", f"The attempt ran longer than {row.timeout_seconds} s.")
        return failed_or_retried(row, lease, error, policy=policy_of(row))
    except JobStopped:
        if keeper.is_cancelled(lease):
            error = make_error("cancelled", "Its handler stopped at a checkpoint, as was asked.")
            return Outcome(lease=lease, status=Job.Status.CANCELLED, error=error)
        # Its lease is lost, so that this will not be stored; or nobody has asked for it.
        error = make_error("stopped", "Its handler stopped as if it had been cancelled.")
        return failed_or_retried(row, lease, error, policy=policy_of(row))
    except (PermanentError, DomainError) as refused:
        error = make_error(refused.code, str(refused))
        return failed_or_retried(row, lease, error, policy=policy_of(row), is_retryable=False)
    except TryAgain as reason:
        error = make_error(reason.code, str(reason))
        return failed_or_retried(row, lease, error, policy=policy_of(row))
    except BaseException as failure:
        message = "".join(traceback.format_exception_only(failure)).strip()
        error = make_error("handler_failed", message, traceback=traceback.format_exc())
        return failed_or_retried(row, lease, error, policy=policy_of(row))


def _envelope(row: Any, handler: Handler, is_stopped: Callable[[], bool]) -> JobEnvelope[Any]:
    return JobEnvelope(
        job_id=row.id,
        attempt=row.attempt,
        tenant_id=row.tenant_id,
        actor_id=row.actor_id,
        trace_id=row.trace_id,
        request_id=row.request_id,
        payload=handler.parse(row.payload),
        is_stopped=is_stopped,
        telling=Attempt(row.id, row.attempt),
    )


def _log(row: Any, outcome: Outcome, seconds: float) -> None:
    level = logging.INFO if outcome.status == Job.Status.COMPLETED else logging.WARNING
    if not logger.isEnabledFor(level):
        return
    words = {Job.Status.QUEUED: "job failed, will be tried again"}
    extra = {
        "jobId": str(row.id),
        "jobName": row.kind,
        "attempt": row.attempt,
        "ms": round(seconds * 1000, 1),
    }
    if outcome.error:
        extra["error"] = outcome.error["code"]
    logger.log(level, words.get(outcome.status, f"job {outcome.status}"), extra=extra)  # type: ignore[call-overload]


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise JobTimedOut in the main thread after `seconds`; the caller has set raise_timed_out() up."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def let_go_of_transaction() -> None:
    """Close a connection that a handler has left inside a transaction: nothing after it would be stored."""
    if connection.connection is not None and (connection.in_atomic_block or not connection.autocommit):
        logger.warning("handler left a transaction open; it is rolled back")
        connection.in_atomic_block, connection.savepoint_ids = False, []
        connection.needs_rollback = False
        connection.close()


def raise_timed_out(signum: int, frame: FrameType | None) -> None:
    """The handler of SIGALRM."""
    raise JobTimedOut


class HardLimit:
    """The guards of a cluster: end the process that overstays a timeout and the grace, even in C code.

    faulthandler's watchdog is a C thread that needs no interpreter; it prints where the process was. The sweep
    ends the attempt as `timed_out` when its lease lapses. Setting the watchdog starts a thread, which a light
    job would feel: within SLACK_SECONDS one setting serves for several.
    """

    def __enter__(self) -> Guard:
        signal.signal(signal.SIGALRM, raise_timed_out)
        self._ends_at = 0.0
        return self.allow

    @contextlib.contextmanager
    def allow(self, seconds: float) -> Iterator[None]:
        """Give the job that begins now so long, and the grace."""
        wanted = time.monotonic() + seconds + GRACE_SECONDS
        if not wanted <= self._ends_at <= wanted + SLACK_SECONDS:
            self._ends_at = wanted + SLACK_SECONDS
            left = seconds + GRACE_SECONDS + SLACK_SECONDS
            faulthandler.dump_traceback_later(left, exit=True, file=sys.__stderr__ or 2)
        try:
            with time_limit(seconds):
                yield
        finally:
            let_go_of_transaction()

    def __exit__(self, *raised: object) -> None:
        faulthandler.cancel_dump_traceback_later()


def leave(signum: int, frame: FrameType | None) -> None:
    """The handler of SIGTERM: end this process alone, after its turn, or the next ticket's when it is idle.

    Raising here could leave the pipe's lock held, or half a ticket in it. So django-q2 is told that the process
    has outgrown its memory: it ends and replaces such a one between two tickets.
    """
    draining.leave()
    Conf.MAX_RSS = 1


def prepare_process(**_: Any) -> None:
    """Ready a freshly forked django-q2 worker: Ctrl-C is the cluster's business, SIGTERM its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, leave)
    threading.Thread(target=draining.end_with_sentinel, name="orphan-watch", daemon=True).start()
    this_keeper(Conf.CLUSTER_NAME).start()
    start_companions(Conf.CLUSTER_NAME)
    connection.ensure_connection()
