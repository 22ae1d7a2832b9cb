"""Server-sent events: what streams tell, where it comes from, and the answer it goes out in.

A view answers an EventStream: the first page of what there is to tell, and where to go on. `config.asgi` goes on with
it live (`config.broadcasting`). Behind a plain WSGI server that first page is all, and it does: a client comes again
after `retry`, and is told what has come since the last id it saw.

The format is that of https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from django.http import HttpResponse

RETRY_MS = 3_000  # what a client waits before it comes again
SILENCE_SECONDS = 15.0  # after so long a comment shows that the stream lives
COMMENT = b":\n\n"
# What JSON leaves as it is and Python's splitlines() takes for the end of a line.
_LINE_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\u0085\u2028\u2029"}
_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str).encode


@dataclass(frozen=True, slots=True)
class Frame:
    """One server-sent event; without an `id` a client's Last-Event-ID stays what it was.

    A frame without an id is a snapshot: it says what is, not what happened, and goes with a change of Cursor.shown.
    One that `is_last` has the position that the stream ended at, and its id says so, that nobody comes again for more.
    """

    event: str
    data: Any
    id: int | None = None
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a stream was read."""

    position: int = 0  # the last id told
    after: int = 0  # the store was read up to here
    shown: Any = None  # what snapshots were last told, comparable


@dataclass(frozen=True, slots=True)
class News:
    """A page of a stream, and how far it goes."""

    frames: list[Frame]
    cursor: Cursor
    is_over: bool = False  # nothing more will come: the stream is closed after these
    has_more: bool = False  # the page was full: read on at once


class Source(Protocol):
    """What streams of one kind tell. Called on a thread, with a database connection."""

    name: str

    def start(self, key: UUID, position: int) -> Cursor | None:
        """Where a client that has seen `position` goes on; None: this stream has no such position."""

    def read(self, cursors: Mapping[UUID, Cursor]) -> dict[UUID, News]:
        """What has come behind these cursors, one for each stream; a stream that is no more is left out.

        The number of statements does not grow with the number of streams.
        """


class Access(Protocol):
    """Who watches; hashable, and equal for those who may watch for the same reason."""

    @property
    def holder(self) -> str:
        """Whom the cap counts, like `key:<id>` or `user:<pk>`."""

    def holds(self) -> bool:
        """Whether they may still watch. Asked again and again, on a thread."""


_sources: dict[str, Source] = {}


def stream_source(source: Source) -> None:
    """Register what streams of one kind tell; a second time changes nothing."""
    _sources.setdefault(source.name, source)


def get_source(name: str) -> Source:
    """The source of this name; raises KeyError."""
    return _sources[name]


@dataclass(frozen=True, slots=True)
class Watch:
    """What a client has been told of a stream, and how it goes on."""

    source: str
    key: UUID
    cursor: Cursor
    access: Access
    has_more: bool = False
    ends_at: datetime | None = None


class EventStream(HttpResponse):
    """The beginning of a stream; where there is no `watch`, all of it."""

    def __init__(self, frames: Iterable[Frame], watch: Watch | None = None) -> None:
        retry = f"retry: {RETRY_MS}\n\n".encode()
        super().__init__(
            retry + b"".join(map(encode, frames)), content_type="text/event-stream; charset=utf-8"
        )
        self.watch = watch
        # No proxy may keep lines back to send them together, nor a part of them for others.
        self["Cache-Control"] = "no-cache, no-transform"
        self["X-Accel-Buffering"] = "no"


def encode(frame: Frame) -> bytes:
    """A frame as it is sent: its data on one line, whichever way a client splits lines."""
    name = "" if frame.id is None else f"id: {frame.id}{END_MARK if frame.is_last else ''}\n"
    data = _to_json(frame.data).translate(_LINE_ENDS)
    return f"{name}event: {frame.event}\ndata: {data}\n\n".encode()


END_MARK = "-end"  # behind the position at which a stream has ended


def read_last_id(text: str) -> tuple[int, bool] | None:
    """The position that a client names, and whether it has seen the end there; None where it is no position."""
    number = text.removesuffix(END_MARK)
    if not (number.isascii() and number.isdigit() and len(number) <= 18):
        return None
    return int(number), number != text
