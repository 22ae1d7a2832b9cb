"""The load generator, in a process of its own: `python -m benchmarks.load PORT CONNECTIONS SECONDS < requests`.

Sends requests, which NUL bytes separate, in turn and over and over on keep-alive connections, each as soon as
the last was answered, and prints `{"seconds", "millis": [...], "statuses": {"201": n}}` for the answers that came in time.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import uvloop

HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"


@dataclass
class Tally:
    """What all connections have seen together, and what is to be sent next."""

    ends_at: float
    requests: Iterator[bytes]
    millis: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request under way."""

    def __init__(self, tally: Tally, closed: asyncio.Future[None]) -> None:
        self._tally, self._closed = tally, closed
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by name
        self._send()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head_size = self._answer.find(HEAD_END)
        if head_size < 0:
            return
        head = self._answer[:head_size].lower()
        body_size = int(head.partition(LENGTH)[2].partition(b"\r\n")[0])
        if len(self._answer) >= head_size + len(HEAD_END) + body_size:
            self._note(head)

    def connection_lost(self, error: Exception | None) -> None:
        if time.perf_counter() < self._tally.ends_at:
            self._tally.statuses["connection lost"] += 1
        self._closed.set_result(None)

    def _send(self) -> None:
        self._answer = b""
        self._sent_at = time.perf_counter()
        self._transport.write(next(self._tally.requests))

    def _note(self, head: bytes) -> None:
        now = time.perf_counter()
        # The last answers are counted too where they are checked, but not where time is.
        self._tally.statuses[head[9:12].decode()] += 1
        if now < self._tally.ends_at:
            self._tally.millis.append((now - self._sent_at) * 1000)
            self._send()
        else:
            self._transport.close()


async def load(port: int, connections: int, seconds: float, requests: list[bytes]) -> Tally:
    """Keep `connections` busy for `seconds`."""
    loop = asyncio.get_running_loop()
    tally = Tally(ends_at=time.perf_counter() + seconds, requests=itertools.cycle(requests))
    ends = [loop.create_future() for _ in range(connections)]
    for closed in ends:
        await loop.create_connection(partial(Connection, tally, closed), "127.0.0.1", port)
    await asyncio.gather(*ends)
    return tally


if __name__ == "__main__":
    port, connections, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    tally = uvloop.run(load(port, connections, seconds, sys.stdin.buffer.read().split(b"\0")))
    print(json.dumps({"seconds": seconds, "millis": tally.millis, "statuses": tally.statuses}))
