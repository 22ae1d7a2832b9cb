"""What requests are sent to in tests: a real local server that behaves well, badly or worse, and keeps count.

    with Receiver(answer(503, [("Retry-After", "7")])) as receiver:
        send("POST", receiver.url, content=b"{}")
    assert receiver.requests[0].body == b"{}"

One event loop in one thread answers thousands of requests a second. A behaviour is a coroutine function of a
Conversation that returns whether the connection goes on; `receiver.behaviour` may be changed while it runs.
"""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came; header names are lowercase, `at` is time.monotonic()."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a behaviour has to work with."""

    request: Received
    number: int  # of the request on its connection, from 1
    writer: asyncio.StreamWriter

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


Behaviour = Callable[[Conversation], Awaitable[bool]]


# --- Behaviours ------------------------------------------------------------------------------------


def answer(status: int = 200, headers: Headers = (), body: bytes = b"") -> Behaviour:
    """Answer at once and keep the connection."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    message = "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    async def behave(conversation: Conversation) -> bool:
        conversation.writer.write(message)
        return True

    return behave


def redirect(location: str) -> Behaviour:
    return answer(301, [("Location", location)])


def gone() -> Behaviour:
    return answer(410)


def too_many(retry_after: str) -> Behaviour:
    return answer(429, [("Retry-After", retry_after)])


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Behave in one way after the other, request by request, and on as the last one."""
    left = list(behaviours)

    async def behave(conversation: Conversation) -> bool:
        return await (left.pop(0) if len(left) > 1 else left[0])(conversation)

    return behave


def after(seconds: float, behaviour: Behaviour) -> Behaviour:
    async def behave(conversation: Conversation) -> bool:
        await asyncio.sleep(seconds)
        return await behaviour(conversation)

    return behave


def say(data: bytes) -> Behaviour:
    """Write these bytes, whatever they mean, and close."""

    async def behave(conversation: Conversation) -> bool:
        await conversation.say(data)
        return False

    return behave


def say_and_stay(data: bytes) -> Behaviour:
    """Write these bytes and nothing more."""

    async def behave(conversation: Conversation) -> bool:
        await conversation.say(data)
        return await never(conversation)

    return behave


async def never(conversation: Conversation) -> bool:
    """Read the request and say nothing."""
    await asyncio.sleep(3_600)
    return False


async def hang_up(conversation: Conversation) -> bool:
    """Close in good order without an answer."""
    return False


async def reset(conversation: Conversation) -> bool:
    """Break the connection off: RST instead of FIN."""
    connection = conversation.writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conversation.writer.transport.abort()
    return False


def trickle(start: bytes, rest: bytes, *, every_seconds: float = 1.0) -> Behaviour:
    """Write `start`, then `rest` byte by byte, and begin `rest` again for ever."""

    async def behave(conversation: Conversation) -> bool:
        await conversation.say(start)
        while True:
            for byte in rest:
                await conversation.say(bytes([byte]))
                await asyncio.sleep(every_seconds)

    return behave


def slow_status() -> Behaviour:
    return trickle(b"", b"HTTP/1.1 200 OK" + b" " * 1_000)


def slow_body(status: int = 200) -> Behaviour:
    return trickle(f"HTTP/1.1 {status} OK\r\nContent-Length: 100000\r\n\r\n".encode(), b"x")


def slow_chunks(status: int = 200) -> Behaviour:
    head = f"HTTP/1.1 {status} OK\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return pour(head, b"1\r\nx\r\n", pause_seconds=0.05)


def pour(start: bytes, chunk: bytes, *, times: int = 1_000_000_000, pause_seconds: float = 0.0) -> Behaviour:
    """Write `start`, then `chunk` as often and as fast as it is taken."""

    async def behave(conversation: Conversation) -> bool:
        await conversation.say(start)
        for _ in range(times):
            await conversation.say(chunk)
            if pause_seconds:
                await asyncio.sleep(pause_seconds)
        return False

    return behave


def huge_body(size: int = 1_000_000_000) -> Behaviour:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode()
    return pour(head, b"x" * 1_000_000, times=size // 1_000_000)


def gzip_bomb(size: int = 100_000_000) -> Behaviour:
    return answer(200, [("Content-Encoding", "gzip")], gzip.compress(b"\0" * size, compresslevel=1))


def endless_headers() -> Behaviour:
    return pour(b"HTTP/1.1 200 OK\r\n", b"X-Filler: " + b"x" * 90 + b"\r\n")


def endless_informational(*, pause_seconds: float = 0.0) -> Behaviour:
    return pour(b"", b"HTTP/1.1 100 Continue\r\n\r\n", pause_seconds=pause_seconds)


# --- The server ------------------------------------------------------------------------------------


class Receiver:
    """A server on a port of its own, running within the `with` block."""

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.behaviour = behaviour or answer()
        self.host = host
        self.port = port  # 0 until it listens: any that is free
        self.connections = 0
        self.requests: list[Received] = []
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="receiver", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return self.url_at(f"[{self.host}]" if ":" in self.host else self.host)

    def url_at(self, name: str) -> str:
        """The address of this receiver under another name."""
        return f"{'https' if self._tls else 'http'}://{name}:{self.port}/hook"

    def close_connections(self) -> None:
        """Close what is open, in good order, and go on listening."""
        self._call(self._close_writers())

    def __enter__(self) -> Receiver:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, *error: object) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, coroutine: Awaitable[None]) -> None:
        async def run() -> None:
            await coroutine

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(timeout=10)

    async def _listen(self) -> None:
        # Tests break handshakes and connections off; that is no news.
        self._loop.set_exception_handler(lambda loop, context: None)
        self._server = await asyncio.start_server(
            self._accept, self.host, self.port, ssl=self._tls, backlog=1_000, limit=2**21
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close_writers(self) -> None:
        for writer in list(self._writers):
            writer.close()
        await asyncio.sleep(0.05)

    async def _end(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.connections += 1
        try:
            await self._converse(reader, writer)
            writer.close()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the other side left
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            if not writer.transport.is_closing():
                writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        goes_on = True
        while goes_on:
            head = await reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")[:-2]
            method, path, _ = first.split(" ", 2)
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
            }
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            request = Received(method, path, headers, body, time.monotonic())
            self.requests.append(request)
            number += 1
            goes_on = await self.behaviour(Conversation(request, number, writer))


# --- Certificates ----------------------------------------------------------------------------------


class Authority:
    """A certificate authority of its own; `ca_file` is what a client must trust."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(tempfile.mkdtemp(prefix="authority-"))
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        certificate = self._signed(self._name, self._key.public_key(), [], is_authority=True)
        self.ca_file = self._folder / "ca.pem"
        self.ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def server_context(self, *names: str, is_expired: bool = False) -> ssl.SSLContext:
        """What a server of these names (or IP addresses) needs."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        certificate = self._signed(subject, key.public_key(), names, is_expired=is_expired)
        path = self._folder / f"{certificate.serial_number}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        names: Sequence[str],
        *,
        is_authority: bool = False,
        is_expired: bool = False,
    ) -> x509.Certificate:
        ends_at = datetime.now(UTC) + timedelta(days=-1 if is_expired else 1)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(ends_at - timedelta(days=10))
            .not_valid_after(ends_at)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
            )
        return builder.sign(self._key, hashes.SHA256())


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
