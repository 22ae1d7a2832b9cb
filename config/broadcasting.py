"""Live streams: what is new is read once for all who watch it, and handed to each at the speed at which he takes it.

Everything here lives on the event loop. Only reading goes to a thread, which has a database connection; who watches
and has nothing to be told holds neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from config import watchers
from config.listening import CHANGES, Listener
from config.streaming import (
    COMMENT,
    SILENCE_SECONDS,
    Access,
    Cursor,
    News,
    Source,
    Watch,
    get_source,
)
from config.watchers import Page, Watcher

logger = logging.getLogger(__name__)


class SendPart(Protocol):
    """Sends a part of an answer's body, to a client that takes it when it likes."""

    def __call__(self, data: bytes, /, *, more: bool) -> Awaitable[None]: ...


# An announcement may be lost.
LOOK_EVERY_SECONDS = 1.0
# Between two reads of one source: what is announced meanwhile is read together, and requests get their turn.
PAUSE_SECONDS = 0.01
# So many streams are read by one statement.
STREAMS_PER_READ = 200
ACCESS_EVERY_SECONDS = 30.0
# What a process holds for all clients together. Where it is more, those go for whom most is held.
HELD_BYTES = 67_108_864
# So much is sent at once, and a client that takes longer for it has gone without a word.
SEND_BYTES = 65_536
SEND_SECONDS = 30.0
RETRY_AFTER_SECONDS = 30


class Run(Protocol):
    """Calls something on a thread that has a database connection."""

    def __call__(self, work: Callable[[], Any], /) -> Awaitable[Any]: ...


