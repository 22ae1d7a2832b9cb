"""Sends deliveries: one asyncio loop per process, hundreds of them in flight, claimed and stored continuously.

It runs beside the jobs of the queue `webhooks`. The database is spoken to from one thread, with Django's
connection; the loop itself never waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import uvloop
from django.conf import settings
from django.db import connection

from config.descriptors import allow_descriptors
from config.listening import Listener
from config.longpoll import Hub
from jobs.http import Client
from webhooks.sending.attempts import Outcome, attempt
from webhooks.sending.claim import QUEUE, claim_deliveries, finish_deliveries, sweep_deliveries
from webhooks.sending.workers import this_worker
from webhooks.services.deliveries import settle_deliveries
from webhooks.services.messages import TOPIC

logger = logging.getLogger(__name__)
T = TypeVar("T")

IN_FLIGHT_MAX = 800  # in one process
KEPT_FOR_FEW = 200  # of them, for endpoints that have next to nothing in flight
FILES_WANTED = 4_096  # connections are files; the usual limit is 1,024
# What is due by the clock is not announced, and an announcement may be lost.
LOOK_EVERY_SECONDS = 1.0
SETTLE_EVERY_SECONDS = 10.0
AWAY_SECONDS = 0.5  # between two tries while the database is away


def send_deliveries(is_over: Callable[[], bool]) -> None:
    """Send what is due until `is_over()`, then wait for what is in flight: an attempt takes 15 s at most."""
    allow_descriptors(FILES_WANTED)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Sending(is_over).run())


class Sending:
    """The state of one sending process."""

    def __init__(self, is_over: Callable[[], bool]) -> None:
        self.worker = this_worker(QUEUE)
        self._is_over = is_over
        self._client = Client()
        self._listener = Listener(settings.DATABASE_DIRECT_URL)
        self._hub = Hub(self._listener)
        self._database = ThreadPoolExecutor(1, thread_name_prefix="deliveries")
        self._in_flight: set[asyncio.Task[None]] = set()
        self._outcomes: list[Outcome] = []
        self._swept_at = self._settled_at = 0.0

    async def run(self) -> None:
        try:
            with self._hub.subscribed([TOPIC]) as self._changed:
                while not self._is_over() or self._in_flight or self._outcomes:
                    self._changed.clear()
                    if not await self._turn():
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(self._changed.wait(), LOOK_EVERY_SECONDS)
        finally:
            await self._listener.close()
            await self._client.close()
            await self._in_database(_disconnect)
            self._database.shutdown()

    async def _turn(self) -> bool:
        """Store what has ended and begin what is due; whether another turn is worth it at once."""
        outcomes, self._outcomes = self._outcomes, []
        room = 0 if self._is_over() else IN_FLIGHT_MAX - len(self._in_flight)
        try:
            rows = await self._in_database(lambda: self._store_and_claim(outcomes, room))
        except Exception:
            # Whatever it was, what is in flight goes on, and what has ended is kept to be stored.
            logger.warning("deliveries not stored or claimed yet", exc_info=True)
            self._outcomes[:0] = outcomes
            await self._in_database(_disconnect)
            await asyncio.sleep(AWAY_SECONDS)
            return True
        for row in rows:
            task = asyncio.create_task(self._attempt(row))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)
        return bool(self._outcomes) or (bool(rows) and len(rows) == room)

    async def _attempt(self, row: Any) -> None:
        outcome = await attempt(row, self._client)
        # Looked up only now: while it waited, a turn has taken the list that there was.
        self._outcomes.append(outcome)
        self._changed.set()

    def _store_and_claim(self, outcomes: list[Outcome], room: int) -> list[Any]:
        if outcomes:
            self._store(outcomes)
            outcomes.clear()  # stored: a claim that fails now must not have them stored again
        now = time.monotonic()
        if now - self._swept_at > LOOK_EVERY_SECONDS:
            self._swept_at = now
            if swept := sweep_deliveries():
                logger.warning("deliveries given back", extra={"deliveries": swept})
        if now - self._settled_at > SETTLE_EVERY_SECONDS:
            self._settled_at = now
            settle_deliveries()
        shared_room = max(room - KEPT_FOR_FEW, 0)
        return claim_deliveries(self.worker, room=room, shared_room=shared_room) if room else []

    def _store(self, outcomes: list[Outcome]) -> None:
        stored = finish_deliveries(outcomes)
        for outcome in outcomes:
            if outcome.record["id"] not in stored:
                logger.warning(
                    "outcome of a delivery came too late", extra={"deliveryId": str(outcome.record["id"])}
                )

    async def _in_database(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._database, work)


def _disconnect() -> None:
    # Looked up in here: each thread has a connection of its own.
    connection.close()


def send_due(*, room: int = IN_FLIGHT_MAX) -> int:
    """Send what is due once, in this thread and its transaction, and return how many deliveries that were."""
    rows = claim_deliveries("send_due", room=room)
    if rows:
        finish_deliveries(asyncio.run(_attempt_all(rows)))
    return len(rows)


async def _attempt_all(rows: list[Any]) -> list[Outcome]:
    client = Client()
    try:
        return await asyncio.gather(*(attempt(row, client) for row in rows))
    finally:
        await client.close()
