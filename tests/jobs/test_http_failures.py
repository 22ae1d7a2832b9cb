"""Whatever the other side does ends in time, with a code that says why there is no answer."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from jobs.http import Answer, Client, HttpFailure, send
from tests import receivers
from tests.jobs.sending import Resolves, failure_of, post, stand_in_for_dns, timed, with_client
from tests.receivers import Authority, Behaviour, Receiver


@pytest.fixture(autouse=True)
def _loopback_allowed(settings: Any) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    settings.WEBHOOK_ALLOW_HTTP = True


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> Resolves:
    return stand_in_for_dns(monkeypatch)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


HOSTILE: dict[str, tuple[Behaviour, str]] = {
    "says nothing": (receivers.never, "timed_out"),
    "one byte of the status line at a time": (receivers.slow_status(), "timed_out"),
    "slow informational answers": (receivers.endless_informational(pause_seconds=0.01), "timed_out"),
    "fast informational answers": (receivers.endless_informational(), "invalid_response"),
    "endless headers": (receivers.endless_headers(), "invalid_response"),
    "one endless header": (receivers.pour(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 1_000), "invalid_response"),
    "an endless status line": (receivers.pour(b"HTTP/1.1 200 ", b"x" * 1_000), "invalid_response"),
    "no HTTP": (receivers.say(b"SSH-2.0-OpenSSH_9.6\r\n"), "invalid_response"),
    "HTTP/0.9": (receivers.say(b"<html>hello</html>"), "invalid_response"),
    "HTTP/0.9 with lines": (receivers.say(b"<html>\r\nhello</html>\r\n\r\n"), "invalid_response"),
    "HTTP/2": (receivers.say(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + b"\0" * 18), "invalid_response"),
    "no status": (receivers.say(b"HTTP/1.1 abc OK\r\n\r\n"), "invalid_response"),
    "two lengths": (
        receivers.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok"),
        "invalid_response",
    ),
    "an upgrade nobody asked for": (
        receivers.say(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
        "invalid_response",
    ),
    "a reset": (receivers.reset, "connection_lost"),
    "a close": (receivers.hang_up, "connection_lost"),
    "half a status line": (receivers.say(b"HTTP/1.1 20"), "invalid_response"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_server_ends_in_time_with_its_code(what: str) -> None:
    behaviour, code = HOSTILE[what]
    total_seconds = 0.5 if code == "timed_out" else 5.0

    with Receiver(behaviour) as receiver:
        failure, seconds = timed(lambda: failure_of(receiver.url, total_seconds=total_seconds))

    assert failure.code == code
    assert seconds < 1.5
    assert failure.address == f"127.0.0.1:{receiver.port}"
    assert {"dns", "connect", "total"} <= set(failure.timings)
    assert receiver.connections == 1


@pytest.mark.faults
def test_the_total_time_is_fifteen_seconds_of_wall_clock() -> None:
    with Receiver(receivers.slow_status()) as receiver:
        began_at = time.monotonic()
        with pytest.raises(HttpFailure) as failure:
            send("POST", receiver.url)
        seconds = time.monotonic() - began_at

    assert failure.value.code == "timed_out"
    assert 14.9 < seconds < 17


def test_a_closed_port_is_a_failure_that_tells_the_tenant_nothing_of_it() -> None:
    with Receiver() as receiver:
        url = receiver.url

    failure = failure_of(url)

    assert failure.code == "connect_failed"
    assert "127.0.0.1" not in failure.detail
    assert "127.0.0.1" in failure.internal
    assert failure.address == f"127.0.0.1:{receiver.port}"


def test_a_host_that_swallows_packets_ends_in_connect_timeout() -> None:
    with full_backlog() as port:
        failure, seconds = timed(lambda: failure_of(f"http://127.0.0.1:{port}/", connect_seconds=0.3))

    assert failure.code == "connect_timeout"
    assert seconds < 0.8


def test_a_host_without_an_address_is_dns_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)

    assert failure_of("https://hooks.example.com/").code == "dns_failed"


def test_a_slow_name_server_holds_one_thread_and_delays_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    is_done = threading.Event()
    asked: list[str] = []
    real = socket.getaddrinfo

    def stand_in(host: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(host)
        if host == "slow.example.com":
            is_done.wait(timeout=10)
        return real("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", stand_in)

    async def both(client: Client) -> tuple[list[BaseException | Answer], Answer, bool]:
        slow = [asyncio.create_task(client.send("POST", "https://slow.example.com/")) for _ in range(100)]
        await asyncio.sleep(0.01)
        fast = await client.send("POST", receiver.url_at("fast.example.com"))
        was_first = not any(task.done() for task in slow)
        return await asyncio.gather(*slow, return_exceptions=True), fast, was_first

    with Receiver() as receiver:
        failures, fast, was_first = with_client(both, dns_seconds=0.5)
    is_done.set()

    assert {getattr(failure, "code", None) for failure in failures} == {"dns_failed"}
    assert (fast.status, was_first, asked.count("slow.example.com")) == (200, True, 1)


def test_the_next_address_is_tried_when_one_refuses(dns: Resolves) -> None:
    dns("hooks.example.com", ["127.0.0.2", "127.0.0.3", "127.0.0.1"])

    with Receiver() as receiver:
        got = post(receiver.url_at("hooks.example.com"))

    assert (got.status, got.address) == (200, f"127.0.0.1:{receiver.port}")


def test_the_next_address_is_tried_when_one_swallows_packets(dns: Resolves) -> None:
    dns("hooks.example.com", ["127.0.0.1", "127.0.0.2"])

    with full_backlog() as port, Receiver(host="127.0.0.2", port=port):
        got = post(f"http://hooks.example.com:{port}/", connect_seconds=0.4)

    assert (got.status, got.address) == (200, f"127.0.0.2:{port}")


def test_the_certificate_is_verified_for_the_name_and_the_name_is_sent(
    settings: Any, authority: Authority, dns: Resolves
) -> None:
    settings.WEBHOOK_CA_FILE = str(authority.ca_file)
    dns("hooks.example.com", ["127.0.0.1"])
    context = authority.server_context("hooks.example.com")
    asked: list[str | None] = []
    context.sni_callback = lambda socket, name, context: asked.append(name)

    with Receiver(tls=context) as receiver:
        got = post(receiver.url_at("hooks.example.com"))

    assert (got.status, asked) == (200, ["hooks.example.com"])
    assert receiver.requests[0].headers["host"] == f"hooks.example.com:{receiver.port}"
    assert {"dns", "connect", "tls", "first_byte", "total"} == set(got.timings)


@pytest.mark.parametrize(
    ("names", "is_expired", "is_trusted", "says"),
    [
        (["hooks.example.com"], True, True, "certificate has expired"),
        (["other.example.com"], False, True, "not valid for 'hooks.example.com'"),
        (["127.0.0.1"], False, True, "not valid for 'hooks.example.com'"),
        (["hooks.example.com"], False, False, "unable to get local issuer"),
    ],
    ids=["expired", "wrong name", "only the address", "unknown authority"],
)
def test_a_bad_certificate_is_refused_and_gets_no_request(
    settings: Any,
    authority: Authority,
    dns: Resolves,
    names: list[str],
    is_expired: bool,
    is_trusted: bool,
    says: str,
) -> None:
    settings.WEBHOOK_CA_FILE = str(authority.ca_file) if is_trusted else ""
    dns("hooks.example.com", ["127.0.0.1"])

    with Receiver(tls=authority.server_context(*names, is_expired=is_expired)) as receiver:
        failure = failure_of(receiver.url_at("hooks.example.com"))

    assert failure.code == "tls_failed"
    assert says in failure.detail
    assert receiver.requests == []


def test_old_tls_is_refused(settings: Any, authority: Authority) -> None:
    settings.WEBHOOK_CA_FILE = str(authority.ca_file)
    context = authority.server_context("127.0.0.1")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1

    with Receiver(tls=context) as receiver:
        assert failure_of(receiver.url).code == "tls_failed"


def test_a_server_without_tls_is_tls_failed() -> None:
    with speaking(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        failure = failure_of(f"https://127.0.0.1:{port}/")

    assert failure.code == "tls_failed"


def test_an_answer_in_the_clear_before_the_handshake_is_not_believed(
    settings: Any, authority: Authority
) -> None:
    settings.WEBHOOK_CA_FILE = str(authority.ca_file)
    forged = b"HTTP/1.1 299 Forged\r\nContent-Length: 0\r\n\r\n"
    honest = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"

    with speaking(honest, first=forged, tls=authority.server_context("127.0.0.1")) as port:
        try:
            said = str(post(f"https://127.0.0.1:{port}/").status)
        except HttpFailure as failure:
            said = failure.code

    # Whether it came before the handshake began, and was dropped, or within, and broke it.
    assert said in ("201", "tls_failed", "timed_out")


def test_a_handshake_that_never_ends_is_timed_out() -> None:
    with mute() as port:
        failure, seconds = timed(lambda: failure_of(f"https://127.0.0.1:{port}/", total_seconds=0.5))

    assert failure.code == "timed_out"
    assert seconds < 1.5


@contextmanager
def full_backlog() -> Iterator[int]:
    """A port whose queue of connections is full: it swallows what comes."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as waiting:
        for _ in range(4):
            connection = waiting.enter_context(socket.socket())
            connection.setblocking(False)
            connection.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@contextmanager
def mute() -> Iterator[int]:
    """A port that lets connections in and never reads them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@contextmanager
def speaking(data: bytes, *, first: bytes = b"", tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A port that says `first` in the clear before anything else, and `data` once it has been spoken to."""

    def speak() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(first)
            with tls.wrap_socket(connection, server_side=True) if tls else connection as spoken:
                spoken.recv(65_536)
                spoken.sendall(data)
                while spoken.recv(65_536):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as thread:
        spoken = thread.submit(speak)
        yield listener.getsockname()[1]
        spoken.exception(timeout=10)
