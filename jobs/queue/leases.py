"""Keeps the leases of a working process alive, and its record as a worker, from a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from uuid import UUID

from django.conf import settings
from django.db import Error, connection

from jobs.models import Job
from jobs.queue.claim import Lease, renew
from jobs.statements import run

logger = logging.getLogger(__name__)

# A handler's checkpoint learns of a cancellation this soon.
LOOK_EVERY_SECONDS = 1.0


def touch_worker(
    worker_id: str, *, tenant_id: UUID | None = None, services: Iterable[str] = (), queue: str = ""
) -> None:
    """Note that a worker was heard of."""
    run(
        "touch_worker",
        {"worker": worker_id, "tenant": tenant_id, "services": sorted(services), "queue": queue},
    )


class LeaseKeeper:
    """Renews what this process holds three times per lease, while the main thread runs handlers."""

    def __init__(self, worker: str, queue: str) -> None:
        self.worker = worker
        self.queue = queue
        self._held: dict[UUID, Lease] = {}
        # By token: the same process may hold the same job again, under another lease.
        self._lost: set[UUID] = set()
        self._cancelled: set[UUID] = set()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to renew, and to show up in the list of workers."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread; what is still held lapses."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def hold(self, leases: Iterable[Lease]) -> None:
        """Keep these leases alive from now on."""
        with self._lock:
            self._held.update((lease.job_id, lease) for lease in leases)
        self.start()

    def let_go(self, leases: Iterable[Lease]) -> None:
        """Keep them alive no longer: they have ended, or somebody else has them."""
        with self._lock:
            for lease in leases:
                if self._held.get(lease.job_id) == lease:
                    del self._held[lease.job_id]
                self._lost.discard(lease.token)
                self._cancelled.discard(lease.token)

    def has_lost(self, lease: Lease) -> bool:
        """Whether a renewal was refused: the job is no longer ours to run."""
        with self._lock:
            return lease.token in self._lost

    def is_cancelled(self, lease: Lease) -> bool:
        """Whether somebody is known to want the job stopped."""
        with self._lock:
            return lease.token in self._cancelled

    def is_stopped(self, lease: Lease) -> bool:
        """Whether the job is not to go on: somebody cancelled it, or it is no longer ours."""
        with self._lock:
            return lease.token in self._cancelled or lease.token in self._lost

    def renew_all(self) -> None:
        """Renew everything held, note what was lost, and show up in the list of workers."""
        touch_worker(self.worker, queue=self.queue)
        with self._lock:
            leases = list(self._held.values())
        if not leases:
            return
        answers = renew(leases)
        with self._lock:
            # What was let go meanwhile has ended, and is not lost.
            for lease in leases:
                if self._held.get(lease.job_id) != lease:
                    continue
                if lease.job_id not in answers:
                    self._lost.add(lease.token)
                elif answers[lease.job_id].is_cancel_requested:
                    self._cancelled.add(lease.token)

    def look_for_cancellations(self, job_ids: Iterable[UUID]) -> None:
        """Note which of these jobs somebody wants stopped."""
        wanted = Job.objects.filter(pk__in=job_ids, cancel_requested_at__isnull=False)
        found = set(wanted.values_list("pk", flat=True))
        with self._lock:
            self._cancelled |= {self._held[job_id].token for job_id in found & self._held.keys()}

    def _run(self) -> None:
        renew_every = settings.LEASE_SECONDS / 3
        renewed_at, held_before = time.monotonic(), set[UUID]()
        while not self._stopped.wait(min(LOOK_EVERY_SECONDS, renew_every)):
            with self._lock:
                held = set(self._held)
            try:
                if time.monotonic() - renewed_at >= renew_every:
                    renewed_at = time.monotonic()
                    self.renew_all()
                elif lasting := held & held_before:  # light work is over before anybody could cancel it
                    self.look_for_cancellations(lasting)
            except Error:
                # The next round tries again on a new connection; two may fail before a lease lapses.
                logger.warning("leases not renewed", exc_info=True)
                connection.close()
            held_before = held
        connection.close()
