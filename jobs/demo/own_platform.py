"""A whole platform for one command: its own folder, PostgreSQL and processes, all gone afterwards."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings

from config.postgres import EmbeddedServer, database_url, release
from jobs.demo.generation import DemoFailed
from jobs.demo.processes import free_port, running, wait_until_ready

LOG_TAIL_LINES = 15
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class OwnPlatform:
    """A `manage.py up`: where it listens, where its processes log, and what its environment adds to ours."""

    url: str
    log: Path
    env: dict[str, str]

    def manage(self, *command: str) -> str:
        """Run a management command to its end; what it printed. Raises DemoFailed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=settings.BASE_DIR,
            env={**os.environ, **self.env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise DemoFailed(f"manage.py {command[0]} failed: {done.stderr.strip()}")
        return done.stdout.strip()

    def last_lines(self) -> list[str]:
        """The end of its processes' log."""
        return self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]

    def lines_about(self, job_id: str) -> list[dict[str, Any]]:
        """What the processes have logged of a job, oldest first."""
        *whole, _unfinished = self.log.read_text(errors="replace").split("\n")
        lines = [json.loads(line) for line in whole if line.startswith("{")]
        return [line for line in lines if line.get("jobId") == job_id]


@contextmanager
def own_platform(say: Callable[[str], None]) -> Iterator[OwnPlatform]:
    """Run a platform on a free port and in a temporary folder; end and remove all of it afterwards.

    The first signal to end raises KeyboardInterrupt; while everything is cleaned up, more of them are ignored.
    Raises DemoFailed when the platform does not start.
    """
    before = {number: signal.signal(number, _interrupt) for number in ENDINGS}
    folder = Path(tempfile.mkdtemp(prefix="affidavit-evidence-"))
    try:
        say("Creating a PostgreSQL database …")
        # Held by this process, which stops the server at the end whatever has become of the others.
        platform = _planned(folder, database_url(folder))
        port = platform.url.rsplit(":", 1)[1]
        with (
            platform.log.open("wb") as output,
            running(["manage.py", "up", "--port", port], output, **platform.env) as process,
            _quiet_end(say),
        ):
            say("Starting web server and cluster …")
            try:
                wait_until_ready(platform.url, process)
            except DemoFailed as error:
                raise DemoFailed(
                    "\n".join([f"{error} Its last lines were:", *platform.last_lines()])
                ) from error
            yield platform
    finally:
        _ignore_endings()
        release(folder)
        _remove(folder)
        for number, handler in before.items():
            signal.signal(number, handler)


def _planned(folder: Path, database: str) -> OwnPlatform:
    """A platform to be, which shares nothing with one that is configured here."""
    url = f"http://127.0.0.1:{free_port()}"
    env = {
        "AFFIDAVIT_DATA_DIR": str(folder),
        "DATABASE_URL": database,
        "DATABASE_DIRECT_URL": database,
        "SECRET_KEY": secrets.token_urlsafe(50),
        "ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "PUBLIC_URL": url,
        "ALLOWED_HOSTS": "127.0.0.1,localhost",
        "LOG_LEVEL": "INFO",  # the cluster's line about each job is part of the evidence
        "DRAIN_SECONDS": "10",
    }
    return OwnPlatform(url, folder / "up.log", env)


@contextmanager
def _quiet_end(say: Callable[[str], None]) -> Iterator[None]:
    """Entered last, left first: from here on nothing interrupts the cleaning up."""
    try:
        yield
    finally:
        _ignore_endings()
        say("Stopping everything …")


def _interrupt(signum: int, frame: FrameType | None) -> None:
    _ignore_endings()
    raise KeyboardInterrupt


def _ignore_endings() -> None:
    for number in ENDINGS:
        signal.signal(number, signal.SIG_IGN)


def _remove(folder: Path) -> None:
    """Remove the data folder, and what its server keeps elsewhere: under root its data, its socket if need be."""
    server = EmbeddedServer.at(folder)
    for place in {server.socket_dir, server.pgdata, folder}:
        shutil.rmtree(place, ignore_errors=True)
