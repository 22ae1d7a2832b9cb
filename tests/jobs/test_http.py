"""One request, one answer: whatever the other side does ends in time, with a code that says why."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import psutil
import pytest

from jobs import wires
from jobs.http import KEPT_BYTES, READ_BYTES, Answer, Client, HttpFailure, send
from tests import receivers
from tests.receivers import Authority, Behaviour, Receiver, answer, in_turn


@pytest.fixture(autouse=True)
def _loopback_allowed(settings: Any) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    settings.WEBHOOK_ALLOW_HTTP = True


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes a name resolve to addresses: `dns("hooks.example.com", "127.0.0.1")`."""
    known: dict[str, tuple[str, ...]] = {}
    real = socket.getaddrinfo

    def stand_in(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        return [row for text in known[host] for row in real(text, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", stand_in)

    def teach(host: str, *addresses: str) -> None:
        known[host] = addresses

    return teach


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


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
    limits = {"total_seconds": 1.0, "body_seconds": 0.3, **limits}
    return with_client(lambda client: client.send("POST", url, content=b"{}"), **limits)


def failure_of(url: str, **limits: float) -> HttpFailure:
    with pytest.raises(HttpFailure) as failure:
        post(url, **limits)
    return failure.value


# --- What is sent, what is answered ----------------------------------------------------------------


def test_the_request_arrives_as_it_was_given() -> None:
    with Receiver() as receiver:
        send(
            "POST", f"{receiver.url}?a=b%20c", headers=[("X-Name", "caf\xe9"), ("A", "1")], content=b"\x00{}"
        )

    (request,) = receiver.requests
    assert (request.method, request.path, request.body) == ("POST", "/hook?a=b%20c", b"\x00{}")
    assert request.headers == {
        "host": f"127.0.0.1:{receiver.port}",
        "user-agent": "Affidavit-Webhooks/0.1",
        "accept": "*/*",
        "accept-encoding": "identity",
        "content-length": "3",
        "x-name": "caf\xe9",
        "a": "1",
    }


def test_a_request_without_content_has_no_length_unless_its_method_calls_for_one() -> None:
    with Receiver() as receiver:
        send("GET", receiver.url, headers=[("user-agent", "mine")])
        send("POST", receiver.url)

    get, empty_post = receiver.requests
    assert ("content-length" in get.headers, get.headers["user-agent"]) == (False, "mine")
    assert empty_post.headers["content-length"] == "0"


@pytest.mark.parametrize("status", [200, 204, 301, 400, 404, 410, 429, 500, 503, 599])
def test_every_status_is_an_answer(status: int) -> None:
    with Receiver(answer(status, [("Retry-After", "7"), ("X", "caf\xe9")])) as receiver:
        got = send("POST", receiver.url, content=b"{}")

    assert (got.status, got.body, got.is_cut) == (status, b"", False)
    assert ("Retry-After", "7") in got.headers
    assert ("X", "caf\xe9") in got.headers
    assert got.address == f"127.0.0.1:{receiver.port}"
    assert len(receiver.requests) == 1


def test_an_answer_says_where_its_time_went() -> None:
    with Receiver(receivers.after(0.1, answer())) as receiver:
        timings = post(receiver.url).timings

    assert set(timings) == {"dns", "connect", "first_byte", "total"}
    assert 100 <= timings["first_byte"] <= timings["total"] < 500


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X", "a\r\nX-Injected: 1"),
        ("X", "a\nb"),
        ("X", "a\rb"),
        ("X", "a\0b"),
        ("X", "\u2028"),
        ("X\r\nX-Injected", "1"),
        ("X: 1\r\nY", "1"),
        ("X Y", "1"),
        ("", "1"),
        ("Host", "other.example"),
        ("content-length", "0"),
        ("Transfer-Encoding", "chunked"),
        ("CONNECTION", "close"),
    ],
)
def test_a_header_that_would_change_the_request_is_refused(name: str, value: str) -> None:
    with Receiver() as receiver, pytest.raises(ValueError, match="not a"):
        send("POST", receiver.url, headers=[(name, value)])

    assert receiver.connections == 0


@pytest.mark.parametrize("method", ["CONNECT", "GET / HTTP/1.1\r\nX: ", "get", ""])
def test_a_method_that_would_change_the_request_is_refused(method: str) -> None:
    with Receiver() as receiver, pytest.raises(ValueError, match="not a method"):
        send(method, receiver.url)

    assert receiver.connections == 0


def test_cookies_are_not_kept() -> None:
    with Receiver(answer(200, [("Set-Cookie", "a=b")])) as receiver:

        async def twice(client: Client) -> None:
            for _ in range(2):
                await client.send("POST", receiver.url)

        with_client(twice)

    assert ["cookie" in request.headers for request in receiver.requests] == [False, False]


# --- Bodies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "is_cut", "is_kept"),
    [
        (KEPT_BYTES, False, True),
        (KEPT_BYTES + 1, True, True),
        (READ_BYTES, True, True),
        (READ_BYTES + 1, True, False),
    ],
)
def test_a_body_is_kept_up_to_a_size_and_read_up_to_another(size: int, is_cut: bool, is_kept: bool) -> None:
    with Receiver(answer(200, body=b"x" * size)) as receiver:

        async def twice(client: Client) -> Answer:
            await client.send("POST", receiver.url)
            return await client.send("POST", receiver.url)

        got: Answer = with_client(twice)

    assert (len(got.body), got.is_cut) == (min(size, KEPT_BYTES), is_cut)
    assert receiver.connections == (1 if is_kept else 2)


