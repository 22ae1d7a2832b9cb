"""`manage.py up`: the whole platform from one command, kept running until SIGTERM or Ctrl-C."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.postgres import release
from jobs.queue.handlers import served_queues

logger = logging.getLogger("affidavit.up")

RESTART_AFTER_SECONDS = 1.0
# What runs may finish; what still runs after this is killed and taken over when its lease lapses.
DRAIN_SECONDS = 30.0


@dataclass
class Process:
    """A child to be kept alive, in a process group of its own."""

    name: str
    command: list[str]
    env: dict[str, str] = field(default_factory=dict)
    popen: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0

    def start(self) -> None:
        self.started_at = time.monotonic()
        self.popen = subprocess.Popen(
            [sys.executable, "manage.py", *self.command],
            cwd=settings.BASE_DIR,
            env={**os.environ, **self.env},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def is_alive(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def ask_to_stop(self) -> None:
        if self.popen is not None and self.is_alive:
            self.popen.send_signal(signal.SIGTERM)

    def kill_what_is_left(self) -> None:
        """End the whole group: a killed cluster leaves its forked processes behind."""
        if self.popen is not None:
            try:
                os.killpg(self.popen.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.popen.wait()


class Command(BaseCommand):
    help = "Migrate, then run web and clusters until SIGTERM; restart what dies."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--bind", default="127.0.0.1", help="the address to listen on")

    def handle(self, *args: Any, port: int, bind: str, **options: Any) -> None:
        self.is_stopping = False
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, self.stop)
        url = f"http://{f'[{bind}]' if ':' in bind else bind}:{port}"
        refuse_taken_port(bind, port)
        # Links lead to where this listens, unless the operator says otherwise.
        os.environ.setdefault("PUBLIC_URL", url)
        call_command("migrate", interactive=False, verbosity=0)
        call_command("collectstatic", interactive=False, verbosity=0)
        processes = [Process("web", ["web", "--port", str(port), "--bind", bind])]
        processes += [
            Process(f"cluster {queue}", ["qcluster"], {"Q_CLUSTER_NAME": queue}) for queue in served_queues()
        ]
        try:
            self.run(processes, url)
        finally:
            self.shut_down(processes)
            if settings.IS_EMBEDDED:
                release(settings.DATA_DIR)

    def stop(self, signum: int, frame: FrameType | None) -> None:
        self.is_stopping = True

    def run(self, processes: list[Process], url: str) -> None:
        for process in processes:
            process.start()
        is_ready = False
        while not self.is_stopping:
            for process in processes:
                if not process.is_alive:
                    self.restart(process, is_ready=is_ready)
            if not is_ready and (is_ready := _is_ready(url)):
                self.say("ready", url=url)
            time.sleep(0.1)

    def restart(self, process: Process, *, is_ready: bool) -> None:
        if not is_ready and process.name == "web":
            raise CommandError("The web server ended before it was ready; its log is above.")
        if time.monotonic() - process.started_at < RESTART_AFTER_SECONDS:
            return
        assert process.popen is not None
        self.say("process died, restarting", program=process.name, exit_code=process.popen.returncode)
        process.kill_what_is_left()
        process.start()

    def shut_down(self, processes: list[Process]) -> None:
        self.say("stopping")
        for process in processes:
            process.ask_to_stop()
        end = time.monotonic() + DRAIN_SECONDS
        while any(process.is_alive for process in processes) and time.monotonic() < end:
            time.sleep(0.05)
        for process in processes:
            process.kill_what_is_left()
        self.say("stopped")

    def say(self, message: str, **fields: Any) -> None:
        logger.warning(message, extra=fields)


def refuse_taken_port(bind: str, port: int) -> None:
    """The web server shares its port among its processes, so it would share it with a stranger without a word."""
    with socket.socket(socket.AF_INET6 if ":" in bind else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError as error:
            raise CommandError(f"Port {port} of {bind} can't be had: {error.strerror}.") from error


def _is_ready(url: str) -> bool:
    host = url.replace("//0.0.0.0", "//127.0.0.1").replace("//[::]", "//[::1]")
    request = urllib.request.Request(f"{host}/readyz", headers={"Host": "localhost"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
