"""A request arrives as it was given, and its answer is kept as far as it is wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psutil
import pytest

from jobs.http import KEPT_BYTES, READ_BYTES, Answer, Client, send
from tests import receivers
from tests.jobs.sending import post, timed, with_client
from tests.receivers import Behaviour, Receiver, answer


@pytest.fixture(autouse=True)
def _loopback_allowed(settings: Any) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    settings.WEBHOOK_ALLOW_HTTP = True


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
