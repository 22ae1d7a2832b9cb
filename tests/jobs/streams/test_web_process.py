"""Streams over the real server: a client that does not read, and a process that is to stop."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from django.conf import settings
from django.db import connection
from granian._granian import ListenerSpec

from config.management.commands.web import CLIENT_TIMEOUT_SECONDS, STOP_SECONDS, _listening
from jobs.models import Event, Job
from jobs.services.events import record_event
from tests.factories import make_job, make_key, make_tenant

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).resolve().parents[3]


class Web:
    """`manage.py web` over the test's database, with one process that serves."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        name = connection.settings_dict["NAME"]
        address = urlsplit(settings.DATABASE_URL)._replace(path=f"/{name}").geturl()
        self.env = {
            **os.environ,
            "DATABASE_URL": address,
            "DATABASE_DIRECT_URL": address,
            "SECRET_KEY": settings.SECRET_KEY,
            "ENCRYPTION_KEYS": settings.ENCRYPTION_KEYS[0],
            "WEB_PROCESSES": "1",
        }
        self.start()

    def start(self) -> None:
        command = [sys.executable, "manage.py", "web", "--port", str(self.port)]
        self.process = subprocess.Popen(command, cwd=ROOT, env=self.env)
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        for _ in range(300):
            try:
                self.connect().close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError("the server does not answer")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def watch(self, job: Job, key: str) -> socket.socket:
        """Open a stream, and read no more than its first bytes."""
        stream = self.connect()
        lines = [
            f"GET /api/jobs/{job.pk}/events HTTP/1.1",
            "Host: 127.0.0.1",
            "Connection: close",
            f"Authorization: Bearer {key}",
        ]
        stream.sendall("\r\n".join([*lines, "", ""]).encode())
        assert stream.recv(12) == b"HTTP/1.1 200"
        return stream

    @property
    def memory_mb(self) -> float:
        children = psutil.Process(self.process.pid).children(recursive=True)
        return sum(child.memory_info().rss for child in children) / 1e6

    def stop(self) -> float:
        """Ask it to stop; how long it takes."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(40)
        return time.monotonic() - began


@pytest.fixture
def server() -> Iterator[Web]:
    web = Web()
    yield web
    if web.process.poll() is None:
        for process in [*psutil.Process(web.process.pid).children(recursive=True), web.process]:
            process.kill()
    web.process.wait()


def read_all(stream: socket.socket) -> bytes:
    parts = []
    with stream:
        while part := stream.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def test_open_streams_do_not_hold_up_a_stop(server: Web) -> None:
    job = make_job(make_tenant(), status=Job.Status.RUNNING)
    streams = [server.watch(job, make_key(job.tenant, "read")[1]) for _ in range(3)]  # type: ignore[arg-type]
    time.sleep(0.5)

    seconds = server.stop()

    assert seconds < 5
    # Whole, chunk by chunk: a client takes it for an end, and comes again.
    assert all(read_all(stream).endswith(b"0\r\n\r\n") for stream in streams)


def test_a_client_that_reads_nothing_costs_little_and_is_sent_away(server: Web) -> None:
    job = make_job(make_tenant(), status=Job.Status.RUNNING)
    stream = server.watch(job, make_key(job.tenant, "read")[1])  # type: ignore[arg-type]
    time.sleep(0.5)
    before = server.memory_mb

    for _ in range(100):
        record_event(job, Event.Type.LOG, {"lines": [os.urandom(4_000).hex(" ")] * 20})
    time.sleep(1)

    assert server.memory_mb - before < 40
    told = read_all(stream)
    assert b'event: reset\ndata: {"reason":"too_slow"' in told


def test_a_slow_replay_is_paced_by_its_client(server: Web) -> None:
    job = make_job(make_tenant(), status=Job.Status.RUNNING)
    for _ in range(60):
        record_event(job, Event.Type.LOG, {"lines": [os.urandom(4_000).hex(" ")] * 40})
    Job.objects.filter(pk=job.pk).update(status="queued", lease_token=None)
    before = server.memory_mb

    stream = server.watch(job, make_key(job.tenant, "read")[1])  # type: ignore[arg-type]
    time.sleep(2)

    assert server.memory_mb - before < 60
    with stream:
        assert read_until(stream, b"event: log", 60)


def read_until(stream: socket.socket, wanted: bytes, times: int) -> bool:
    """Whether something comes so often; read slowly, and without keeping it."""
    count, rest = 0, b""
    while count < times and (part := stream.recv(65_536)):
        text = rest + part
        count += text.count(wanted)
        rest = text[-len(wanted) + 1 :]
    return count == times


def test_silent_clients_cost_little_and_do_not_keep_a_process_that_is_to_stop(server: Web) -> None:
    job = make_job(make_tenant(), status=Job.Status.RUNNING)
    for _ in range(30):
        record_event(job, Event.Type.LOG, {"lines": ["a" * 10_000] * 100})
    key = make_key(job.tenant, "read")[1]  # type: ignore[arg-type]
    before = server.memory_mb

    streams = [server.watch(job, key) for _ in range(20)]
    time.sleep(1)

    # What they have not been told is thirty megabytes each.
    assert server.memory_mb - before < 100
    assert server.stop() < STOP_SECONDS + 5
    for stream in streams:
        stream.close()


def test_a_connection_ends_with_a_client_that_takes_nothing() -> None:
    given: list[Any] = []

    _listening(lambda number, name, load, shared: given.append(shared))(
        1, "web", None, ((ListenerSpec("127.0.0.1", 0, 8), None), None)
    )

    ((_, holder), _), *_ = given
    with socket.socket(fileno=os.dup(holder.get_fd())) as listener:
        listener.setblocking(True)
        listener.listen()
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
            with accepted:
                timeout = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert timeout == CLIENT_TIMEOUT_SECONDS * 1_000


def test_connections_that_say_nothing_leave_room_for_calls(server: Web) -> None:
    silent = [server.connect() for _ in range(1_500)]

    with server.connect() as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        answer = client.recv(12)

    assert answer == b"HTTP/1.1 200"
    for connection_ in silent:
        connection_.close()
