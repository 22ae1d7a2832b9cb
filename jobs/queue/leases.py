"""Keeps the leases of a working process alive, and its record as a worker, from a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from uuid import UUID

from django.conf import settings
from django.db import Error, connection

from jobs.queue.claim import Lease, renew
from jobs.statements import run

logger = logging.getLogger(__name__)


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
        self._lost: set[UUID] = set()
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
        gone = {lease.job_id for lease in leases}
        with self._lock:
            for job_id in gone:
                self._held.pop(job_id, None)
            self._lost -= gone

    def has_lost(self, lease: Lease) -> bool:
        """Whether a renewal was refused: the job is no longer ours to run."""
        with self._lock:
            return lease.job_id in self._lost

    def renew_all(self) -> None:
        """Renew everything held, note what was lost, and show up in the list of workers."""
        touch_worker(self.worker, queue=self.queue)
        with self._lock:
            leases = list(self._held.values())
        if not leases:
            return
        answers = renew(leases)
        with self._lock:
            self._lost |= {lease.job_id for lease in leases} - answers.keys()

    def _run(self) -> None:
        while not self._stopped.wait(settings.LEASE_SECONDS / 3):
            try:
                self.renew_all()
            except Error:
                # The next round tries again on a new connection; two may fail before a lease lapses.
                logger.warning("leases not renewed", exc_info=True)
                connection.close()
        connection.close()
