"""Which URLs the platform sends to: what a URL must look like, and what its host may resolve to."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

import idna
from django.conf import settings

from jobs.addresses import Address, Network, is_allowed, is_within

URL_MAX_CHARS = 2_048
HOST_MAX_CHARS = 253
INTERNAL_MAX_CHARS = 500  # it may quote what the other side sent
DEFAULT_PORTS = {"https": 443, "http": 80}

# Names that mean something inside a network only; what has a single label is completed by a search domain.
INTERNAL_SUFFIXES = (".internal", ".local", ".localhost", ".localdomain", ".home.arpa")

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\#]")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# Resolvers read a host whose last label is a number as an IPv4 address, in octal and hexadecimal too.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

# What the tenant who owns the URL is told. Nothing here depends on what an internal network holds.
DETAILS = {
    "address_refused": "The host does not resolve to public addresses alone.",
    "dns_failed": "The host could not be resolved.",
    "connect_failed": "No connection to the host could be made.",
    "connect_timeout": "No connection to the host could be made in time.",
    "timed_out": "The host did not answer in time.",
    "tls_failed": "No secure connection could be made.",
    "invalid_response": "The host answered with something that is not HTTP.",
    "connection_lost": "The connection was closed before an answer came.",
}


class HttpFailure(Exception):
    """Why there is no answer.

    `detail` is for the tenant who owns the URL, `internal` for operators; `timings` are whole milliseconds up to
    the failure, `address` is the "ip:port" last tried.
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        internal: str = "",
        timings: dict[str, int] | None = None,
        address: str = "",
    ) -> None:
        self.code = code
        self.detail = detail or DETAILS[code]
        self.internal = internal[:INTERNAL_MAX_CHARS]
        self.timings = timings or {}
        self.address = address
        super().__init__(f"{code}: {self.detail}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a request goes, once its URL has been found acceptable."""

    scheme: str
    host: str  # ASCII, lowercase, an IPv6 address without brackets
    port: int
    path: str  # with the query
    literal: Address | None
    is_for_operators_networks: bool  # acceptable only if these hold all of its addresses

    @property
    def authority(self) -> str:
        """The value of `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def check_addresses(self, addresses: Sequence[Address]) -> None:
        """Raise HttpFailure unless every one of the addresses may be connected to."""
        networks = operators_networks()
        found = ", ".join(map(str, addresses))
        if not all(is_allowed(address, networks) for address in addresses):
            raise HttpFailure("address_refused", internal=f"{self.host} resolves to {found}")
        if self.is_for_operators_networks and not all(is_within(address, networks) for address in addresses):
            raise _refusal("The port or the host name is not allowed.", f"not in the networks: {found}")


def operators_networks() -> tuple[Network, ...]:
    """What WEBHOOK_ALLOWED_NETWORKS allows beyond the open internet."""
    return _networks(tuple(settings.WEBHOOK_ALLOWED_NETWORKS))


def read_target(url: str) -> Target:
    """Take the URL apart; HttpFailure `url_refused` if nothing may be sent there whatever it resolves to."""
    parts = _split(url)
    if parts.scheme not in DEFAULT_PORTS or (parts.scheme == "http" and not settings.WEBHOOK_ALLOW_HTTP):
        schemes = "https or http" if settings.WEBHOOK_ALLOW_HTTP else "https"
        raise _refusal(f"The URL must start with {schemes}.")
    host, literal = _read_host(parts)
    port = _read_port(parts)
    is_unusual = not _is_usual_port(port) or (literal is None and _is_internal(host))
    if is_unusual and not operators_networks():
        raise _refusal("The port or the host name is not allowed.")
    return Target(
        scheme=parts.scheme,
        host=host,
        port=port,
        path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        literal=literal,
        is_for_operators_networks=is_unusual,
    )


def _refusal(detail: str, internal: str = "") -> HttpFailure:
    return HttpFailure("url_refused", detail, internal=internal)


@functools.lru_cache(maxsize=16)
def _networks(blocks: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ip_network(block) for block in blocks)


def _split(url: str) -> SplitResult:
    if len(url) > URL_MAX_CHARS:
        raise _refusal(f"The URL has more than {URL_MAX_CHARS:,} characters.")
    # Before urlsplit(), which drops tabs and newlines and would let them by.
    if _FORBIDDEN.search(url):
        raise _refusal("The URL has a space, a control character, a backslash or a fragment.")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _refusal("The URL can't be read.", str(error)) from error
    if "@" in parts.netloc:
        raise _refusal("The URL has a user name or a password.")
    if not (parts.path + parts.query).isascii():
        raise _refusal("The URL's path has characters that must be percent-encoded.")
    return parts


def _read_port(parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError as error:
        raise _refusal("The URL's port is no port.") from error
    return DEFAULT_PORTS[parts.scheme] if port is None else port


def _read_host(parts: SplitResult) -> tuple[str, Address | None]:
    host = parts.hostname or ""
    if "[" in parts.netloc:
        literal = _read_literal(host)
        if not isinstance(literal, IPv6Address):
            raise _refusal("The URL's host is no address.")
        return str(literal), literal
    host = _encode(host.removesuffix("."))
    labels = host.split(".")
    if len(host) > HOST_MAX_CHARS or not all(_LABEL.fullmatch(label) for label in labels):
        raise _refusal("The URL's host is no host name.")
    if not _NUMBER.fullmatch(labels[-1]):
        return host, None
    literal = _read_literal(host)
    if literal is None:
        raise _refusal("The URL's host is no address.")
    return str(literal), literal


def _encode(host: str) -> str:
    """The ASCII form of an international name (UTS 46); it may be a number or an internal name only now."""
    if host.isascii():
        return host
    try:
        return idna.encode(host, uts46=True).decode("ascii").lower().removesuffix(".")
    except UnicodeError as error:
        raise _refusal("The URL's host is no host name.", str(error)) from error


def _read_literal(host: str) -> Address | None:
    """An address in its plain form: four decimal numbers, or IPv6."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_usual_port(port: int) -> bool:
    return port in (443, 8443) or (settings.WEBHOOK_ALLOW_HTTP and (port == 80 or port >= 1_024))


def _is_internal(host: str) -> bool:
    return "." not in host or host.endswith(INTERNAL_SUFFIXES)
