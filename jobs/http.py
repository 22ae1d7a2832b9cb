"""Speaks to the network, and is the only module that does: one request to a URL a tenant gave, one answer.

Whatever the other side does ends in time and within a few hundred KiB. No redirect is followed, no proxy or
cookie is known, nothing is read from the environment, no body is decompressed.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import NamedTuple, cast

import httpcore

from jobs import wires
from jobs.targets import HttpFailure, Target, read_target

__all__ = ["Answer", "Client", "HttpFailure", "check_url", "send"]

USER_AGENT = "Affidavit-Webhooks/0.1"
READ_BYTES = 64 * 1024  # of a body, so that its connection can be kept
KEPT_BYTES = 16 * 1024
HEADERS_KEPT_BYTES = 16 * 1024
ORIGINS_KEPT = 500
CHECK_SECONDS = 2.0

# What frames a message or speaks for the connection is written here and nowhere else.
OWN_HEADERS = {
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
_METHOD = re.compile(r"(?!CONNECT$)[A-Z]{1,20}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

Headers = Sequence[tuple[str, str]]
Origin = tuple[str, str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the other side said; `timings` are whole milliseconds, dns, connect and tls on a new connection only."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes  # its first KEPT_BYTES
    is_cut: bool  # there was more, or it may have been going to come
    address: str  # "ip:port" connected to
    timings: dict[str, int]


@dataclass(slots=True)
class _Clock:
    """Notes what an exchange spends its time on."""

    started_at: float
    timings: dict[str, int] = field(default_factory=dict)
    address: str = ""
    _lap_at: float = 0.0

    def begin(self, now: float) -> None:
        self._lap_at = now

    def lap(self, name: str, now: float) -> None:
        self.timings[name] = _milliseconds(now - self._lap_at)
        self._lap_at = now

    def total(self, now: float) -> dict[str, int]:
        return {**self.timings, "total": _milliseconds(now - self.started_at)}


class _Line(NamedTuple):
    """A connection and its wire."""

    connection: httpcore.AsyncHTTP11Connection
    wire: wires.Wire


def check_url(url: str, *, resolve: bool = True) -> None:
    """Raise HttpFailure `url_refused` or `address_refused` for a URL that nothing is sent to.

    With `resolve` the name is looked up, for 2 s at most, and every address checked; a name that can't be looked
    up passes, for it is checked again at every send.
    """
    target = read_target(url)
    if target.literal is not None:
        target.check_addresses([target.literal])
    elif resolve:
        looking = wires.threads(os.getpid()).submit(wires.look_up, target.host)
        try:
            target.check_addresses(looking.result(timeout=CHECK_SECONDS))
        except (OSError, UnicodeError):
            looking.cancel()


def send(method: str, url: str, *, headers: Headers = (), content: bytes = b"") -> Answer:
    """Send one request from synchronous code; see Client.send()."""

    async def once() -> Answer:
        client = Client()
        try:
            return await client.send(method, url, headers=headers, content=content)
        finally:
            await client.close()

    return asyncio.run(once())


class Client:
    """Sends requests in one event loop and keeps connections for a while."""

    def __init__(
        self,
        *,
        total_seconds: float = 15.0,
        dns_seconds: float = 5.0,
        connect_seconds: float = 5.0,
        body_seconds: float = 2.0,
        kept_seconds: float = 5.0,
    ) -> None:
        self._total_seconds = total_seconds
        self._connect_seconds = connect_seconds
        self._body_seconds = body_seconds
        self._kept_seconds = kept_seconds
        self._resolver = wires.Resolver(seconds=dns_seconds)
        # Idle connections by origin, the origin used last at the end; each origin's newest at the end.
        self._kept: OrderedDict[Origin, list[_Line]] = OrderedDict()
        self._sweep: asyncio.TimerHandle | None = None

    async def send(self, method: str, url: str, *, headers: Headers = (), content: bytes = b"") -> Answer:
        """Send a request and return the answer, whatever its status; raises HttpFailure if there is none.

        ValueError: the method, or a header that can't be sent or is not the caller's to set.
        """
        clock = _Clock(asyncio.get_running_loop().time())
        try:
            target = read_target(url)
            request = _make_request(method, target, headers, content)
            async with asyncio.timeout(self._total_seconds):
                line, response = await self._ask(target, request, clock)
        except (HttpFailure, httpcore.ProtocolError, httpcore.NetworkError, TimeoutError) as error:
            raise _failure(error, clock, asyncio.get_running_loop().time()) from error
        return await self._answer(target, line, response, clock)

    async def close(self) -> None:
        """Close what is kept."""
        self._resolver.close()
        if self._sweep is not None:
            self._sweep.cancel()
        while self._kept:
            self._close_oldest()
        # The transports are closed by the loop in its next turn.
        await asyncio.sleep(0)

    # Asking.

    async def _ask(
        self, target: Target, request: httpcore.Request, clock: _Clock
    ) -> tuple[_Line, httpcore.Response]:
        line = self._take(target)
        if line is not None:
            try:
                return line, await self._exchange(line, request, clock)
            except (httpcore.ProtocolError, httpcore.NetworkError):
                # The server may have closed a kept connection just when it was taken: that is no failure.
                if line.wire.received:
                    raise
        line = await self._open(target, clock)
        return line, await self._exchange(line, request, clock)

    async def _exchange(self, line: _Line, request: httpcore.Request, clock: _Clock) -> httpcore.Response:
        loop = asyncio.get_running_loop()
        clock.address = line.wire.address
        asked_at = loop.time()
        line.wire.begin_exchange()
        try:
            response = await line.connection.handle_async_request(request)
        except BaseException:
            # httpcore closes as well, but waits for a lock first and may be cancelled there.
            line.wire.abort()
            raise
        clock.timings["first_byte"] = _milliseconds((line.wire.first_byte_at or asked_at) - asked_at)
        return response

    async def _open(self, target: Target, clock: _Clock) -> _Line:
        loop = asyncio.get_running_loop()
        clock.begin(loop.time())
        addresses = await self._resolver.addresses(target)
        clock.lap("dns", loop.time())
        connected = await wires.connect(target, addresses, seconds=self._connect_seconds)
        clock.lap("connect", loop.time())
        clock.address = connected.address
        if target.scheme == "https":
            wire = await wires.open_secure_wire(connected, target.host)
            clock.lap("tls", loop.time())
        else:
            wire = await wires.open_wire(connected)
        origin = httpcore.Origin(target.scheme.encode(), target.host.encode(), target.port)
        return _Line(httpcore.AsyncHTTP11Connection(origin, wire, keepalive_expiry=self._kept_seconds), wire)

    # Answering.

    async def _answer(
        self, target: Target, line: _Line, response: httpcore.Response, clock: _Clock
    ) -> Answer:
        """Read the body as far as it is wanted: the status has come, so nothing is a failure any more."""
        loop = asyncio.get_running_loop()
        ends_at = min(loop.time() + self._body_seconds, clock.started_at + self._total_seconds)
        body = bytearray()
        is_whole = False
        line.wire.begin_body()
        try:
            async with asyncio.timeout_at(ends_at):
                is_whole = await _read_body(response, body)
        except (TimeoutError, httpcore.ProtocolError, httpcore.NetworkError):
            pass  # cut
        finally:
            self._keep_or_close(target, line)
        return Answer(
            status=response.status,
            headers=_cut_headers(response.headers),
            body=bytes(body[:KEPT_BYTES]),
            is_cut=not is_whole or len(body) > KEPT_BYTES,
            address=line.wire.address,
            timings=clock.total(loop.time()),
        )

    # Keeping connections. httpcore's pool walks every connection it has, and asks the kernel about each, at
    # every request; here a request looks at one.

    def _take(self, target: Target) -> _Line | None:
        """The connection to the target's origin that was used last."""
        origin = _origin(target)
        lines = self._kept.get(origin, [])
        line = None
        while lines and line is None:
            line = lines.pop()
            if line.connection.has_expired():
                line.wire.abort()
                line = None
        if not lines:
            self._kept.pop(origin, None)
        return line

    def _keep_or_close(self, target: Target, line: _Line) -> None:
        # Bytes beyond the answer would be taken for the answer to the next request, of another tenant maybe.
        has_more = bool(line.connection._h11_state.trailing_data[0])
        if has_more or not line.connection.is_idle() or line.connection.has_expired():
            line.wire.abort()
            return
        origin = _origin(target)
        self._kept.setdefault(origin, []).append(line)
        self._kept.move_to_end(origin)
        if len(self._kept) > ORIGINS_KEPT:
            self._close_oldest()
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self._kept_seconds, self._close_expired)

    def _close_oldest(self) -> None:
        _, lines = self._kept.popitem(last=False)
        for line in lines:
            line.wire.abort()

    def _close_expired(self) -> None:
        for origin, lines in list(self._kept.items()):
            for line in [line for line in lines if line.connection.has_expired()]:
                lines.remove(line)
                line.wire.abort()
            if not lines:
                del self._kept[origin]
        self._sweep = None
        if self._kept:
            self._sweep = asyncio.get_running_loop().call_later(self._kept_seconds, self._close_expired)