class StreamRefused(Exception):
    """There is no room for another stream; `status` and `code` say whose fault it is."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail


@dataclass(slots=True)
class Feed:
    """One stream that somebody watches, read as far as the one who is furthest behind."""

    key: UUID
    cursor: Cursor
    watchers: set[Watcher] = field(default_factory=set)

    def add(self, watcher: Watcher) -> None:
        """Let a watcher in: what it lacks is read again, and the others leave out what they know."""
        lowest = min(self.cursor, watcher.cursor, key=lambda cursor: cursor.after)
        if self.cursor.shown != watcher.cursor.shown:
            # They were told different things: what is gets told anew.
            lowest = replace(lowest, shown=None)
        self.cursor = lowest
        self.watchers.add(watcher)

    def tell(self, page: Page) -> None:
        for watcher in self.watchers:
            watcher.tell(page)

    def end(self) -> None:
        for watcher in self.watchers:
            watcher.end()


class Reader:
    """Reads one source for all its feeds, those together of which something was announced."""

    def __init__(self, source: Source, run: Run, make_room: Callable[[], None]) -> None:
        self.feeds: dict[str, Feed] = {}  # by the 32 hex digits of the key, as they are announced
        self._source = source
        self._run = run
        self._make_room = make_room
        self._stirred: set[str] = set()
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def watched(self, key: UUID, watcher: Watcher) -> Iterator[None]:
        """Have a watcher told what comes behind its cursor."""
        feed = self.feeds.setdefault(key.hex, Feed(key, watcher.cursor))
        feed.add(watcher)
        if self._task is None or self._task.done():
            self._woken = asyncio.Event()
            self._task = asyncio.create_task(self._read_while_watched())
        # What came since this watcher's own last read was announced before it was here to hear.
        self.stir([key.hex])
        try:
            yield
        finally:
            feed.watchers.discard(watcher)
            if not feed.watchers and self.feeds.get(key.hex) is feed:
                del self.feeds[key.hex]
            if not self.feeds:
                self._woken.set()

    def stir(self, names: Iterable[str]) -> None:
        """Have these feeds read now, those of them that somebody watches."""
        self._stirred |= self.feeds.keys() & names
        if self._stirred:
            self._woken.set()

    async def tell_alone(self, key: UUID, watcher: Watcher) -> bool:
        """Tell one who is far behind the next page of a stream; whether there is more."""
        cursor = watcher.cursor
        found: dict[UUID, News] = await self._run(lambda: self._source.read({key: cursor}))
        if key not in found:
            watcher.end()
            return False
        watcher.tell(Page.of(cursor, found[key]))
        return found[key].has_more

    async def _read_while_watched(self) -> None:
        looked_at = time.monotonic()
        while self.feeds:
            left = looked_at + LOOK_EVERY_SECONDS - time.monotonic()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), max(left, 0))
            self._woken.clear()
            names, self._stirred = self._stirred, set()
            if time.monotonic() - looked_at >= LOOK_EVERY_SECONDS:
                looked_at, names = time.monotonic(), set(self.feeds)
            await self._read([self.feeds[name] for name in names if name in self.feeds])
            await asyncio.sleep(PAUSE_SECONDS)

    async def _read(self, feeds: list[Feed]) -> None:
        for start in range(0, len(feeds), STREAMS_PER_READ):
            try:
                await self._read_together(feeds[start : start + STREAMS_PER_READ])
            except Exception:
                # Whoever watches is told a second later, or when the database is back.
                logger.exception("streams not read", extra={"source": self._source.name})

    async def _read_together(self, feeds: list[Feed]) -> None:
        cursors = {feed.key: feed.cursor for feed in feeds}
        found: dict[UUID, News] = await self._run(lambda: self._source.read(cursors))
        for feed in feeds:
            if feed.key in found:
                self._hand_out(feed, cursors[feed.key], found[feed.key])
            else:
                feed.end()
        self._make_room()

    def _hand_out(self, feed: Feed, begin: Cursor, news: News) -> None:
        if news.frames or news.is_over:
            feed.tell(Page.of(begin, news))
        if feed.cursor is begin:
            feed.cursor = news.cursor
        else:
            # Somebody has joined meanwhile who is further behind, or was told something else.
            self.stir([feed.key.hex])
        if news.has_more:
            self.stir([feed.key.hex])


class Hub:
    """All streams of this process."""

    def __init__(self, listener: Listener, run: Run) -> None:
        self._listener = listener
        self._run = run
        self._readers: dict[str, Reader] = {}
        self._watchers: dict[Access, set[Watcher]] = defaultdict(set)
        self._seats: Counter[str] = Counter()
        self._catching_up = asyncio.Lock()
        self._asking: asyncio.Task[None] | None = None
        self.is_closed = False
        listener.hear(CHANGES, self._announce)

    @property
    def count(self) -> int:
        """How many streams are open."""
        return self._seats.total()

    def close(self) -> None:
        """End all streams: the clients come again, to the process that comes after this one."""
        self.is_closed = True
        for group in self._watchers.values():
            for watcher in group:
                watcher.hurry()

    @contextlib.contextmanager
    def seat(self, access: Access) -> Iterator[None]:
        """Room for one stream more; raises StreamRefused."""
        if self.count >= settings.STREAMS_MAX:
            raise StreamRefused(503, "streams_full", "This process serves as many streams as it can.")
        if self._seats[access.holder] >= settings.STREAMS_PER_KEY:
            raise StreamRefused(
                429, "too_many_streams", f"Up to {settings.STREAMS_PER_KEY} streams are open at a time."
            )
        self._seats[access.holder] += 1
        try:
            yield
        finally:
            self._seats[access.holder] -= 1
            self._seats += Counter()  # forgets whoever has none

    async def serve(
        self, watch: Watch, send: SendPart, gone: asyncio.Future[None], first: Sequence[bytes] = ()
    ) -> None:
        """Send the first page, and what comes behind it until it is over, the time is up, or the client has left."""
        watcher = Watcher(watch.cursor, first)
        del first  # the watcher alone has it, and only until it is sent
        # What ends before the client does is looked at in one place.
        gone.add_done_callback(lambda _: watcher.hurry())
        sending = _Sending(watcher, send, seconds=_seconds_left(watch))
        with self._watching(watch.access, watcher):
            self._make_room()
            if await sending.flush() and await self._go_on(watch, sending):
                await sending.finish()

    async def _go_on(self, watch: Watch, sending: _Sending) -> bool:
        """Send what comes behind the first page; False where the client does not take it."""
        reader = self._reader_of(watch.source)
        if watch.has_more and not await self._catch_up(watch.key, reader, sending):
            return False
        with reader.watched(watch.key, sending.watcher):
            return await sending.run()

    async def _catch_up(self, key: UUID, reader: Reader, sending: _Sending) -> bool:
        """Send page by page what a client has missed, as fast as it reads; False where it does not take it."""
        watcher, has_more = sending.watcher, True
        while has_more and not watcher.is_over and not sending.is_late:
            # One after the other: those who are far behind must hold up neither requests nor those who are not.
            async with self._catching_up:
                has_more = await reader.tell_alone(key, watcher)
            self._make_room()
            if not await sending.flush():
                return False
        return True

    def _make_room(self) -> None:
        """Have those leave for whom most is held, until no more is held than may be; they come again."""
        staying = [one for each in self._watchers.values() for one in each if one.leaves_at is None]
        held = sum(watcher.held for watcher in staying)
        if held <= HELD_BYTES:
            return
        for watcher in sorted(staying, key=lambda watcher: watcher.held, reverse=True):
            watcher.hurry()
            held -= watcher.held
            if held <= HELD_BYTES:
                return

    def _reader_of(self, name: str) -> Reader:
        if name not in self._readers:
            self._readers[name] = Reader(get_source(name), self._run, self._make_room)
        return self._readers[name]

    @contextlib.contextmanager
    def _watching(self, access: Access, watcher: Watcher) -> Iterator[None]:
        self._listener.start()
        if not self._watchers:
            self._catching_up = asyncio.Lock()  # which belongs to the loop that runs now
        self._watchers[access].add(watcher)
        if self.is_closed:
            watcher.hurry()
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_while_watched())
        try:
            yield
        finally:
            self._watchers[access].discard(watcher)
            if not self._watchers[access]:
                del self._watchers[access]
            if not self._watchers:
                self._asking.cancel()
                self._asking = None  # it ends later than whoever comes now asks for it

    def _announce(self, payload: str) -> None:
        for reader in self._readers.values():
            if reader.feeds:
                reader.stir(payload.split())

    async def _ask_while_watched(self) -> None:
        while True:
            await asyncio.sleep(ACCESS_EVERY_SECONDS)
            try:
                await self._end_those_who_may_not()
            except Exception:
                # While the database is away nobody is told anything.
                logger.exception("not asked who may still watch")

    async def _end_those_who_may_not(self) -> None:
        asked = list(self._watchers)
        lost: list[Access] = await self._run(lambda: [access for access in asked if not access.holds()])
        for access in lost:
            for watcher in self._watchers.get(access, ()):
                watcher.end()


class _Sending:
    """Brings to one client what its watcher has for it."""

    def __init__(self, watcher: Watcher, send: SendPart, *, seconds: float) -> None:
        self.watcher = watcher
        self._send = send
        self._until = asyncio.get_running_loop().time() + seconds

    async def run(self) -> bool:
        """Send what comes, and a comment in every silence; False where the client does not take it."""
        while not self.is_late:
            left = self._until - asyncio.get_running_loop().time()
            chunk = await self.watcher.next_chunk(min(SILENCE_SECONDS, left))
            if not chunk and self.watcher.is_over:
                return True
            if not await self._send_in_time(chunk or COMMENT):
                return False
            del chunk  # not kept while nothing comes
        return True

    async def flush(self) -> bool:
        """Send what waits; False where the client does not take it."""
        chunk = await self.watcher.next_chunk(0)
        return not chunk or await self._send_in_time(chunk)

    async def finish(self) -> None:
        """Say that this was all. A client that is not told takes it for an answer that was cut off."""
        await self._send_in_time(b"", more=False)

    @property
    def is_late(self) -> bool:
        """Whether this connection has lasted as long as it may."""
        return asyncio.get_running_loop().time() >= self._until

    async def _send_in_time(self, chunk: bytes, *, more: bool = True) -> bool:
        try:
            for start in range(0, len(chunk) or 1, SEND_BYTES):
                async with asyncio.timeout_at(self._latest()) as self.watcher.deadline:
                    await self._send(chunk[start : start + SEND_BYTES], more=more)
        except TimeoutError:
            return False
        finally:
            self.watcher.deadline = None
            self.watcher.has_sent()
        return True

    def _latest(self) -> float:
        """By when the client has to take the next bytes."""
        latest = min(
            asyncio.get_running_loop().time() + SEND_SECONDS, self._until + watchers.LAST_SEND_SECONDS
        )
        return latest if self.watcher.leaves_at is None else min(latest, self.watcher.leaves_at)


def _seconds_left(watch: Watch) -> float:
    """How long this connection may last."""
    if watch.ends_at is None:
        return float(settings.STREAM_SECONDS)
    return min(float(settings.STREAM_SECONDS), (watch.ends_at - timezone.now()).total_seconds())
