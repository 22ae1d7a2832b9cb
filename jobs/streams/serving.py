"""Opens a stream: where a client goes on, and the first page of what it is told."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from rest_framework.request import Request

from config.streaming import (
    Access,
    Cursor,
    EventStream,
    Frame,
    News,
    Source,
    Watch,
    get_source,
    read_last_id,
)

RESET = Frame("reset", {"reason": "unknown_position"})


def open_stream(
    request: Request | HttpRequest,
    source_name: str,
    key: UUID,
    *,
    access: Access,
    ends_at: datetime | None = None,
) -> HttpResponseBase:
    """Answer a stream from where the client has been, or 204 where it has seen the end of it.

    The position is that of `Last-Event-ID`, or of `last_event_id` in the query, for the first connection of an
    EventSource, which sends no such header. One that this stream does not have is answered with `reset`, and the
    stream from its beginning. `ends_at` is the latest end of this connection. Raises Http404.
    """
    source, text = get_source(source_name), _last_id_of(request)
    position, has_seen_end = read_last_id(text) or (-1, False)
    cursor = source.start(key, position) if position >= 0 else None
    frames = [] if cursor else [RESET]
    cursor = cursor or _beginning(source, key)
    news = source.read({key: cursor}).get(key)
    if news is None:
        raise Http404
    if news.is_over and not frames and not _tells_anything(news, has_seen_end=has_seen_end):
        # An EventSource comes again whatever ends its stream, but for this.
        return HttpResponse(status=204)
    watch = Watch(source_name, key, news.cursor, access, news.has_more, ends_at)
    return EventStream([*frames, *news.frames], None if news.is_over else watch)


def _last_id_of(request: Request | HttpRequest) -> str:
    """What the client has seen last; the header, which an EventSource sends when it comes again, counts first."""
    asked = request.GET.get("last_event_id") or request.GET.get("lastEventId")
    return (request.headers.get("Last-Event-ID") or asked or "0").strip()


def _beginning(source: Source, key: UUID) -> Cursor:
    cursor = source.start(key, 0)
    if cursor is None:
        raise Http404
    return cursor


def _tells_anything(news: News, *, has_seen_end: bool) -> bool:
    return any(frame.id is not None and not (frame.is_last and has_seen_end) for frame in news.frames)
