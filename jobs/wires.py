"""From a host's name to a socket: resolve, check every address, connect to a checked one. For `jobs/http.py` only.

Nothing resolves the name a second time, so a name server that changes its answer changes nothing; the name stays
what TLS asks for and verifies.
"""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import NamedTuple, cast

import certifi
import httpcore
from django.conf import settings

from jobs.addresses import Address
from jobs.targets import HttpFailure, Target

# asyncio's own executor has six threads on two cores: a few slow name servers would delay everybody.
RESOLVER_THREADS = 128
# A name whose look-up took too long is not looked up again so soon: each time it holds a thread.
SLOW_SECONDS = 60.0
ADDRESSES_TRIED = 4

# What a server may send before its status line is complete, and as a body with its framing.
HEAD_BYTES = 64 * 1024
BODY_BYTES = 80 * 1024
# What is read before anybody takes it; what is parsed before others get their turn.
BUFFER_BYTES = 64 * 1024
CHUNK_BYTES = 4 * 1024


@functools.cache
def threads(process_id: int) -> ThreadPoolExecutor:
    """The threads that names are looked up on; after a fork, which takes no threads along, new ones."""
    return ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolver")


def look_up(host: str) -> list[Address]:
    """The addresses of the host, in the resolver's order; blocks, and raises OSError or UnicodeError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(row[4][0]) for row in found))


class Resolver:
    """Looks names up on threads, each name once at a time: a dead name server holds one thread and no more."""

    def __init__(self, *, seconds: float) -> None:
        self._seconds = seconds
        self._pending: dict[str, asyncio.Future[list[Address]]] = {}
        self._slow_until: dict[str, float] = {}

    async def addresses(self, target: Target) -> list[Address]:
        """Resolve the target's host and check every address; raises HttpFailure."""
        addresses = [target.literal] if target.literal is not None else await self._look_up(target.host)
        target.check_addresses(addresses)
        return addresses

    def close(self) -> None:
        for pending in self._pending.values():
            pending.cancel()

    async def _look_up(self, host: str) -> list[Address]:
        now = asyncio.get_running_loop().time()
        self._slow_until = {name: until for name, until in self._slow_until.items() if until > now}
        if host in self._slow_until:
            raise HttpFailure("dns_failed", internal=f"{host}: its name server took too long just now")
        try:
            async with asyncio.timeout(self._seconds):
                # Shielded, for others may wait for the same answer.
                addresses = await asyncio.shield(self._begin(host))
        except (OSError, UnicodeError) as error:
            if isinstance(error, TimeoutError):
                self._slow_until[host] = now + SLOW_SECONDS
            raise HttpFailure("dns_failed", internal=f"{host}: {error!r}") from error
        if not addresses:
            raise HttpFailure("dns_failed", internal=f"{host}: no addresses")
        return addresses

    def _begin(self, host: str) -> asyncio.Future[list[Address]]:
        pending = self._pending.get(host)
        if pending is None:
            loop = asyncio.get_running_loop()
            pending = loop.run_in_executor(threads(os.getpid()), look_up, host)
            self._pending[host] = pending
            pending.add_done_callback(lambda _: self._pending.pop(host, None))
        return pending


