"""Long polls without a thread: a view answers at once and says when asking again is worth it.

The wish travels in two headers of the answer. `config.asgi` waits for an announcement or a second, calls the
view again, and takes the headers off. Behind a plain WSGI server nobody waits: the client has its answer at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from django.http import HttpResponseBase

from config.listening import WORK, Listener

T = TypeVar("T")

TOPICS = "X-Ask-Again-Topics"
SECONDS = "X-Ask-Again-Seconds"
HIDDEN_HEADERS = frozenset({TOPICS.lower().encode(), SECONDS.lower().encode()})
# An announcement may be lost, and work that becomes due by the clock is not announced.
LOOK_EVERY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Wish:
    """To be asked again when one of `topics` is announced, up to `seconds` from the request's beginning."""

    topics: list[str]
    seconds: float


def ask_again_when(response: HttpResponseBase, topics: Iterable[str], *, seconds: float) -> None:
    """Wish to be asked again; `topics` have no white space."""
    response[TOPICS] = " ".join(topics)
    response[SECONDS] = str(seconds)


def asked_again(response: HttpResponseBase) -> Wish | None:
    """The wish of an answer, or None for an answer that is final."""
    if TOPICS not in response:
        return None
    return Wish(response[TOPICS].split(" "), float(response[SECONDS]))


class Hub:
    """All who wait for work in this process, by what they wait for."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        listener.hear(WORK, self._announce)

    async def ask_until_answered(
        self,
        look: Callable[[], Awaitable[tuple[HttpResponseBase, T]]],
        last: T,
        topics: Iterable[str],
        *,
        until: float,
        gone: asyncio.Future[None],
    ) -> T:
        """Call `look` on every announcement, and once a second, until it wishes no more or time is up.

        `until` is on time.monotonic(); `gone` is done when the client has left, for whom nothing may be claimed.
        """
        with self.subscribed(topics) as announced:
            while time.monotonic() < until and not gone.done():
                # First a look: something may have come between the last one and the subscription.
                announced.clear()
                response, last = await look()
                if asked_again(response) is None:
                    break
                with contextlib.suppress(TimeoutError):
                    left = max(until - time.monotonic(), 0)
                    await asyncio.wait_for(announced.wait(), min(left, LOOK_EVERY_SECONDS))
        return last

    @contextlib.contextmanager
    def subscribed(self, topics: Iterable[str]) -> Iterator[asyncio.Event]:
        """An event that is set when one of `topics` is announced."""
        self._listener.start()
        announced, mine = asyncio.Event(), list(topics)
        for topic in mine:
            self._waiting[topic].add(announced)
        try:
            yield announced
        finally:
            for topic in mine:
                self._waiting[topic].discard(announced)
                if not self._waiting[topic]:
                    del self._waiting[topic]

    def _announce(self, topic: str) -> None:
        for announced in self._waiting.get(topic, ()):
            announced.set()
