"""Looks at outputs: their first bytes and what their hosts say of them. Never inside a transaction."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from jobs.artifacts import read_start, stored_path
from jobs.content_types import PREFIX_BYTES, plain_type, sniff
from jobs.http import Answer, Client, HttpFailure

logger = logging.getLogger(__name__)

IN_FLIGHT_MAX = 16
REQUEST_SECONDS = 5.0
RANGE = ("Range", "bytes=0-1023")
ABSENT = {404, 410}
PASSING = {408, 425, 429}  # besides 5xx: answers that may be others next time
REFUSED = {"address_refused", "url_refused"}  # before anything was sent; no other time is better


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen of an output: plain types, "" where nothing says one."""

    signature: str = ""
    header: str = ""
    is_absent: bool = False
    obstacle: str = ""  # a code: why it could not be looked at
    is_passing: bool = False  # the obstacle may be gone another time


def look_at(urls: Iterable[str], *, seconds: float) -> dict[str, Look]:
    """Look at each of these, the first first, as far as that goes in the time; the rest is not in the answer.

    Artifacts of ours are opened where they are stored; others are asked for by HTTP, IN_FLIGHT_MAX at a time.
    """
    ends_at = time.monotonic() + seconds
    looks: dict[str, Look] = {}
    elsewhere = []
    for url in dict.fromkeys(urls):
        path = stored_path(url)
        if path is None:
            elsewhere.append(url)
        elif time.monotonic() < ends_at:
            looks[url] = _look_in_storage(path)
    if elsewhere:
        looks |= asyncio.run(_look_elsewhere(elsewhere, ends_at))
    return looks


def _look_in_storage(path: str) -> Look:
    try:
        start = read_start(path, PREFIX_BYTES) if path else None
    except OSError:
        logger.exception("artifact not readable", extra={"path": path})
        return Look(obstacle="storage_failed", is_passing=True)
    return Look(is_absent=True) if start is None else Look(signature=_signature(start))


async def _look_elsewhere(urls: Sequence[str], ends_at: float) -> dict[str, Look]:
    # What is begun has its full time, so that a try is a fair one; what has no time for that is not begun.
    request_seconds = min(REQUEST_SECONDS, max(ends_at - time.monotonic(), 0) / 2)
    client = Client(total_seconds=request_seconds)
    looks: dict[str, Look] = {}
    waiting = iter(urls)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(IN_FLIGHT_MAX, len(urls))):
                group.create_task(_take_turns(client, waiting, looks, ends_at - request_seconds))
    finally:
        await client.close()
    return looks


async def _take_turns(client: Client, waiting: Iterator[str], looks: dict[str, Look], until: float) -> None:
    while time.monotonic() < until and (url := next(waiting, None)) is not None:
        looks[url] = await _fetch(client, url)


async def _fetch(client: Client, url: str) -> Look:
    try:
        return _read(await client.send("GET", url, headers=[RANGE]))
    except HttpFailure as failure:
        return Look(obstacle=failure.code, is_passing=failure.code not in REFUSED)
    except Exception:  # of one address: the others are looked at all the same
        logger.exception("output not looked at", extra={"url": url[:200]})
        return Look(obstacle="internal_error", is_passing=True)


def _read(answer: Answer) -> Look:
    if answer.status in ABSENT:
        return Look(is_absent=True)
    if not 200 <= answer.status < 300:
        is_passing = answer.status >= 500 or answer.status in PASSING
        return Look(obstacle=f"http_{answer.status}", is_passing=is_passing)
    headers = {name.lower(): value for name, value in answer.headers}
    return Look(signature=_signature(answer.body), header=plain_type(headers.get("content-type", "")))


def _signature(start: bytes) -> str:
    sniffed = sniff(start[:PREFIX_BYTES])
    return sniffed[0] if sniffed else ""
