"""The application as one web process has it, with no connection left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from config import broadcasting
from config.bridge import Bridge
from config.listening import Listener
from config.longpoll import Hub


class WebProcess:
    """The parts of a web process that streams go through."""

    def __init__(self) -> None:
        from config import asgi  # not before there is a folder of static files, which it looks for

        self.bridge = Bridge(asgi._handler)
        self.listener = Listener(settings.DATABASE_DIRECT_URL)
        self.long_polls = Hub(self.listener)
        self.streams = broadcasting.Hub(self.listener, self.bridge.run)

    def close(self) -> None:
        everybody = threading.Barrier(settings.WEB_THREADS)

        def disconnect() -> None:
            everybody.wait(10)
            connection.close()

        for done in [self.bridge._pool.submit(disconnect) for _ in range(settings.WEB_THREADS)]:
            done.result(20)
        self.bridge.close()


@pytest.fixture
def web(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebProcess]:
    """A web process of the test's own."""
    process = WebProcess()
    monkeypatch.setattr("config.asgi._bridge", process.bridge)
    monkeypatch.setattr("config.asgi._hub", process.long_polls)
    monkeypatch.setattr("config.asgi._streams", process.streams)
    yield process
    process.close()


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """No announcement arrives: what is new is found by looking."""

    def hear_nothing(self: Any) -> None: ...

    monkeypatch.setattr(Listener, "start", hear_nothing)