@pytest.mark.parametrize(
    "body",
    [
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"Connection: close\r\n\r\nok",
        b"Content-Length: 2\r\n\r\nok",
    ],
)
def test_every_framing_of_a_body_is_read(body: bytes) -> None:
    with Receiver(receivers.say(b"HTTP/1.1 200 OK\r\n" + body)) as receiver:
        got = post(receiver.url)

    assert (got.status, got.body, got.is_cut) == (200, b"ok", False)


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize(
    "behave",
    [
        receivers.slow_body,
        receivers.slow_chunks,
        lambda status: receivers.say_and_stay(f"HTTP/1.1 {status} OK\r\nContent-Length: 9\r\n\r\nx".encode()),
    ],
    ids=["bytes", "chunks", "stops"],
)
def test_a_body_that_trickles_is_cut_and_no_failure(behave: Callable[[int], Behaviour], status: int) -> None:
    with Receiver(behave(status)) as receiver:
        got, seconds = timed(lambda: post(receiver.url))

    assert (got.status, got.body[:1], got.is_cut) == (status, b"x", True)
    assert seconds < 0.8


def test_a_broken_body_is_cut_and_no_failure() -> None:
    start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
    with Receiver(receivers.say(start + b"garbage\r\n")) as receiver:
        got = post(receiver.url)

    assert (got.status, got.body, got.is_cut) == (200, b"x", True)


def test_a_gigabyte_is_not_read_and_leaves_memory_flat() -> None:
    with Receiver(receivers.huge_body()) as receiver:
        post(receiver.url)
        before = psutil.Process().memory_info().rss
        got, seconds = timed(lambda: post(receiver.url))
        growth = psutil.Process().memory_info().rss - before

    assert (got.status, len(got.body), got.is_cut) == (200, KEPT_BYTES, True)
    assert growth < 50_000_000
    assert seconds < 1


def test_a_compressed_body_is_not_unpacked() -> None:
    bomb = receivers.gzip_bomb()
    with Receiver(bomb) as receiver:
        before = psutil.Process().memory_info().rss
        got = post(receiver.url)
        growth = psutil.Process().memory_info().rss - before

    assert (got.status, len(got.body), got.body[:2]) == (200, KEPT_BYTES, b"\x1f\x8b")
    assert growth < 50_000_000


def test_many_headers_are_cut() -> None:
    with Receiver(answer(200, [(f"X-{n}", "x" * 100) for n in range(500)])) as receiver:
        got = post(receiver.url)

    assert got.status == 200
    assert 15_000 < sum(len(name) + len(value) for name, value in got.headers) <= 16 * 1024


# --- No answer -------------------------------------------------------------------------------------

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
    assert 14.9 < seconds < 15.5


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

    async def both(client: Client) -> tuple[list[BaseException | Answer], Answer, float]:
        slow = [asyncio.create_task(client.send("POST", "https://slow.example.com/")) for _ in range(100)]
        await asyncio.sleep(0.01)
        began_at = time.monotonic()
        fast = await client.send("POST", receiver.url_at("fast.example.com"))
        took = time.monotonic() - began_at
        return await asyncio.gather(*slow, return_exceptions=True), fast, took

    with Receiver() as receiver:
        failures, fast, took = with_client(both, dns_seconds=0.3)
    is_done.set()

    assert {getattr(failure, "code", None) for failure in failures} == {"dns_failed"}
    assert (fast.status, asked.count("slow.example.com")) == (200, 1)
    assert took < 0.2


# --- Addresses -------------------------------------------------------------------------------------


