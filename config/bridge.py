"""Runs Django's synchronous side under an event loop: a request in, ASGI messages out.

Django's own ASGIHandler starts a thread for each request to a sync view, which costs half the throughput; this
keeps a few threads, each with its database connection, and calls the WSGIHandler on them.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from tempfile import SpooledTemporaryFile
from typing import Any, cast

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.db import close_old_connections
from django.http import FileResponse, HttpResponse, HttpResponseBase, StreamingHttpResponse

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Body = SpooledTemporaryFile[bytes]
Emit = Callable[[Message], bool]

CHARSET = re.compile(r""";\s*charset\s*=\s*("[^"]*"|[^;]*)""", re.IGNORECASE)
FILE_CHUNK = 256 * 1024  # Django's 4 KiB would cost a hop between threads each


class Bridge:
    """A WSGIHandler behind a fixed pool; with every thread busy, requests wait and none fails."""

    def __init__(self, handler: WSGIHandler) -> None:
        self._handler = handler
        self._pool = ThreadPoolExecutor(settings.WEB_THREADS, thread_name_prefix="web")

    async def call(self, environ: dict[str, Any], emit: Emit) -> tuple[HttpResponseBase, list[Message]]:
        """Handle one request on a thread; the answer's messages are for the loop to send."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._call, environ, emit)

    async def run(self, work: Callable[[], Any]) -> Any:
        """Call `work` on a thread, with its database connection."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, _with_connection, work)

    def close(self) -> None:
        self._pool.shutdown()

    def _call(self, environ: dict[str, Any], emit: Emit) -> tuple[HttpResponseBase, list[Message]]:
        response: HttpResponseBase = self._handler(environ, lambda *_: lambda _: None)
        try:
            return response, _messages(response, emit, is_head=environ["REQUEST_METHOD"] == "HEAD")
        finally:
            response.close()  # on this thread, whose connections request_finished looks after


def _with_connection(work: Callable[[], Any]) -> Any:
    """Call `work` as a request is handled: a connection that has broken is not used again."""
    close_old_connections()
    try:
        return work()
    finally:
        close_old_connections()


def _messages(response: HttpResponseBase, emit: Emit, *, is_head: bool) -> list[Message]:
    """The answer as ASGI messages; a streamed body is sent through `emit` (False: the client has left)."""
    if not isinstance(response, StreamingHttpResponse):
        return answer_messages(cast(HttpResponse, response), is_head=is_head)
    start = _start(response)
    if isinstance(response, FileResponse):
        response.block_size = FILE_CHUNK
    if emit(start) and not is_head:
        all(emit(body_message(chunk, more=True)) for chunk in cast(Any, response))
    return [body_message(b"")]


def answer_messages(answer: HttpResponse, *, is_head: bool = False) -> list[Message]:
    """An answer that is whole, as ASGI messages."""
    return [_start(answer), body_message(b"" if is_head else answer.content)]


def _start(response: HttpResponseBase) -> Message:
    return {"type": "http.response.start", "status": response.status_code, "headers": _headers(response)}


def _headers(response: HttpResponseBase) -> list[tuple[bytes, bytes]]:
    headers = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
    cookies = (cookie.output(header="").strip().encode() for cookie in response.cookies.values())
    return headers + [(b"set-cookie", cookie) for cookie in cookies]


def body_message(data: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def without_charset(content_type: str) -> str:
    """A content type that leaves Django at UTF-8, which is all that is spoken here.

    Django decodes the query with whatever codec is named, before any middleware: `hex` or `zlib`, which decode no
    text, would be an error that nobody catches.
    """
    return CHARSET.sub("", content_type)


def make_environ(scope: Message, body: Body) -> dict[str, Any]:
    """Translate an ASGI scope and a fully read body into a WSGI environ."""
    server, client = scope["server"] or ("localhost", 80), scope["client"] or ("", 0)
    environ: dict[str, Any] = {}
    for name, raw in scope["headers"]:
        if b"_" in name:  # else X_Real_IP would pass for X-Real-IP
            continue
        key, value = "HTTP_" + name.decode().upper().replace("-", "_"), raw.decode("latin-1")
        joint = "; " if key == "HTTP_COOKIE" else ","
        environ[key] = environ[key] + joint + value if key in environ else value
    environ["CONTENT_TYPE"] = without_charset(environ.pop("HTTP_CONTENT_TYPE", ""))
    environ.pop("HTTP_CONTENT_LENGTH", None)
    return environ | {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode().decode("latin-1"),  # WSGI's strings are bytes in disguise
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        # Measured and not declared: Django takes a chunked body, which declares nothing, for an empty one.
        "CONTENT_LENGTH": str(body.tell()),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "REMOTE_ADDR": client[0],
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": body,
        "wsgi.errors": sys.stderr,
    }
