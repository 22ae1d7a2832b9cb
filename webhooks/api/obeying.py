"""How the stand-in for a client's app misbehaves when it is asked to, for demo and tests.

`?fail=N` answers 503 to the first N attempts, `?status=CODE` answers that (to those N alone, with both),
`?retry_after=SECONDS` says when to come again, `?delay=SECONDS` waits first, `?body=garbage` answers no JSON.
"""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest, HttpResponse, QueryDict

from jobs.errors import InvalidInput

ASKED = ("fail", "status", "delay", "body", "retry_after")
DELAY_SECONDS_MAX = 30
GARBAGE = b"\xff<html>{not json"
_waiting = threading.BoundedSemaphore(max(settings.WEB_THREADS // 2, 1))
NUMBER = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, kw_only=True)
class Misbehaviour:
    """What one call is to be answered."""

    status: int
    delay_seconds: int
    is_garbage: bool
    retry_after: int | None

    @property
    def is_failure(self) -> bool:
        return not 200 <= self.status < 300

    def wait(self) -> None:
        """Wait as asked, unless so many do already that nobody else would be served."""
        if self.delay_seconds and _waiting.acquire(blocking=False):
            try:
                time.sleep(self.delay_seconds)
            finally:
                _waiting.release()

    def answer(self) -> HttpResponse:
        """An answer of its own, for a call that leaves nothing."""
        return self.dress(HttpResponse(b"As you asked.", content_type="text/plain"))

    def dress(self, answer: HttpResponse) -> HttpResponse:
        """Make of an honest answer what was asked for."""
        answer.status_code = self.status
        if self.is_garbage:
            answer.content = GARBAGE
        if self.retry_after is not None:
            answer["Retry-After"] = str(self.retry_after)
        return answer


def misbehaviour_of(request: HttpRequest) -> Misbehaviour | None:
    """What a call asks for, or None; always None where the platform does not obey. Raises InvalidInput."""
    asked = request.GET
    if not settings.MINIAPP_MOCK_OBEYS or not any(name in asked for name in ASKED):
        return None
    retry_after = _number(asked, "retry_after", 0, 86_400)
    return Misbehaviour(
        status=_status(asked, attempt=_attempt(request)),
        delay_seconds=_number(asked, "delay", 0, DELAY_SECONDS_MAX) or 0,
        is_garbage=asked.get("body") == "garbage",
        retry_after=retry_after,
    )


def _status(asked: QueryDict, *, attempt: int) -> int:
    failures = _number(asked, "fail", 0, 99_999)
    status = _number(asked, "status", 200, 599)
    if failures is None:
        return status or 200
    return (status or 503) if attempt <= failures else 200


def _attempt(request: HttpRequest) -> int:
    """Which attempt this is, from 1; the first where the call does not say."""
    text = request.headers.get("webhook-attempt", "")
    return int(text) if NUMBER.fullmatch(text) else 1


def _number(asked: QueryDict, name: str, lowest: int, highest: int) -> int | None:
    text = asked.get(name)
    if text is None:
        return None
    if not NUMBER.fullmatch(text) or not lowest <= int(text) <= highest:
        raise InvalidInput(f"?{name}= is a whole number from {lowest} to {highest}.")
    return int(text)
