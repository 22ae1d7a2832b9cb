"""The example worker as a program, against a small server that speaks the workers' protocol."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

WORKER = Path(__file__).parents[2] / "examples" / "art_worker.py"
KEY = "afd_test"
PAINT = {
    "operation": "paint",
    "prompt": "a lake at dawn",
    "style": "minimal",
    "seed": 4,
    "width": 64,
    "height": 64,
}
Answer = tuple[int, dict[str, Any], dict[str, str]]


@dataclass
class FakePlatform:
    """Hands out `jobs`, keeps what it is told, and answers as `answers` says before it answers as usual."""

    jobs: list[dict[str, Any]] = field(default_factory=list)
    said: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    cancel_requested: bool = False
    picture: bytes = b""
    picture_keys: list[str | None] = field(default_factory=list)
    url: str = ""
    changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, payload: Any) -> None:
        with self.changed:
            number = len(self.jobs) + len(self.told("claim"))
            self.jobs.append(
                {"id": f"job-{number}", "lease_token": "token", "payload": payload, "attempt": 1}
            )

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        verb = "artifact" if "/artifacts/" in path else path.rsplit("/", 1)[1]
        with self.changed:
            self.said.append((verb, body))
            self.changed.notify_all()
            if self.answers.get(verb):
                return self.answers[verb].pop(0)
            if verb == "claim" and not self.jobs:
                self.changed.wait(0.05)
            jobs = [self.jobs.pop(0)] if verb == "claim" and self.jobs else []
        usual = {
            "claim": {"jobs": jobs},
            "artifact": {"url": f"{self.url}/pictures/one.png", "content_type": "image/png"},
        }
        renewal = {"lease_expires_at": "2030-01-01T00:00:00Z", "cancel_requested": self.cancel_requested}
        return 200, usual.get(verb, renewal), {}

    def told(self, verb: str) -> list[dict[str, Any]]:
        return [body for said, body in self.said if said == verb]

    def wait_for(self, verb: str, times: int = 1) -> dict[str, Any]:
        """What was told with the `times`-th such call."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.told(verb)) >= times, 20), [
                said for said, _ in self.said
            ]
        return self.told(verb)[times - 1]


