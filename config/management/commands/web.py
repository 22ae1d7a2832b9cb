"""`manage.py web`: serves REST, admin, long polls and streams on one port."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from granian import Granian
from granian._granian import ListenerSpec, SocketHolder
from granian.constants import HTTPModes, Interfaces, Loops

from config.descriptors import allow_descriptors
from config.logging import logging_dict

# Connections one process takes on, those that say nothing too; more wait in the backlog.
CONNECTIONS = 4_096
# Files and connections of its own, besides those of clients.
OWN_DESCRIPTORS = 256
# A client that takes nothing for so long, or is gone without a word, has its connection closed by the system.
CLIENT_TIMEOUT_SECONDS = 30
# A process that is to stop ends its streams and long polls in a second; a call takes a few. What is there after this
# is a client that does not read its answer.
STOP_SECONDS = 10

SharedSocket = tuple[tuple[ListenerSpec | None, SocketHolder | None], socket.socket | None]


class Command(BaseCommand):
    help = "Serve the platform on one port."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--bind", default="127.0.0.1", help="the address to listen on")

    def handle(self, *args: Any, port: int, bind: str, **options: Any) -> None:
        allowed = allow_descriptors(CONNECTIONS + OWN_DESCRIPTORS)
        server = Granian(
            "config.asgi:application",
            address=bind,
            port=port,
            interface=Interfaces.ASGI,
            workers=settings.WEB_PROCESSES,
            loop=Loops.uvloop,
            http=HTTPModes.http1,
            websockets=False,
            backlog=2_048,
            backpressure=max(min(CONNECTIONS, allowed - OWN_DESCRIPTORS), 1),
            respawn_failed_workers=True,
            workers_kill_timeout=STOP_SECONDS,
            log_level="warning",  # type: ignore[arg-type]
            log_dictconfig=logging_dict(settings.LOG_LEVEL),
        )
        server.serve(spawn_target=_listening(server._spawn_asgi_lifespan_worker))


def _listening(serve: Callable[..., None]) -> Callable[..., None]:
    """A worker that listens by a socket of which every connection has its timeout.

    granian has no option for it; what it passes to its workers is that of 2.8, to which pyproject.toml keeps.
    """

    def spawn(number: int, name: str, load: Any, shared: SharedSocket, *rest: Any) -> None:
        (spec, holder), _ = shared
        if spec is not None:
            holder = spec.build()
            _set_client_timeout(holder.get_fd())
            shared = ((None, holder), None)
        serve(number, name, load, shared, *rest)

    return spawn


def _set_client_timeout(descriptor: int) -> None:
    """Set on a socket that listens, it goes for each connection that it accepts. Only Linux has it."""
    if sys.platform != "linux":
        return
    with socket.socket(fileno=os.dup(descriptor)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, CLIENT_TIMEOUT_SECONDS * 1_000)
