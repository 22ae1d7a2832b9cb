"""Tells those who wait for work, or watch it, that something has come, by NOTIFY, after the commit that brought it.

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

from config.listening import CHANGES, WORK

logger = logging.getLogger(__name__)

# A NOTIFY carries 8,000 bytes: so many ids of 32 hex digits, with what parts them.
IDS_PER_NOTIFY = 240


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
    _announcer().announce((WORK, topic) for topic in topics)


def announce_changes_on_commit(keys: Iterable[UUID | None]) -> None:
    """Have those who watch these jobs and workflows look at them once the transaction at hand has committed."""
    changed = {(CHANGES, key.hex) for key in keys if key}
    if changed:
        transaction.on_commit(lambda: _announcer().announce(changed))


class Announcer:
    """Gathers words for channels and sends them from a thread; what comes while it sends goes out together next."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._words: set[tuple[str, str]] = set()
        self._is_sending = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def announce(self, words: Iterable[tuple[str, str]]) -> None:
        with self._changed:
            self._words.update(words)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)
                self._thread.start()
                # A short-lived process (a management command) waits at its end for what is unsent.
                atexit.register(self._flush)
            self._changed.notify_all()

    def _flush(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._words and not self._is_sending, timeout=1)

    def _run(self) -> None:
        connection: psycopg.Connection[tuple[object, ...]] | None = None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._words)
                words, self._words, self._is_sending = self._words, set(), True
            try:
                if connection is None or connection.closed:
                    connection = psycopg.connect(
                        settings.DATABASE_DIRECT_URL,
                        autocommit=True,
                        application_name="affidavit announcer",
                        # A NOTIFY is a commit, but nothing that has to survive a crash: no disk is waited for.
                        options="-c synchronous_commit=off",
                        **settings.DATABASE_PATIENCE,
                    )
                payloads = _payloads(words)
                connection.execute(
                    "SELECT pg_notify(channel, payload) FROM unnest(%s::text[], %s::text[]) AS n(channel, payload)",
                    [[channel for channel, _ in payloads], [payload for _, payload in payloads]],
                )
            except psycopg.Error:
                # Nothing is lost: everyone who waits looks once a second.
                logger.warning("wake-ups not sent", exc_info=True)
                connection = None
            with self._changed:
                self._is_sending = False
                self._changed.notify_all()


def _payloads(words: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """What is sent: each topic by itself, and ids of what has changed as many together as a NOTIFY carries."""
    changed = [word for channel, word in words if channel == CHANGES]
    topics = [(channel, word) for channel, word in words if channel != CHANGES]
    starts = range(0, len(changed), IDS_PER_NOTIFY)
    return topics + [(CHANGES, " ".join(changed[start : start + IDS_PER_NOTIFY])) for start in starts]


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