def test_the_next_address_is_tried_when_one_refuses(dns: Callable[..., None]) -> None:
    dns("hooks.example.com", "127.0.0.2", "127.0.0.3", "127.0.0.1")

    with Receiver() as receiver:
        got = post(receiver.url_at("hooks.example.com"))

    assert (got.status, got.address) == (200, f"127.0.0.1:{receiver.port}")


def test_the_next_address_is_tried_when_one_swallows_packets(dns: Callable[..., None]) -> None:
    dns("hooks.example.com", "127.0.0.1", "127.0.0.2")

    with full_backlog() as port, Receiver(host="127.0.0.2", port=port):
        got = post(f"http://hooks.example.com:{port}/", connect_seconds=0.4)

    assert (got.status, got.address) == (200, f"127.0.0.2:{port}")


# --- TLS -------------------------------------------------------------------------------------------


def test_the_certificate_is_verified_for_the_name_and_the_name_is_sent(
    settings: Any, authority: Authority, dns: Callable[..., None]
) -> None:
    settings.WEBHOOK_CA_FILE = str(authority.ca_file)
    dns("hooks.example.com", "127.0.0.1")
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
    dns: Callable[..., None],
    names: list[str],
    is_expired: bool,
    is_trusted: bool,
    says: str,
) -> None:
    settings.WEBHOOK_CA_FILE = str(authority.ca_file) if is_trusted else ""
    dns("hooks.example.com", "127.0.0.1")

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


def test_a_server_that_speaks_in_the_clear_first_is_not_believed(settings: Any, authority: Authority) -> None:
    settings.WEBHOOK_CA_FILE = str(authority.ca_file)
    forged = b"HTTP/1.1 200 Forged\r\nContent-Length: 0\r\n\r\n"

    with speaking(forged, is_first=True) as port:
        failure = failure_of(f"https://127.0.0.1:{port}/")

    # Whether it came before the handshake began, and was dropped, or within.
    assert failure.code in ("tls_failed", "timed_out")


def test_a_handshake_that_never_ends_is_timed_out() -> None:
    with mute() as port:
        failure, seconds = timed(lambda: failure_of(f"https://127.0.0.1:{port}/", total_seconds=0.5))

    assert failure.code == "timed_out"
    assert seconds < 1.5


# --- Kept connections ------------------------------------------------------------------------------


@pytest.mark.parametrize("is_secure", [False, True])
def test_a_connection_is_used_again(settings: Any, authority: Authority, is_secure: bool) -> None:
    settings.WEBHOOK_CA_FILE = str(authority.ca_file)

    async def three_times(client: Client) -> list[Answer]:
        return [await client.send("POST", receiver.url, content=b"{}") for _ in range(3)]

    tls = authority.server_context("127.0.0.1") if is_secure else None
    with Receiver(answer(200, body=b"ok"), tls=tls) as receiver:
        answers = with_client(three_times)

    assert (receiver.connections, len(receiver.requests)) == (1, 3)
    assert {"connect"} <= set(answers[0].timings)
    assert set(answers[2].timings) == {"first_byte", "total"}
    assert answers[2].address == f"127.0.0.1:{receiver.port}"


def test_a_kept_connection_that_the_server_has_closed_is_replaced() -> None:
    async def with_a_pause(client: Client) -> Answer:
        await client.send("POST", receiver.url)
        await asyncio.to_thread(receiver.close_connections)
        return await client.send("POST", receiver.url)

    with Receiver() as receiver:
        got = with_client(with_a_pause)

    assert (got.status, receiver.connections, len(receiver.requests)) == (200, 2, 2)


@pytest.mark.parametrize("end", [receivers.hang_up, receivers.reset])
def test_a_kept_connection_that_closes_as_it_is_used_is_retried_once(end: Behaviour) -> None:
    async def twice(client: Client) -> Answer:
        await client.send("POST", receiver.url)
        return await client.send("POST", receiver.url, content=b"{}")

    with Receiver(in_turn(answer(), end, answer(202))) as receiver:
        got = with_client(twice)

    assert (got.status, receiver.connections, len(receiver.requests)) == (202, 2, 3)


def test_a_retry_that_fails_is_a_failure() -> None:
    async def twice(client: Client) -> None:
        await client.send("POST", receiver.url)
        await client.send("POST", receiver.url)

    with Receiver(in_turn(answer(), receivers.hang_up)) as receiver, pytest.raises(HttpFailure) as failure:
        with_client(twice)

    assert failure.value.code == "connection_lost"
    assert (receiver.connections, len(receiver.requests)) == (2, 3)


