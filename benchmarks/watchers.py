"""Many watchers in a process of their own: `python -m benchmarks.watchers PORT COUNT PATH < API key`.

Opens so many streams of one address and prints `ready` when each has told something. When all have ended it prints
`{"<marked line>": [seconds since 1970, …]}`: when each of them got the line of a log that is `@<number>@`.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import cast

import uvloop

MARK = re.compile(rb'"@(\d+)@"')
READY_SECONDS = 60.0
OPENED_AT_ONCE = 50


@dataclass
class Tally:
    """What all watchers have seen together."""

    request: bytes
    came_at: defaultdict[int, list[float]] = field(default_factory=lambda: defaultdict(list))


class Watcher(asyncio.Protocol):
    """One stream."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._rest = b""
        self.is_told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.has_ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by name
        self._transport.write(self._tally.request)

    def data_received(self, data: bytes) -> None:
        now = time.time()
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if found := MARK.search(line):
                self._tally.came_at[int(found[1])].append(now)
            elif line.startswith(b"HTTP/1.1") and b" 200 " not in line:
                self._refuse(line)
            elif line.startswith(b"event: job") and not self.is_told.done():
                self.is_told.set_result(None)
            elif line.startswith(b"event: end"):
                self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.has_ended.set_result(None)

    def _refuse(self, line: bytes) -> None:
        self.is_told.set_exception(RuntimeError(f"a stream was not opened: {line.decode()}"))


async def watch(port: int, count: int, tally: Tally) -> None:
    """Open the streams, some at once, and stay until they have ended."""
    loop = asyncio.get_running_loop()
    watchers: list[Watcher] = []
    async with asyncio.timeout(READY_SECONDS):
        for first in range(0, count, OPENED_AT_ONCE):
            some = [
                (await loop.create_connection(lambda: Watcher(tally), "127.0.0.1", port))[1]
                for _ in range(min(OPENED_AT_ONCE, count - first))
            ]
            await asyncio.gather(*(watcher.is_told for watcher in some))
            watchers += some
    print("ready", flush=True)
    await asyncio.gather(*(watcher.has_ended for watcher in watchers))


def main() -> None:
    port, count, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    key = sys.stdin.readline().strip()
    head = (f"GET {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {key}", "\r\n")
    tally = Tally("\r\n".join(head).encode())
    uvloop.run(watch(port, count, tally))
    print(json.dumps(tally.came_at))


if __name__ == "__main__":
    main()
