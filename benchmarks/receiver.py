"""A client's app in a process of its own: `python -m benchmarks.receiver PORT` answers every POST with 200."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import uvloop

from benchmarks.processes import free_port, running

HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
READY_SECONDS = 20.0


class Conversation(asyncio.Protocol):
    """One keep-alive connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._data = cast(asyncio.Transport, transport), b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        head_size = self._data.find(HEAD_END)
        if head_size < 0:
            return
        length = int(self._data[:head_size].lower().partition(LENGTH)[2].partition(b"\r\n")[0])
        if len(self._data) >= head_size + len(HEAD_END) + length:
            self._data = b""  # nobody sends a second request before the answer to the first
            self._transport.write(ANSWER)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Conversation, "127.0.0.1", port, backlog=1_000)
    print("ready", file=sys.stderr)
    await server.serve_forever()


@contextmanager
def receiver() -> Iterator[str]:
    """The address of a receiver that runs for as long as the block lasts."""
    port = free_port()
    with running("-m", "benchmarks.receiver", str(port)) as process:
        process.wait_until(lambda: process.has_said("ready"), seconds=READY_SECONDS)
        yield f"http://127.0.0.1:{port}/"


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