def _origin(target: Target) -> Origin:
    return target.scheme, target.host, target.port


def _make_request(method: str, target: Target, headers: Headers, content: bytes) -> httpcore.Request:
    if not _METHOD.fullmatch(method):
        raise ValueError(f"not a method to send: {method!r}")
    sent = [(b"Host", target.authority.encode())]
    given = {name.lower() for name, _ in headers}
    if "user-agent" not in given:
        sent.append((b"User-Agent", USER_AGENT.encode()))
    if "accept" not in given:
        sent.append((b"Accept", b"*/*"))
    sent += [(b"Accept-Encoding", b"identity")]
    if content or method not in ("GET", "HEAD", "OPTIONS", "DELETE"):
        sent.append((b"Content-Length", str(len(content)).encode()))
    for name, value in headers:
        if not _HEADER_NAME.fullmatch(name) or name.lower() in OWN_HEADERS:
            raise ValueError(f"not a header to send: {name!r}")
        if not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"not a value to send of header {name!r}")
        sent.append((name.encode("ascii"), value.strip(" \t").encode("latin-1")))
    url = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
    return httpcore.Request(method, url, headers=sent, content=content)


async def _read_body(response: httpcore.Response, body: bytearray) -> bool:
    """Read into `body` to its end, which leaves the connection idle, or until there is more than READ_BYTES."""
    async with aclosing(cast(AsyncGenerator[bytes, None], response.stream.__aiter__())) as chunks:  # type: ignore[union-attr]
        async for chunk in chunks:
            body += chunk
            if len(body) > READ_BYTES:
                return False
    await response.aclose()
    return True


def _cut_headers(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    kept: list[tuple[str, str]] = []
    left = HEADERS_KEPT_BYTES
    for name, value in headers:
        left -= len(name) + len(value)
        if left < 0:
            break
        kept.append((name.decode("latin-1"), value.decode("latin-1")))
    return kept


def _failure(error: Exception, clock: _Clock, now: float) -> HttpFailure:
    """Say in our words why there is no answer."""
    if isinstance(error, HttpFailure):
        failure = error
    elif isinstance(error, TimeoutError):
        failure = HttpFailure("timed_out", internal="total time is over")
    else:
        code = "connection_lost" if isinstance(error, httpcore.NetworkError) else "invalid_response"
        failure = HttpFailure(code, internal=repr(error))
    failure.address = failure.address or clock.address
    failure.timings = clock.total(now)
    return failure


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1_000)
