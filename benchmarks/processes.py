"""The processes under test, started for real."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parent.parent
STOP_SECONDS = 20.0
READY_SECONDS = 60.0
LOG_TAIL_CHARS = 4_000
NOTHING: dict[str, str] = {}


class Process:
    """A child of ours in a process group of its own; its log goes to a file, as in production."""

    def __init__(self, *command: str, **env: str) -> None:
        self._name = " ".join(command)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the child
        self._popen = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    @property
    def is_running(self) -> bool:
        return self._popen.poll() is None

    @property
    def memory_kb(self) -> float:
        """What it and all below it hold in memory."""
        own = psutil.Process(self._popen.pid)
        held: int = sum(each.memory_info().rss for each in [own, *own.children(recursive=True)])
        return held / 1_024

    def wait_until(self, is_done: Callable[[], bool], *, seconds: float, pause: float = 0.1) -> None:
        """Look every `pause` seconds; raises RuntimeError with the end of the log when it takes too long."""
        end = time.monotonic() + seconds
        while not is_done():
            if self._popen.poll() not in (None, 0) or time.monotonic() > end:
                raise RuntimeError(f"{self._name} did not get there; its log ends:\n{self._tail()}")
            time.sleep(pause)

    def wait_for_end(self, *, seconds: float) -> None:
        """Wait until it exits with 0."""
        self.wait_until(lambda: self._popen.poll() == 0, seconds=seconds, pause=0.02)

    def stop(self) -> None:
        """Ask it to end, then end the whole group."""
        self._popen.terminate()
        try:
            self._popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass  # killed with its group
        try:
            os.killpg(self._popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # the usual case: nobody is left
        self._popen.wait()
        self._log.close()

    def has_said(self, text: str) -> bool:
        """Whether its log holds `text`."""
        return text in self._tail()

    def _tail(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-LOG_TAIL_CHARS:]


@contextmanager
def running(*command: str, **env: str) -> Iterator[Process]:
    """`python COMMAND` for as long as the block lasts."""
    process = Process(*command, **env)
    try:
        yield process
    finally:
        process.stop()


@contextmanager
def cluster(
    queue: str = "default", *, workers: int = 2, settings: Mapping[str, str] = NOTHING
) -> Iterator[Process]:
    """The cluster of a queue."""
    env = {"Q_CLUSTER_NAME": queue, "CLUSTER_WORKERS": str(workers)}
    with running("manage.py", "qcluster", **env, **settings) as process:
        yield process


@contextmanager
def web() -> Iterator[int]:
    """The web server, once it answers; yields its port."""
    with web_server() as (_, port):
        yield port


@contextmanager
def web_server(*, settings: Mapping[str, str] = NOTHING) -> Iterator[tuple[Process, int]]:
    """The web server, once it answers; it and its port."""
    port = free_port()
    with running("manage.py", "web", "--port", str(port), **settings) as process:
        process.wait_until(lambda: _is_ready(port), seconds=READY_SECONDS)
        yield process, port


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