@pytest.mark.parametrize("end", [receivers.say(b"HTTP/1.1 20"), receivers.say(b"garbage\r\n\r\n")])
def test_a_kept_connection_that_has_answered_something_is_not_retried(end: Behaviour) -> None:
    async def twice(client: Client) -> None:
        await client.send("POST", receiver.url)
        await client.send("POST", receiver.url)

    with Receiver(in_turn(answer(), end)) as receiver, pytest.raises(HttpFailure):
        with_client(twice)

    assert (receiver.connections, len(receiver.requests)) == (1, 2)


def test_a_kept_connection_that_does_not_answer_is_not_retried() -> None:
    async def twice(client: Client) -> None:
        await client.send("POST", receiver.url)
        await client.send("POST", receiver.url)

    with Receiver(in_turn(answer(), receivers.never)) as receiver, pytest.raises(HttpFailure) as failure:
        with_client(twice, total_seconds=0.3)

    assert (failure.value.code, len(receiver.requests)) == ("timed_out", 2)


@pytest.mark.parametrize("pause_seconds", [0.0, 0.1])
def test_bytes_beyond_an_answer_answer_nobody_elses_request(pause_seconds: float) -> None:
    honest = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    forged = b"HTTP/1.1 299 Forged\r\nContent-Length: 0\r\n\r\n"

    async def twice(client: Client) -> Answer:
        await client.send("POST", receiver.url)
        await asyncio.sleep(0.2)
        return await client.send("POST", receiver.url)

    async def overdo(conversation: receivers.Conversation) -> bool:
        if not pause_seconds:
            await conversation.say(honest + forged)
            return True
        await conversation.say(honest)
        await asyncio.sleep(pause_seconds)
        await conversation.say(forged)
        return True

    with Receiver(in_turn(overdo, answer(201))) as receiver:
        got = with_client(twice)

    assert (got.status, receiver.connections) == (201, 2)


def test_an_idle_connection_is_closed_after_a_while() -> None:
    async def wait(client: Client) -> int:
        await client.send("POST", receiver.url)
        await asyncio.sleep(0.4)
        return connections_to(receiver.port)

    with Receiver() as receiver:
        assert with_client(wait, kept_seconds=0.1) == 0


def test_nothing_is_left_open_after_cancelling() -> None:
    async def cancel(client: Client) -> int:
        task = asyncio.create_task(client.send("POST", receiver.url))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.05)
        return connections_to(receiver.port)

    with Receiver(receivers.never) as receiver:
        assert with_client(cancel) == 0

    assert len(receiver.requests) == 1


def test_a_url_is_judged_again_though_a_connection_is_kept(settings: Any) -> None:
    async def twice(client: Client) -> None:
        await client.send("POST", receiver.url)
        settings.WEBHOOK_ALLOW_HTTP = False
        await client.send("POST", receiver.url)

    with Receiver() as receiver, pytest.raises(HttpFailure) as failure:
        with_client(twice)

    assert (failure.value.code, len(receiver.requests)) == ("url_refused", 1)


def test_hundreds_in_flight_get_their_own_answers() -> None:
    async def echo(conversation: receivers.Conversation) -> bool:
        body = conversation.request.body
        await conversation.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        return True

    async def many(client: Client) -> list[Answer]:
        sends = [client.send("POST", receiver.url, content=b"%d" % number) for number in range(300)]
        return await asyncio.gather(*sends)

    with Receiver(echo) as receiver:
        answers = with_client(many)

    assert [got.body for got in answers] == [b"%d" % number for number in range(300)]


def test_names_are_looked_up_in_a_forked_process_too() -> None:
    wires.threads(os.getpid()).submit(wires.look_up, "127.0.0.1").result(timeout=5)

    child = os.fork()
    if child == 0:
        status = 1
        try:
            wires.threads(os.getpid()).submit(wires.look_up, "127.0.0.1").result(timeout=5)
            status = 0
        finally:
            os._exit(status)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# --- Stage hands -----------------------------------------------------------------------------------


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    began_at = time.monotonic()
    result = call()
    return result, time.monotonic() - began_at


def connections_to(port: int) -> int:
    """How many connections of this process to the port are open, seen from the client's end."""
    found = psutil.Process().net_connections(kind="tcp")
    return sum(
        1 for entry in found if entry.raddr and entry.raddr.port == port and entry.status == "ESTABLISHED"
    )


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
def speaking(data: bytes, *, is_first: bool = False) -> Iterator[int]:
    """A port without TLS that says something, before it is spoken to or after."""

    def speak() -> None:
        connection, _ = listener.accept()
        with connection:
            if not is_first:
                connection.recv(65_536)
            connection.sendall(data)
            while connection.recv(65_536):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as thread:
        speaking = thread.submit(speak)
        yield listener.getsockname()[1]
        speaking.exception(timeout=10)
