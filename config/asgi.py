"""ASGI entry point: the whole platform on one port.

Requests are read on the event loop and run on a few threads (`config.bridge`). A long poll (`config.longpoll`) and
a stream (`config.broadcasting`) wait on the loop, with neither thread nor connection.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from importlib import import_module
from types import FrameType
from typing import Any

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
_handler = get_wsgi_application()

from django.conf import settings  # noqa: E402  needs the settings module's name
from django.http import HttpResponseBase  # noqa: E402

from config import broadcasting  # noqa: E402
from config.bridge import Body, Bridge, Message, Receive, Send, answer_messages, body_message, make_environ  # noqa: E402
from config.listening import Listener  # noqa: E402
from config.longpoll import HIDDEN_HEADERS, Hub, asked_again  # noqa: E402
from config.memory import keep_for_ever  # noqa: E402
from config.problems import problem_answer  # noqa: E402
from config.streaming import EventStream, Watch  # noqa: E402
from config.tracing import Trace, bound_trace  # noqa: E402

import_module(settings.ROOT_URLCONF)  # now: a first burst of requests must not race the import
keep_for_ever()
_bridge = Bridge(_handler)
_listener = Listener(settings.DATABASE_DIRECT_URL)
_hub = Hub(_listener)
_streams = broadcasting.Hub(_listener, _bridge.run)
# A picture comes in a form, which has fields and a frame besides.
_largest_body: int = max(
    settings.ARTIFACT_MAX_BYTES, settings.SUBMISSION_IMAGE_MAX_BYTES + settings.DATA_UPLOAD_MAX_MEMORY_SIZE
)
# Of a stream that is refused after all: what the middleware and the view have set is said in the refusal, too.
KEPT_HEADERS = ("X-Trace-Id", "X-Request-Id", "Access-Control-Allow-Origin")
IN_MEMORY_BYTES = 1_048_576  # a larger body is kept in a file while it is read


async def application(scope: Message, receive: Receive, send: Send) -> None:
    """Serve one ASGI scope."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
    elif scope["type"] == "http":
        with Body(IN_MEMORY_BYTES) as body:
            if await _read(scope, receive, body):
                await _serve(scope, receive, send, body)
            elif body.tell() > _largest_body or _declared(scope) > _largest_body:
                await _refuse_too_large(send)


async def _live(receive: Receive, send: Send) -> None:
    await receive()
    _close_streams_on_signals(asyncio.get_running_loop())
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
    _bridge.close()


def _close_streams_on_signals(loop: asyncio.AbstractEventLoop) -> None:
    """Close the streams when the process is to stop: the server waits for open answers before it says "shutdown"."""
    if threading.current_thread() is not threading.main_thread():
        return  # signals are another's business
    for signum in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(signum)

        def stop(signum: int, frame: FrameType | None, before: Any = before) -> None:
            loop.call_soon_threadsafe(_streams.close)
            if callable(before):
                before(signum, frame)

        signal.signal(signum, stop)
        signal.siginterrupt(signum, False)


async def _read(scope: Message, receive: Receive, body: Body) -> bool:
    """Read the request's body; False when it is too large or the client left. A slow sender holds no thread."""
    more = _declared(scope) <= _largest_body
    is_whole = more
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return False
        body.write(message.get("body", b""))
        more = bool(message.get("more_body", False))
        if body.tell() > _largest_body:
            return False
    return is_whole


def _declared(scope: Message) -> int:
    value = dict(scope["headers"]).get(b"content-length", b"0")
    return int(value) if value.isdigit() else 0


async def _refuse_too_large(send: Send) -> None:
    answer = problem_answer(413, "body_too_large", f"A body may have {_largest_body} bytes.")
    for message in answer_messages(answer):
        await send(message)


async def _serve(scope: Message, receive: Receive, send: Send, body: Body) -> None:
    began = time.monotonic()
    loop, gone = asyncio.get_running_loop(), asyncio.ensure_future(_disconnected(receive))

    def emit(message: Message) -> bool:
        asyncio.run_coroutine_threadsafe(_push(send, message), loop).result()
        return not gone.done()

    async def look() -> tuple[HttpResponseBase, list[Message]]:
        environ = make_environ(scope, body)
        body.seek(0)
        answer = await _bridge.call(environ, emit)
        body.seek(0, os.SEEK_END)
        return answer

    try:
        response, messages = await look()
        if wish := asked_again(response):
            messages = await _hub.ask_until_answered(
                look, messages, wish.topics, until=began + wish.seconds, gone=gone
            )
        goes_on = scope["method"] == "GET" and not _streams.is_closed
        if goes_on and isinstance(response, EventStream) and response.watch:
            await _stream(response.watch, response, messages, send, gone)
        else:
            for message in messages:
                await send(_without_hidden_headers(message))
    finally:
        gone.cancel()


async def _stream(
    watch: Watch, response: EventStream, messages: list[Message], send: Send, gone: asyncio.Future[None]
) -> None:
    """Send the first page and whatever comes behind it."""
    start, first = messages
    start["headers"] = [pair for pair in start["headers"] if pair[0] != b"content-length"]
    unsent = [start]

    async def send_part(data: bytes, *, more: bool) -> None:
        if unsent:
            await send(unsent.pop())
        await send(body_message(data, more=more))

    try:
        with _streams.seat(watch.access):
            # The stream may last for an hour: nothing else may keep the page until then.
            response.content = b""
            await _streams.serve(watch, send_part, gone, [first.pop("body")])
    except broadcasting.StreamRefused as refused:
        for message in _refusal(refused, response):
            await send(message)


def _refusal(refused: broadcasting.StreamRefused, response: EventStream) -> list[Message]:
    with bound_trace(Trace(response["X-Trace-Id"], response["X-Request-Id"])):
        answer = problem_answer(refused.status, refused.code, refused.detail)
    for name in filter(response.has_header, KEPT_HEADERS):
        answer[name] = response[name]
    answer["Retry-After"] = str(broadcasting.RETRY_AFTER_SECONDS)
    return answer_messages(answer)


async def _push(send: Send, message: Message) -> None:
    await send(message)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _without_hidden_headers(message: Message) -> Message:
    if message["type"] == "http.response.start":
        message["headers"] = [pair for pair in message["headers"] if pair[0] not in HIDDEN_HEADERS]
    return message
