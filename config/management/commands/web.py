"""`manage.py web`: serves REST, admin and long polls on one port."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops

from config.logging import logging_dict

# Connections one process takes on; more wait in the backlog.
BACKPRESSURE = 1_024


class Command(BaseCommand):
    help = "Serve the platform on one port."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--bind", default="127.0.0.1", help="the address to listen on")

    def handle(self, *args: Any, port: int, bind: str, **options: Any) -> None:
        Granian(
            "config.asgi:application",
            address=bind,
            port=port,
            interface=Interfaces.ASGI,
            workers=settings.WEB_PROCESSES,
            loop=Loops.uvloop,
            http=HTTPModes.http1,
            websockets=False,
            backlog=2_048,
            backpressure=BACKPRESSURE,
            respawn_failed_workers=True,
            workers_kill_timeout=30,
            log_level="warning",  # type: ignore[arg-type]
            log_dictconfig=logging_dict(settings.LOG_LEVEL),
        ).serve()
