"""The one port: requests come in whole, answers go out as they are."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest
from django.http import HttpResponse

from config.bridge import Body, make_environ
from config.listening import Listener
from config.longpoll import Hub, ask_again_when, asked_again

SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "GET",
    "path": "/healthz",
    "query_string": b"",
    "http_version": "1.1",
    "scheme": "http",
    "server": ("127.0.0.1", 8000),
    "client": ("127.0.0.1", 50_000),
    "headers": [(b"host", b"127.0.0.1")],
}


def call(
    *parts: bytes, headers: tuple[tuple[bytes, bytes], ...] = (), **scope: Any
) -> tuple[int, Any, bytes]:
    """Call the application as a server would; (status, headers, body)."""
    from config.asgi import application

    sent: list[Any] = []
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Any:
        if messages:
            return messages.pop(0)
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    whole = {**SCOPE, **scope, "headers": [*SCOPE["headers"], *headers]}
    asyncio.run(application(whole, receive, send))
    start, *rest = sent
    return start["status"], dict(start["headers"]), b"".join(message["body"] for message in rest)


def test_an_answer_goes_out_whole() -> None:
    status, headers, body = call()

    assert (status, json.loads(body)) == (200, {"status": "ok"})
    assert headers[b"content-type"] == b"application/json"
    assert len(headers[b"x-trace-id"]) == 32


def test_head_has_no_body() -> None:
    status, headers, body = call(method="HEAD")

    assert (status, body) == (200, b"")
    assert int(headers[b"content-length"]) > 0


@pytest.mark.parametrize(
    ("parts", "headers"),
    [
        ((), ((b"content-length", b"999999999999"),)),
        ((b"x" * 20_000_000, b"x" * 20_000_000), ((b"transfer-encoding", b"chunked"),)),
    ],
)
def test_a_body_beyond_every_limit_is_refused_unread(
    parts: tuple[bytes, ...], headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    status, answered, body = call(*parts, headers=headers, method="POST", path="/api/jobs")

    assert status == 413
    assert answered[b"content-type"] == b"application/problem+json"
    assert json.loads(body)["code"] == "body_too_large"


def test_a_chunked_body_is_measured() -> None:
    with Body(1_000) as body:
        body.write(b"12345")

        environ = make_environ({**SCOPE, "headers": [(b"transfer-encoding", b"chunked")]}, body)

    assert environ["CONTENT_LENGTH"] == "5"


def test_headers_come_through_and_none_passes_for_another() -> None:
    headers = [(b"x-a", b"1"), (b"x-a", b"2"), (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"x_a", b"spoofed")]
    with Body(1_000) as body:
        environ = make_environ({**SCOPE, "headers": headers, "path": "/ü"}, body)

    assert (environ["HTTP_X_A"], environ["HTTP_COOKIE"]) == ("1,2", "a=1; b=2")
    assert environ["PATH_INFO"].encode("latin-1").decode() == "/ü"
    assert environ["REMOTE_ADDR"] == "127.0.0.1"


def test_a_client_that_left_has_nothing_claimed_for_it() -> None:
    looks: list[int] = []

    async def look() -> tuple[HttpResponse, str]:
        looks.append(1)
        response = HttpResponse()
        ask_again_when(response, ["queue/nowhere"], seconds=30)
        return response, "empty"

    async def wait() -> str:
        hub = Hub(Listener("postgresql:///nowhere?host=/nowhere"))
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        gone.set_result(None)
        until = asyncio.get_running_loop().time() + 1e9
        return await hub.ask_until_answered(look, "first", ["queue/nowhere"], until=until, gone=gone)

    assert asyncio.run(wait()) == "first"
    assert looks == []


def test_a_wish_travels_in_the_answer() -> None:
    response = HttpResponse()
    assert asked_again(response) is None

    ask_again_when(response, ["queue/a", "queue/b"], seconds=2.5)

    wish = asked_again(response)
    assert wish is not None
    assert (wish.topics, wish.seconds) == (["queue/a", "queue/b"], 2.5)


@pytest.mark.parametrize(
    "charset",
    [
        "hex",
        "zlib",
        "bz2",
        "base64",
        "rot13",
        "quopri",
        "uu",
        "undefined",
        "idna",
        "punycode",
        '"hex"',
        "nonsense",
    ],
)
@pytest.mark.parametrize(
    ("method", "path", "expected"), [("GET", "/healthz", 200), ("PUT", "/api/user_notified", 405)]
)
def test_a_charset_that_decodes_no_text_is_no_error(
    charset: str, method: str, path: str, expected: int
) -> None:
    content_type = f"text/plain; Charset={charset}; boundary=x".encode()

    status, _, _ = call(
        headers=((b"content-type", content_type),), path=path, query_string=b"a=%C3%A4.1", method=method
    )

    assert status == expected


@pytest.mark.django_db
def test_wsgi_is_as_deaf_to_charsets() -> None:
    from config.wsgi import application

    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/healthz",
        "QUERY_STRING": "a=1",
        "CONTENT_TYPE": "text/plain; charset=hex",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "wsgi.input": io.BytesIO(),
        "wsgi.url_scheme": "http",
    }
    said: list[str] = []

    answer = application(environ, lambda status, headers: said.append(status))

    answer.close()  # type: ignore[attr-defined]
    assert said == ["200 OK"]
