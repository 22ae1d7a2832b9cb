"""The django-q2 broker over the job table.

What travels through django-q2 is a ticket, "look into your queue", and never a job: the worker process that
takes the ticket claims for itself. So no lease runs while a job waits in a pipe, a ticket that is lost costs
nothing, and nothing pickled rests in the database.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
from django.conf import settings
from django.db import Error, connection
from django.utils import timezone
from django_q.brokers import Broker
from django_q.conf import Conf
from django_q.signing import SignedPackage

from config.listening import WORK
from jobs.models import Job
from jobs.queue import draining
from jobs.queue.enqueue import enqueue_job
from jobs.queue.pulse import Pulse, beat_for_ever, short_transaction
from jobs.queue.sweep import sweep
from jobs.queue.wakeups import topic_of
from jobs.rollups.folding import Upkeep
from jobs.statements import run

logger = logging.getLogger(__name__)

# Everyone looks by himself this often, in case a wake-up was lost.
LOOK_EVERY_SECONDS = 1.0
# A ticket goes round this often even when nothing is due: it shows that the cluster works.
TICKET_EVERY_SECONDS = 5.0
# After a ticket the process that took it has this long to claim before the queue is looked into again.
SETTLE_SECONDS = 0.002


class JobBroker(Broker):  # type: ignore[misc]
    """Issues tickets while its queue has due jobs; sweeps and beats once a second from threads.

    The sentinel makes it and hands it to the processes that it forks.
    """

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key=list_key)
        self.queue: str = self.list_key
        self._ticket = _make_ticket(self.queue)
        self._listener: psycopg.Connection[Any] | None = None
        self._pulse = Pulse(self.queue)
        self._has_threads = False
        self._has_just_issued = False
        self._issued_at = 0.0

    def dequeue(self) -> list[tuple[str, str]] | None:
        """Wait for due work, a second at most; answer one ticket when there is some.

        Called by django-q2's pusher in a loop; the pusher blocks by itself while every process is busy.
        """
        self._ensure_threads(
            draining.end_with_sentinel, _sweep_for_ever, functools.partial(beat_for_ever, self._pulse)
        )
        self._pulse.looked()
        try:
            self._has_just_issued = self._has_work() or self._is_ticket_overdue()
        except (Error, psycopg.Error):
            logger.warning("queue not looked into", exc_info=True)
            self._disconnect()
            self._pulse.forgive()
            time.sleep(LOOK_EVERY_SECONDS)
            self._has_just_issued = False
        if not self._has_just_issued:
            return None
        self._issued_at = time.monotonic()
        self._pulse.asked()
        return [("ticket", self._ticket)]

    def acknowledge(self, task_id: str) -> None:
        """Called by django-q2's monitor when a ticket has come round."""
        self._ensure_threads(draining.end_with_sentinel)
        self._pulse.answered()

    def _is_ticket_overdue(self) -> bool:
        return not draining.has_begun() and time.monotonic() - self._issued_at > TICKET_EVERY_SECONDS

    def _has_work(self) -> bool:
        if draining.has_begun():
            time.sleep(SETTLE_SECONDS)
            return False
        # Listening begins before the look, so that nothing can fall between the two.
        listener = self._listen()
        if self._has_just_issued and self._was_woken(listener, SETTLE_SECONDS):
            return True
        with short_transaction():
            seconds = run("next_due", {"queue": self.queue})[0].seconds
        if seconds is not None and seconds <= 0:
            return True
        wait = min(LOOK_EVERY_SECONDS, seconds if seconds is not None else LOOK_EVERY_SECONDS)
        return self._was_woken(listener, wait) or (seconds is not None and wait == seconds)

    def _was_woken(self, listener: psycopg.Connection[Any], seconds: float) -> bool:
        topic = topic_of(None, self.queue, is_remote=False)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            # What is read together is one wake-up.
            topics = {notify.payload for notify in listener.notifies(timeout=left, stop_after=1)}
            if topic in topics:
                return True
        return False

    def _listen(self) -> psycopg.Connection[Any]:
        if self._listener is None or self._listener.closed:
            self._listener = psycopg.connect(
                settings.DATABASE_DIRECT_URL,
                autocommit=True,
                application_name="affidavit dispatcher",
                **settings.DATABASE_PATIENCE,
            )
            self._listener.execute(f"LISTEN {WORK}")
        return self._listener

    def _disconnect(self) -> None:
        connection.close()
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _ensure_threads(self, *bodies: Callable[[], None]) -> None:
        if not self._has_threads:
            self._has_threads = True
            for body in bodies:
                threading.Thread(target=body, daemon=True).start()

    def enqueue(self, package: str) -> str:
        """Turn what django-q2's scheduler sends into a job of the platform: `func` is its kind.

        A schedule whose last job has not ended yet adds none (its name is the singleton key).
        """
        task = SignedPackage.loads(package)
        job_id = enqueue_job(
            task["func"],
            dict(task["kwargs"]),
            singleton_key=str(task.get("group") or ""),
            actor_id="schedule",
        )
        return str(job_id)

    def set_stat(self, key: str, value: str, timeout: int) -> None:
        """Called by django-q2's sentinel twice a second, first thing when it stops, and when it has stopped."""
        self._pulse.guarded()
        status = str(SignedPackage.loads(value).status)
        if status == str(Conf.STOPPING):
            draining.begin()
        elif status in (str(Conf.IDLE), str(Conf.WORKING)):
            draining.call_off()
        elif status == str(Conf.STOPPED):
            self._pulse.stopped()

    def get_stat(self, key: str) -> None:
        return None

    def get_stats(self, pattern: str) -> list[Any]:
        return []

    def ping(self) -> bool:
        """Raises when the database can't be reached."""
        connection.ensure_connection()
        return True

    def info(self) -> str:
        return "Affidavit job table"

    def queue_size(self) -> int:
        return Job.objects.filter(queue=self.queue, status=Job.Status.QUEUED).count()

    def lock_size(self) -> int:
        return Job.objects.filter(queue=self.queue, status=Job.Status.RUNNING).count()


def _make_ticket(queue: str) -> str:
    """A django-q2 task package that runs `work(queue)`, with no timeout, result or retry of its own."""
    ticket: str = SignedPackage.dumps(
        {
            "id": "ticket",
            "name": "ticket",
            "func": "jobs.queue.runner.work",
            "args": (queue,),
            "kwargs": {},
            "timeout": -1,
            "save": False,
            "started": timezone.now(),
        }
    )
    return ticket


def _sweep_for_ever() -> None:
    upkeep = Upkeep()
    while True:
        time.sleep(LOOK_EVERY_SECONDS)
        try:
            swept = sweep()
            if swept.lapsed or swept.expired:
                logger.warning("swept", extra={"lapsed": swept.lapsed, "expired": swept.expired})
        except Exception:
            # The loop must survive whatever one round met; the next one tries again.
            logger.exception("sweep failed")
            connection.close()
        _keep_rollups(upkeep)


def _keep_rollups(upkeep: Upkeep) -> None:
    """What the monitor reads may be late, but must not keep the sweep from its work."""
    try:
        upkeep.turn()
    except Exception:
        logger.exception("rollups not kept")
        connection.close()