def handler_for(platform: FakePlatform) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.respond(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def do_PUT(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            self.respond({"data": data, "token": self.headers["X-Lease-Token"]})

        def do_GET(self) -> None:
            platform.picture_keys.append(self.headers["Authorization"])
            self.reply(200 if platform.picture else 404, platform.picture, {})

        def respond(self, body: dict[str, Any]) -> None:
            if self.headers["Authorization"] != f"Bearer {KEY}":
                status, answer, headers = problem(401, "authentication_failed")
            else:
                status, answer, headers = platform.answer(self.path, body)
            self.reply(status, json.dumps(answer).encode(), headers)

        def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    return Handler


def problem(status: int, code: str, **headers: str) -> Answer:
    return (
        status,
        {"code": code, "detail": "as the test wants"},
        {k.replace("_", "-"): v for k, v in headers.items()},
    )


@contextmanager
def serving(platform: FakePlatform) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(platform))
    platform.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def platform() -> Iterator[FakePlatform]:
    fake = FakePlatform()
    with serving(fake):
        yield fake


@pytest.fixture
def start(platform: FakePlatform) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the worker against the platform: `start("--pace", "5", key=…)`."""
    started: list[subprocess.Popen[str]] = []

    def run(*options: str, key: str = KEY) -> subprocess.Popen[str]:
        command = [sys.executable, str(WORKER), "--url", platform.url, "--worker-id", "art-test", *options]
        environment = {**os.environ, "AFFIDAVIT_API_KEY": key}
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def stop(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Ask it to end; the exit code and what it wrote to stderr."""
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    return process.returncode, errors


def test_a_painting_is_claimed_reported_uploaded_and_completed(
    platform: FakePlatform, start: Callable[..., subprocess.Popen[str]]
) -> None:
    platform.add(PAINT)

    process = start("--pace", "1")
    completed = platform.wait_for("complete")

    assert completed == {
        "lease_token": "token",
        "result": {
            "url": f"{platform.url}/pictures/one.png",
            "content_type": "image/png",
            "width": 64,
            "height": 64,
            "style": "minimal",
            "seed": 4,
        },
    }
    stored = platform.told("artifact")[0]
    assert (Image.open(io.BytesIO(stored["data"])).size, stored["token"]) == ((64, 64), "token")
    assert "a lake at dawn" in platform.told("log")[0]["lines"][0]
    percents = [report["progress"] for report in platform.told("progress")]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert len(percents) > 1
    claim = {"worker_id": "art-test", "services": ["artgen"], "limit": 1, "wait_seconds": 20}
    assert platform.told("claim")[0] == claim
    assert stop(process)[0] == 0


def test_a_picture_is_fetched_and_framed(
    platform: FakePlatform, start: Callable[..., subprocess.Popen[str]]
) -> None:
    other = FakePlatform(picture=platform.picture)
    buffer = io.BytesIO()
    Image.new("RGB", (80, 64), "teal").save(buffer, "PNG")
    platform.picture = other.picture = buffer.getvalue()
    with serving(other):
        platform.add({"operation": "frame", "image": f"{platform.url}/pictures/x.png", "title": "Teal"})
        platform.add({"operation": "frame", "image": f"{other.url}/pictures/x.png"})

        start()
        results = [platform.wait_for("complete", number)["result"] for number in (1, 2)]

    assert all(result["width"] > 80 and result["height"] > 64 for result in results)
    assert platform.picture_keys == [f"Bearer {KEY}"]
    assert other.picture_keys == [None]


def test_what_cannot_be_done_fails_for_good_with_a_reason(
    platform: FakePlatform, start: Callable[..., subprocess.Popen[str]]
) -> None:
    wrong = {
        "prompt must": {**PAINT, "prompt": " "},
        "width must": {**PAINT, "width": "64"},
        "height must": {**PAINT, "height": 4096},
        "seed must": {**PAINT, "seed": True},
        "operation must": {"operation": "sing"},
        "not None": "no object",
        "http or https": {"operation": "frame", "image": "file:///etc/passwd"},
        "answered 404": {"operation": "frame", "image": f"{platform.url}/pictures/x.png"},
    }
    for payload in wrong.values():
        platform.add(payload)

    start()
    told = [platform.wait_for("fail", number + 1) for number in range(len(wrong))]

    assert [reason in fail["error"]["message"] for reason, fail in zip(wrong, told, strict=True)] == [
        True
    ] * len(wrong)
    assert {fail["retryable"] for fail in told} == {False}
    assert {fail["error"]["code"] for fail in told} == {"invalid_payload", "download_failed"}


def test_a_cancelled_job_is_given_up_in_mid_paint(
    platform: FakePlatform, start: Callable[..., subprocess.Popen[str]]
) -> None:
    platform.cancel_requested = True
    platform.add(PAINT)

    start("--pace", "60")
    failed = platform.wait_for("fail")

    assert (failed["error"]["code"], failed["retryable"]) == ("cancelled", False)
    assert not platform.told("complete")


def test_a_lost_lease_drops_the_job_and_the_next_one_is_done(
    platform: FakePlatform, start: Callable[..., subprocess.Popen[str]]
) -> None:
    platform.answers["log"] = [problem(409, "lease_lost")]
    platform.add(PAINT)
    platform.add(PAINT)

    process = start()
    platform.wait_for("complete")

    assert len(platform.told("complete")) == 1
    assert not platform.told("fail")
    code, errors = stop(process)
    assert code == 0
    assert errors.count("dropped") == 1


def test_it_backs_off_while_the_platform_is_unwell_and_goes_on(
    platform: FakePlatform, start: Callable[..., subprocess.Popen[str]]
) -> None:
    platform.answers["claim"] = [
        problem(429, "throttled", Retry_After="0"),
        problem(503, "x", Retry_After="0"),
    ]
    platform.answers["artifact"] = [problem(503, "database_unavailable", Retry_After="0")]
    platform.answers["complete"] = [problem(500, "oops", Retry_After="0")]
    platform.add(PAINT)

    process = start()
    platform.wait_for("complete", 2)

    code, errors = stop(process)
    assert code == 0
    assert "Traceback" not in errors
    assert errors.count("WARNING") == 4


def test_it_waits_for_a_platform_that_is_not_there() -> None:
    environment = {**os.environ, "AFFIDAVIT_API_KEY": KEY}
    command = [sys.executable, str(WORKER), "--url", "http://127.0.0.1:9", "--worker-id", "w"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = [process.stderr.readline() for _ in range(2)]

        code, errors = stop(process)

    assert "WARNING POST /api/workers/claim" in lines[1]
    assert (code, "Traceback" in errors) == (0, False)


def test_a_refused_key_ends_it_with_2(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start(key="afd_wrong")

    _, errors = process.communicate(timeout=20)

    assert process.returncode == 2
    assert "API key is not accepted" in errors


def test_without_a_key_it_does_not_start(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start(key="")

    _, errors = process.communicate(timeout=20)

    assert process.returncode == 2
    assert "AFFIDAVIT_API_KEY" in errors


def test_asked_to_stop_it_finishes_the_picture_first(
    platform: FakePlatform, start: Callable[..., subprocess.Popen[str]]
) -> None:
    platform.add(PAINT)
    process = start("--pace", "1")
    platform.wait_for("log")

    began = time.monotonic()
    code, _ = stop(process)

    assert code == 0
    assert len(platform.told("complete")) == 1
    assert time.monotonic() - began > 0.5
