"""How tests of `jobs.http` send: one event loop per call, short limits, names that resolve as they are told."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from jobs.http import Answer, Client, HttpFailure

Resolves = Callable[..., None]


def with_client(use: Callable[[Client], Awaitable[Any]], **limits: float) -> Any:
    """Run `use(client)` in an event loop of its own."""

    async def run() -> Any:
        client = Client(**limits)
        try:
            return await use(client)
        finally:
            await client.close()

    return asyncio.run(run())


def post(url: str, **limits: float) -> Answer:
    """One request, with limits short enough for a test."""
    limits = {"total_seconds": 5.0, "body_seconds": 0.3, **limits}
    return with_client(lambda client: client.send("POST", url, content=b"{}"), **limits)


def failure_of(url: str, **limits: float) -> HttpFailure:
    with pytest.raises(HttpFailure) as failure:
        post(url, **limits)
    return failure.value


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    began_at = time.monotonic()
    result = call()
    return result, time.monotonic() - began_at


def stand_in_for_dns(monkeypatch: pytest.MonkeyPatch) -> Resolves:
    """Return what makes a name resolve: `dns("hooks.example.com", ["127.0.0.1"], …)`.

    One list of addresses per lookup, the last one for ever; an empty one is a name that does not exist.
    """
    known: dict[str, list[list[str]]] = {}
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in known:
            return real(host, port, *args, **kwargs)
        answers = known[host]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [row for text in found for row in real(text, port, *args, **kwargs)]

    def resolve(host: str, *answers: list[str]) -> None:
        known[host] = list(answers)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return resolve
