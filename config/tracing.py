"""One id from request to delivery: reads it off the request, binds it for logs, answers with it.

Source: W3C Trace Context (https://www.w3.org/TR/trace-context/) for `traceparent`.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import uuid
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponseBase

TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
NO_TRACE = "0" * 32


@dataclass(frozen=True, slots=True)
class Trace:
    """What one piece of work is known by.

    `trace_id` is 32 lowercase hex digits; `request_id` is the caller's own text, or ours.
    """

    trace_id: str
    request_id: str = ""


_current: ContextVar[Trace | None] = ContextVar("affidavit_trace", default=None)
_NOTHING: dict[str, str | None] = {}
_fields: ContextVar[dict[str, str | None]] = ContextVar("affidavit_log_fields", default=_NOTHING)


def new_trace_id() -> str:
    """Make a random trace id of 32 hex digits, never the all-zero one that W3C forbids."""
    return secrets.token_hex(16)


def current_trace() -> Trace:
    """Return the trace of the work at hand, or a new one where nothing began it."""
    return _current.get() or Trace(new_trace_id())


@contextlib.contextmanager
def bound_trace(trace: Trace, **fields: str | None) -> Iterator[None]:
    """Log every line inside with this trace and `fields` (tenantId, actorId …)."""
    token = _current.set(trace)
    before = _fields.set({"traceId": trace.trace_id, "requestId": trace.request_id or None, **fields})
    try:
        yield
    finally:
        _fields.reset(before)
        _current.reset(token)


def bind_fields(**fields: str | None) -> None:
    """Log these fields too, until the trace at hand ends."""
    _fields.set(_fields.get() | fields)


def log_fields() -> dict[str, str | None]:
    """What every line that is logged now carries."""
    return _fields.get()


def trace_of(request: HttpRequest) -> Trace:
    """Read `traceparent` and `X-Request-Id`; what is missing or malformed is made anew."""
    trace_id = trace_id_of(request.headers.get("traceparent", ""))
    request_id = request.headers.get("X-Request-Id", "")
    return Trace(trace_id, request_id if REQUEST_ID.fullmatch(request_id) else str(uuid.uuid4()))


def trace_id_of(traceparent: str) -> str:
    """The trace id of a `traceparent`; a new one where that is missing or malformed."""
    match = TRACEPARENT.fullmatch(traceparent)
    return match[1] if match and match[1] != NO_TRACE else new_trace_id()


def traceparent_of(trace_id: str) -> str:
    """What hands a trace on to whoever works for it: a `traceparent` with a span of its own."""
    return f"00-{trace_id}-{secrets.token_hex(8)}-01"


class TraceMiddleware:
    """Bind the request's trace around everything that happens in it."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        trace = trace_of(request)
        with bound_trace(trace):
            response = self.get_response(request)
        response["X-Trace-Id"] = trace.trace_id
        response["X-Request-Id"] = trace.request_id
        return response