class Wire(asyncio.Protocol, httpcore.AsyncNetworkStream):
    """A connection as httpcore reads and writes it, which caps what one exchange may receive."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.received = 0  # bytes of the exchange at hand
        self.first_byte_at: float | None = None
        self._transport: asyncio.Transport | None = None
        self._allowance = HEAD_BYTES
        self._has_answered = False
        self._buffer = bytearray()
        self._is_paused = False
        self._is_over = False
        self._problem: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    def begin_exchange(self) -> None:
        self.received = 0
        self.first_byte_at = None
        self._allowance = HEAD_BYTES
        self._has_answered = False

    def begin_body(self) -> None:
        self._allowance = BODY_BYTES
        self._has_answered = True

    def abort(self) -> None:
        """Close at once: an orderly end of TLS would wait for a peer that may never answer."""
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.first_byte_at is None:
            self.first_byte_at = asyncio.get_running_loop().time()
        self.received += len(data)
        self._buffer += data
        if len(self._buffer) > BUFFER_BYTES and self._transport is not None and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._is_over = True
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._is_over = True
        self._problem = error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What httpcore calls; one deadline around the whole exchange stands for its timeouts.

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._allowance <= 0:
            raise httpcore.RemoteProtocolError("more than an answer should have")
        if self._buffer:
            # Whatever is sent, and however fast, other exchanges get their turn.
            await asyncio.sleep(0)
        while not self._buffer and not self._is_over:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._buffer:
            return self._take(min(max_bytes, CHUNK_BYTES))
        if self._problem is not None or not self.received:
            raise httpcore.ReadError(repr(self._problem or "closed without an answer"))
        if not self._has_answered:
            raise httpcore.RemoteProtocolError("closed within the head of an answer")
        return b""

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._allowance -= len(data)
        if self._is_paused and not self._buffer and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._transport is None or self._transport.is_closing():
            raise httpcore.WriteError("closed")
        # Not awaited: the content is in memory anyway, and a server may answer before it has read it all.
        self._transport.write(buffer)

    async def aclose(self) -> None:
        self.abort()

    def get_extra_info(self, info: str) -> object:
        # httpcore asks this of a kept connection: what comes unasked answers no request of ours.
        if info == "is_readable":
            return bool(self._buffer) or self._is_over
        return None


class Connected(NamedTuple):
    """A socket and the "ip:port" it is connected to."""

    socket: socket.socket
    address: str


async def connect(target: Target, addresses: Sequence[Address], *, seconds: float) -> Connected:
    """Connect to the first address that accepts, each given an equal share of what is left of the seconds."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + seconds
    tried = addresses[:ADDRESSES_TRIED]
    problems: list[str] = []
    is_late = False
    for count, address in enumerate(tried):
        share = max(0.0, ends_at - loop.time()) / (len(tried) - count)
        try:
            async with asyncio.timeout(share):
                return Connected(await _connect(address, target.port), _name(address, target.port))
        except OSError as error:
            # The kernel's own time limit is a TimeoutError as well.
            is_late = isinstance(error, TimeoutError)
            problems.append(f"{address}: {error!r}")
    code = "connect_timeout" if is_late else "connect_failed"
    raise HttpFailure(code, internal="; ".join(problems), address=_name(tried[-1], target.port))


async def _connect(address: Address, port: int) -> socket.socket:
    connection = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6)
    try:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (str(address), port))
    except BaseException:
        connection.close()
        raise
    return connection


async def open_wire(connected: Connected) -> Wire:
    """Speak in the clear."""
    wire = Wire(connected.address)
    await asyncio.get_running_loop().create_connection(lambda: wire, sock=connected.socket)
    return wire


async def open_secure_wire(connected: Connected, host: str) -> Wire:
    """Shake hands with who can prove to be the host; raises HttpFailure `tls_failed`."""
    loop = asyncio.get_running_loop()
    wire = Wire(connected.address)
    # What comes in the clear goes to a protocol of its own, which drops it: it must never pass for an answer.
    clear, _ = await loop.create_connection(asyncio.Protocol, sock=connected.socket)
    try:
        if clear.is_closing():
            raise ConnectionResetError("closed before the handshake")
        context = tls_context(settings.WEBHOOK_CA_FILE)
        secure = await loop.start_tls(clear, wire, context, server_hostname=host)
        assert secure is not None
    except BaseException as error:
        clear.abort()
        if isinstance(error, OSError):
            raise _tls_failure(error, connected.address) from error
        raise
    wire.connection_made(secure)
    return wire


def _tls_failure(error: OSError, address: str) -> HttpFailure:
    detail = ""
    if isinstance(error, ssl.SSLCertVerificationError):
        detail = f"The host's certificate is refused: {error.verify_message.rstrip('.')}."
    return HttpFailure("tls_failed", detail, internal=repr(error), address=address)


@functools.lru_cache(maxsize=4)
def tls_context(ca_file: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file or certifi.where())


def _name(address: Address, port: int) -> str:
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
