"""One client of a live stream: what is still to be sent to it, of the pages that are told to all who watch."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from config.streaming import Cursor, Frame, News, encode

# What may wait for one client before it is sent away, to come back at its own speed.
WAITING_FRAMES = 5_000
WAITING_BYTES = 1_048_576
# What a client that is at a send gets of them when the process stops.
LAST_SEND_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Page:
    """News as they go out, made once for all watchers."""

    begin: Cursor  # what was read behind
    frames: Sequence[tuple[Frame, bytes]]
    cursor: Cursor
    is_over: bool

    @classmethod
    def of(cls, cursor: Cursor, news: News) -> Page:
        """What is news behind `cursor`."""
        frames = [(frame, encode(frame)) for frame in news.frames]
        return cls(cursor, frames, news.cursor, news.is_over)


class Watcher:
    """What is still to be sent to one client, and what it has been told when that is done."""

    def __init__(self, cursor: Cursor, first: Iterable[bytes] = ()) -> None:
        self.cursor = cursor
        self.is_over = False
        self.deadline: asyncio.Timeout | None = None  # of the send it is at
        self.leaves_at: float | None = None  # by the loop's clock, whatever it has been sent by then
        self._waiting = deque(first)
        self._bytes = sum(map(len, self._waiting))
        self._being_sent = 0
        self._changed = asyncio.Event()

    def tell(self, page: Page) -> None:
        """Add what is new to this client; one that can't keep up is sent away."""
        if self.is_over or page.begin.after > self.cursor.after:
            return  # it has joined further back, and the next page begins there
        # What has changed is of use to those who know what it was before; to others the next page tells all that is.
        takes_state = page.begin.shown in (None, self.cursor.shown)
        chunks = [data for frame, data in page.frames if self._is_new(frame, page, takes_state=takes_state)]
        size = sum(map(len, chunks))
        if self._waiting and (
            len(self._waiting) + len(chunks) > WAITING_FRAMES or self._bytes + size > WAITING_BYTES
        ):
            self._send_away()
            return
        self._waiting += chunks
        self._bytes += size
        self.cursor = Cursor(
            max(self.cursor.position, page.cursor.position),
            max(self.cursor.after, page.cursor.after),
            page.cursor.shown if takes_state else self.cursor.shown,
        )
        if page.is_over and takes_state:
            self.is_over = True
        self._changed.set()

    def _is_new(self, frame: Frame, page: Page, *, takes_state: bool) -> bool:
        if frame.id is None:
            return takes_state and bool(page.cursor.shown != self.cursor.shown)
        return takes_state if frame.is_last else frame.id > self.cursor.position

    def _send_away(self) -> None:
        last = {"reason": "too_slow", "last_event_id": self.cursor.position}
        self._waiting.append(encode(Frame("reset", last)))
        self.end()

    def end(self) -> None:
        """Nothing more comes: what waits is sent, and the stream closed."""
        self.is_over = True
        self._changed.set()

    def hurry(self) -> None:
        """End soon, also where the client does not read."""
        self.end()
        if self.leaves_at is None:
            self.leaves_at = asyncio.get_running_loop().time() + LAST_SEND_SECONDS
            if self.deadline is not None and not self.deadline.expired():
                self.deadline.reschedule(self.leaves_at)

    @property
    def held(self) -> int:
        """How many bytes are kept for this client: what waits, and what is being sent."""
        return self._bytes + self._being_sent

    def has_sent(self) -> None:
        """What was being sent is held no more."""
        self._being_sent = 0

    async def next_chunk(self, seconds: float) -> bytes:
        """What is to be sent next; nothing where nothing has come for so long, or nothing comes any more."""
        if not self._waiting and not self.is_over:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), seconds)
        chunk = b"".join(self._waiting)
        self._waiting.clear()
        self._bytes, self._being_sent = 0, len(chunk)
        return chunk
