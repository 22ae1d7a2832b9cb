"""Watches streams as a client does: over the real application, on an event loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.db import connection

from tests.config.test_asgi import SCOPE

PATIENCE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One event as a client sees it; `id` is its text, empty where it has none."""

    event: str
    data: Any
    id: str = ""


class Client:
    """One connection to a stream."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.text = ""
        self.is_closed = False
        self.reads = True
        self._came = asyncio.Event()
        self._left = asyncio.Event()
        self._asked = False

    @property
    def seen(self) -> list[Seen]:
        """The events that came, as an EventSource takes them apart."""
        return [parsed for block in self.text.split("\n\n")[:-1] if (parsed := parse(block))]

    def named(self, *names: str) -> list[Seen]:
        return [one for one in self.seen if one.event in names]

    @property
    def problem(self) -> dict[str, Any]:
        problem: dict[str, Any] = json.loads(self.text)
        return problem

    async def until(self, is_enough: Callable[[Client], bool]) -> Client:
        """Wait until enough has come; raises TimeoutError with what has."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not is_enough(self):
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            raise AssertionError(f"{self.status} {self.text[-2_000:]!r}") from None
        return self

    async def until_closed(self) -> Client:
        return await self.until(lambda client: client.is_closed)

    def leave(self) -> None:
        self._left.set()

    async def receive(self) -> Any:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        while not self.reads:
            await asyncio.sleep(0.01)
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.text += message["body"].decode()
            self.is_closed = not message.get("more_body", False)
        self._came.set()


def parse(block: str) -> Seen | None:
    fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
    if "data" not in fields:
        return None
    return Seen(fields["event"], json.loads(fields["data"]), fields.get("id", ""))


@contextlib.asynccontextmanager
async def watching(
    address: str, *, key: str = "", application: Any = None, **headers: str
) -> AsyncIterator[Client]:
    """Open a stream, and leave it in the end."""
    from config.asgi import application as whole

    client, parts = Client(), urlsplit(address)
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    if key:
        sent.append((b"authorization", f"Bearer {key}".encode()))
    scope = {
        **SCOPE,
        "path": parts.path,
        "query_string": parts.query.encode(),
        "headers": [*SCOPE["headers"], *sent],
    }
    task = asyncio.create_task((application or whole)(scope, client.receive, client.send))
    try:
        await client.until(lambda _: bool(client.status) or task.done())
        if task.done():
            task.result()
        yield client
    finally:
        client.leave()
        client.reads = True
        await task


def watch(body: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run what a test does while it watches."""
    return asyncio.run(body())


async def on_thread(work: Callable[..., Any], *args: Any) -> Any:
    """Do what touches the database as another process would."""
    with ThreadPoolExecutor(1) as pool:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(pool, work, *args)
        finally:
            await loop.run_in_executor(pool, lambda: connection.close())
