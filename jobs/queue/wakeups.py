"""Tells those who wait for work that some has come, by NOTIFY, after the commit that brought it.

NOTIFY takes a lock at commit that all of PostgreSQL shares, so it never runs in the enqueueing transaction:
one thread per process sends what has gathered, over a connection of its own. A wake-up that is lost (the
process dies first) costs at most the second after which everyone looks by himself.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Iterable
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import transaction

from config.longpoll import CHANNEL

logger = logging.getLogger(__name__)


def topic_of(tenant_id: UUID | None, queue: str, *, is_remote: bool) -> str:
    """The payload of the NOTIFY for a job: its queue, or its tenant and service."""
    return f"service/{tenant_id}/{queue}" if is_remote else f"queue/{queue}"


def announce_on_commit(lanes: Iterable[tuple[UUID | None, str, bool]]) -> None:
    """Announce (tenant_id, queue, is_remote) lanes once the transaction at hand has committed."""
    topics = {topic_of(tenant_id, queue, is_remote=is_remote) for tenant_id, queue, is_remote in lanes}
    if topics:
        transaction.on_commit(lambda: announce(topics))


def announce(topics: Iterable[str]) -> None:
    """Wake whoever waits for these topics, soon, and without making the caller wait."""
    _announcer().announce(topics)


class Announcer:
    """Gathers topics and sends them from a thread; what arrives while it sends goes out together next."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._topics: set[str] = set()
        self._is_sending = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def announce(self, topics: Iterable[str]) -> None:
        with self._changed:
            self._topics.update(topics)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)
                self._thread.start()
                # A short-lived process (a management command) waits at its end for what is unsent.
                atexit.register(self._flush)
            self._changed.notify_all()

    def _flush(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._topics and not self._is_sending, timeout=1)

    def _run(self) -> None:
        connection: psycopg.Connection[tuple[object, ...]] | None = None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._topics)
                topics, self._topics, self._is_sending = sorted(self._topics), set(), True
            try:
                if connection is None or connection.closed:
                    connection = psycopg.connect(
                        settings.DATABASE_DIRECT_URL,
                        autocommit=True,
                        application_name="affidavit announcer",
                        **settings.DATABASE_PATIENCE,
                    )
                connection.execute(
                    "SELECT pg_notify(%s, topic) FROM unnest(%s::text[]) AS topic", [CHANNEL, topics]
                )
            except psycopg.Error:
                # Nothing is lost: everyone who waits looks once a second.
                logger.warning("wake-ups not sent", exc_info=True)
                connection = None
            with self._changed:
                self._is_sending = False
                self._changed.notify_all()


_instance: Announcer | None = None
_instance_lock = threading.Lock()


def _announcer() -> Announcer:
    """This process's announcer; a forked child makes its own, for threads don't survive a fork."""
    global _instance
    if _instance is None or _instance.pid != os.getpid():
        with _instance_lock:
            if _instance is None or _instance.pid != os.getpid():
                _instance = Announcer()
    return _instance
