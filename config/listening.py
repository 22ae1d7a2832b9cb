"""What the database announces by NOTIFY, and the one connection of a process that hears it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

import psycopg
from django.conf import settings

logger = logging.getLogger(__name__)

WORK = "affidavit_work"  # its payloads are topics, of which new work has come
CHANGES = "affidavit_changes"  # its payloads are ids of jobs and workflows of which something is new, 32 hex digits each
CONNECT_AGAIN_SECONDS = 1.0


class Listener:
    """One LISTEN connection for all who wait in this process; who waits looks by himself while it is away."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._hearers: dict[str, Callable[[str], None]] = {}
        self._task: asyncio.Task[None] | None = None

    def hear(self, channel: str, tell: Callable[[str], None]) -> None:
        """Have `tell` called with every payload of a channel; to be said before anybody starts."""
        self._hearers[channel] = tell

    def start(self) -> None:
        """Listen from now on, on the running loop."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Listen no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _listen(self) -> None:
        while True:
            try:
                connection = await psycopg.AsyncConnection.connect(
                    self._database_url,
                    autocommit=True,
                    application_name="affidavit listener",
                    **settings.DATABASE_PATIENCE,
                )
                async with connection:
                    for channel in self._hearers:
                        await connection.execute(f"LISTEN {channel}")
                    async for notify in connection.notifies():
                        self._hearers[notify.channel](notify.payload)
            except psycopg.Error:
                # Those who wait look once a second meanwhile.
                logger.warning("not listening", exc_info=True)
                await asyncio.sleep(CONNECT_AGAIN_SECONDS)
