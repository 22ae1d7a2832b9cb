"""The evidence of the envelope as Markdown, for docs/envelope.md."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import httpx

from jobs.demo.envelope import Followed

SHOWN_OF_REQUEST = ("Authorization", "Content-Type", "traceparent", "X-Request-Id", "X-Actor-Id")
SHOWN_OF_ANSWER = ("Content-Type", "Location", "X-Trace-Id", "X-Request-Id")
ORIGINS = {
    "tenant_id": "the API key",
    "actor_id": "`X-Actor-Id`",
    "trace_id": "`traceparent`",
    "request_id": "`X-Request-Id`",
}


def page(ping: Followed, due: Followed, refused: Followed) -> str:
    """The whole page: a ping with all its links, then the two reminders."""
    sections = [
        f"Made by `manage.py evidence` at {ping.job['created_at']}, on a platform started for it a moment before; "
        "every link shown was checked.",
        "### The request",
        _request(ping.answer.request),
        "### The answer",
        _answer(ping.answer),
        "### What the cluster logged of the job",
        _block("json", *map(_line, ping.lines)),
        "### The job's row",
        _fields(ping),
        _transitions(ping),
        "### A reminder of the tenant's own workflow",
        _job(due),
        "### A reminder of another tenant's workflow",
        _job(refused),
    ]
    return "\n\n".join(sections)


def _request(request: httpx.Request) -> str:
    shown = {name: request.headers[name] for name in SHOWN_OF_REQUEST}
    shown["Authorization"] = "Bearer afd_…"
    start = f"{request.method} {request.url.path} HTTP/1.1"
    return _block("http", start, *_headers(shown), "", _json(json.loads(request.content)))


def _answer(answer: httpx.Response) -> str:
    shown = {name: answer.headers[name] for name in SHOWN_OF_ANSWER}
    start = f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}"
    return _block("http", start, *_headers(shown), "", _json(answer.json()))


def _line(line: dict[str, Any]) -> str:
    """A log line as it was written, but for the name of the machine, which is nobody's business."""
    return _json({**line, "hostname": "…"})


def _fields(followed: Followed) -> str:
    rows = [(f"`{name}`", f"`{followed.job[name]}`", origin) for name, origin in ORIGINS.items()]
    return _table(("field", "value", "from"), rows)


def _transitions(followed: Followed) -> str:
    times = list(followed.times.items())
    rows = [(times[0][0], times[0][1].isoformat(), "")]
    for (_, before), (state, at) in itertools.pairwise(times):
        rows.append((state, at.isoformat(), f"{(at - before).total_seconds() * 1000:.1f}"))
    return _table(("the job was", "at", "ms after the one before"), rows)


def _job(followed: Followed) -> str:
    """A job in short: what was asked, how it ended, and what was logged."""
    job = followed.job
    end = {name: job[name] for name in ("status", "attempt", "max_attempts", "result", "error", "trace_id")}
    return "\n\n".join(
        [
            _block("json", _json(json.loads(followed.answer.request.content))),
            f"ended {(followed.times[job['status']] - followed.times['queued']).total_seconds() * 1000:.1f} ms "
            "after it was enqueued as",
            _block("json", _json(end)),
            "and the cluster logged",
            _block("json", *map(_line, followed.lines)),
        ]
    )


def _headers(headers: dict[str, str]) -> list[str]:
    return [f"{name}: {value}" for name, value in headers.items()]


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _block(language: str, *lines: str) -> str:
    return "\n".join([f"```{language}", *lines, "```"])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
