"""What `manage.py evidence` looks at: each link that is broken on purpose is named."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from jobs.demo.envelope import Envelope, Followed, check_end, check_envelope
from jobs.demo.envelope_page import page
from jobs.demo.generation import DemoFailed

ENVELOPE = Envelope(tenant_id="tenant-1", trace_id="ab" * 16, request_id="req-1", actor_id="user-123")
JOB = {
    "id": "job-1",
    "kind": "system.ping",
    "tenant_id": "tenant-1",
    "actor_id": "user-123",
    "trace_id": "ab" * 16,
    "request_id": "req-1",
    "status": "completed",
    "attempt": 1,
    "max_attempts": 3,
    "result": {"pong": "ab" * 16},
    "error": None,
    "created_at": "2026-01-01T00:00:00.000000Z",
    "run_at": "2026-01-01T00:00:00.000000Z",
    "started_at": "2026-01-01T00:00:00.006000Z",
    "ended_at": "2026-01-01T00:00:00.008500Z",
}
LINE = {
    "level": "info",
    "time": "2026-01-01T00:00:00.008+00:00",
    "pid": 1,
    "hostname": "gpu-7",
    "msg": "job completed",
    "jobId": "job-1",
    "traceId": "ab" * 16,
    "tenantId": "tenant-1",
    "actorId": "user-123",
    "requestId": "req-1",
}


def followed(
    *,
    status: int = 201,
    trace_id: str = "ab" * 16,
    header: str = "req-1",
    lines: list[dict[str, Any]] | None = None,
    **job: Any,
) -> Followed:
    """A job whose envelope came through, but for what is said otherwise."""
    request = httpx.Request(
        "POST",
        "http://127.0.0.1/api/jobs/enqueue",
        headers={"Authorization": "Bearer afd_secret", **ENVELOPE.headers},
        json={"jobName": "system.ping", "payload": {}},
    )
    answer = httpx.Response(
        status,
        request=request,
        headers={"X-Trace-Id": "ab" * 16, "X-Request-Id": header, "Location": "/api/jobs/job-1"},
        json={"data": {"jobId": "job-1"}, "meta": {"traceId": trace_id}},
    )
    lines = [LINE] if lines is None else lines
    return Followed(envelope=ENVELOPE, answer=answer, job={**JOB, **job}, lines=lines)


def test_whole_evidence_is_accepted_and_shown_without_the_key_and_the_machine() -> None:
    whole = followed()

    check_envelope(whole)
    check_end(whole, status="completed", attempt=1, error=None)
    shown = page(whole, whole, whole)

    assert "Authorization: Bearer afd_…" in shown
    assert "secret" not in shown
    assert "gpu-7" not in shown
    assert "| running | 2026-01-01T00:00:00.006000+00:00 | 6.0 |" in shown
    assert "| completed | 2026-01-01T00:00:00.008500+00:00 | 2.5 |" in shown


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ({"status": 200}, "answer's status"),
        ({"trace_id": "cd" * 16}, "meta.traceId"),
        ({"header": "req-2"}, "X-Request-Id"),
        ({"tenant_id": "tenant-2"}, "row's tenant_id"),
        ({"actor_id": "key:1"}, "row's actor_id"),
        ({"request_id": ""}, "row's request_id"),
        ({"lines": []}, "logged nothing of the job job-1"),
        ({"lines": [LINE, {**LINE, "traceId": None}]}, "log line's traceId"),
        ({"lines": [{**LINE, "tenantId": "tenant-2"}]}, "log line's tenantId"),
        ({"lines": [{name: LINE[name] for name in LINE.keys() - {"pid"}}]}, "lacks pid"),
        ({"started_at": JOB["ended_at"], "ended_at": JOB["started_at"]}, "not in order"),
    ],
)
def test_a_link_that_does_not_hold_is_named(broken: dict[str, Any], named: str) -> None:
    with pytest.raises(DemoFailed, match=named):
        check_envelope(followed(**broken))


def test_a_job_that_ended_otherwise_is_named() -> None:
    failed = followed(error={"code": "timed_out", "message": "The attempt ran longer than 300 s."})

    with pytest.raises(DemoFailed, match="The error of system.ping is 'timed_out', not None"):
        check_end(failed, status="completed", error=None)
