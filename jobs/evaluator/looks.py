"""Looks at outputs: their first bytes and what their hosts say of them. Never inside a transaction."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

from jobs.artifacts import read_start, stored_path
from jobs.content_types import PREFIX_BYTES, UNKNOWN, is_text, plain_type, sniff
from jobs.http import Answer, Client, HttpFailure

logger = logging.getLogger(__name__)

REQUEST_SECONDS = 5.0
# At once: in all, of one tenant, of one tenant at one host. A host that hangs holds up nobody but those it serves.
IN_FLIGHT_MAX = 16
TENANT_IN_FLIGHT_MAX = 8
HOST_IN_FLIGHT_MAX = 2
HOST_FAILURES_MAX = 2  # in a row; then it is not asked again in this run
RANGE = ("Range", "bytes=0-1023")
ABSENT = {404, 410}
PASSING = {408, 425, 429}  # besides 5xx: answers that may be others next time
REFUSED = {"address_refused", "url_refused"}  # before anything was sent; no other time is better
NOT_THERE, EMPTY = "is not there", "is empty"


class Wanted(NamedTuple):
    """An output to look at, for a tenant."""

    tenant_id: UUID
    url: str


class Host(NamedTuple):
    """Where a tenant's outputs are; "" is our own storage. What one tenant's do there, no other tenant's pay for."""

    tenant_id: UUID
    name: str


Failures = Counter[Host]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen of an output: plain types, "" where nothing says one."""

    signature: str = ""
    header: str = ""
    absence: str = ""  # what its host says of a file that is none; ends a sentence that begins with its URL
    obstacle: str = ""  # a code: why it could not be looked at
    is_passing: bool = False  # the obstacle, or the absence, may be gone another time
    is_failure: bool = False  # its host did not answer


def look_at(wanted: Iterable[Wanted], *, seconds: float, failures: Failures) -> dict[Wanted, Look]:
    """Look at each of these, as far as that goes in the time; the rest is not in the answer.

    Tenants take turns, and so do the hosts of each; of one host, the first comes first. What is begun has its full
    time. `failures` are those in a row by host, and are kept up.
    """
    if seconds < REQUEST_SECONDS:
        return {}
    hosts: dict[Host, deque[Wanted]] = defaultdict(deque)
    for one in dict.fromkeys(wanted):
        hosts[Host(one.tenant_id, _host_name(one.url))].append(one)
    return asyncio.run(_Round(time.monotonic() + seconds, failures).look(hosts)) if hosts else {}


def _host_name(url: str) -> str:
    if stored_path(url) is not None:
        return ""
    try:
        return urlsplit(url).hostname or url
    except ValueError:  # refused when it is asked for
        return url


class _Round:
    """One event loop's worth of looks."""

    def __init__(self, ends_at: float, failures: Failures) -> None:
        self._ends_at = ends_at
        self._failures = failures
        self._looks: dict[Wanted, Look] = {}
        self._client = Client(total_seconds=REQUEST_SECONDS)
        # Those who wait for a slot get it in the order they came: nobody comes twice before another comes once.
        self._slots = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._slots_of: dict[UUID, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(TENANT_IN_FLIGHT_MAX)
        )

    async def look(self, hosts: Mapping[Host, deque[Wanted]]) -> dict[Wanted, Look]:
        try:
            async with asyncio.TaskGroup() as group:
                for host, wanted in hosts.items():
                    for _ in range(min(HOST_IN_FLIGHT_MAX, len(wanted))):
                        group.create_task(self._take_turns(host, wanted))
        finally:
            await self._client.close()
        return self._looks

    async def _take_turns(self, host: Host, wanted: deque[Wanted]) -> None:
        while wanted and self._failures[host] < HOST_FAILURES_MAX:
            async with self._slots_of[host.tenant_id], self._slots:
                if time.monotonic() + REQUEST_SECONDS > self._ends_at:
                    return
                if wanted and self._failures[host] < HOST_FAILURES_MAX:
                    await self._look(host, wanted.popleft())
        while wanted:
            self._looks[wanted.popleft()] = Look(obstacle="host_silent", is_passing=True)

    async def _look(self, host: Host, one: Wanted) -> None:
        path = stored_path(one.url)
        if path is None:
            look = await _fetch(self._client, one.url)
        else:
            look = await asyncio.to_thread(_look_in_storage, path)
        self._failures[host] = self._failures[host] + 1 if look.is_failure else 0
        self._looks[one] = look


def _look_in_storage(path: str) -> Look:
    try:
        start = read_start(path, PREFIX_BYTES) if path else None
    except OSError:
        logger.exception("artifact not readable", extra={"path": path})
        return Look(obstacle="storage_failed", is_passing=True, is_failure=True)
    if start is None:
        return Look(absence=NOT_THERE)
    return Look(signature=_signature(start)) if start else Look(absence=EMPTY)


async def _fetch(client: Client, url: str) -> Look:
    try:
        return _read(await client.send("GET", url, headers=[RANGE]))
    except HttpFailure as failure:
        is_passing = failure.code not in REFUSED
        return Look(obstacle=failure.code, is_passing=is_passing, is_failure=is_passing)
    except Exception:  # of one address: the others are looked at all the same
        logger.exception("output not looked at", extra={"url": url[:200]})
        return Look(obstacle="internal_error", is_passing=True)


def _read(answer: Answer) -> Look:
    headers = {name.lower(): value.strip() for name, value in answer.headers}
    if answer.status in ABSENT:
        return Look(absence=NOT_THERE, is_passing=True)
    if answer.status == 416 and headers.get("content-range") == "bytes */0":
        return Look(absence=EMPTY, is_passing=True)
    if not 200 <= answer.status < 300:
        is_passing = answer.status >= 500 or answer.status in PASSING
        return Look(obstacle=f"http_{answer.status}", is_passing=is_passing)
    if answer.is_cut and len(answer.body) < PREFIX_BYTES:
        return Look(obstacle="body_cut", is_passing=True)
    if not answer.body:
        return Look(absence=EMPTY, is_passing=True)
    header = plain_type(headers.get("content-type", ""))
    if headers.get("content-encoding", "identity").lower() != "identity":
        return Look(header=header, obstacle="content_encoding")  # these bytes are not the file's
    if header == "text/plain" and not is_text(answer.body):
        header = UNKNOWN  # what many servers say of all they don't know
    return Look(signature=_signature(answer.body), header=header)


def _signature(start: bytes) -> str:
    sniffed = sniff(start[:PREFIX_BYTES])
    return sniffed[0] if sniffed else ""
