"""Background jobs followed over the REST API: from the request through the row to the cluster's log line."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from jobs.demo.generation import DemoFailed
from jobs.demo.own_platform import OwnPlatform

ENDED_WITHIN_SECONDS = 20.0
POLL_SECONDS = 0.05
LOG_FIELDS = ("level", "time", "pid", "hostname", "msg")


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """What a request says of a job besides its name and payload; the tenant is said by the key."""

    tenant_id: str
    trace_id: str
    actor_id: str = "user-123"
    request_id: str = field(default_factory=lambda: f"req-{secrets.token_hex(6)}")
    span_id: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def headers(self) -> dict[str, str]:
        return {
            "traceparent": f"00-{self.trace_id}-{self.span_id}-01",
            "X-Request-Id": self.request_id,
            "X-Actor-Id": self.actor_id,
        }

    @property
    def log_fields(self) -> dict[str, str]:
        return {
            "traceId": self.trace_id,
            "tenantId": self.tenant_id,
            "actorId": self.actor_id,
            "requestId": self.request_id,
        }


@dataclass(frozen=True, kw_only=True)
class Followed:
    """A job that has ended, with everything that was seen of it."""

    envelope: Envelope
    answer: httpx.Response
    job: dict[str, Any]
    lines: list[dict[str, Any]]

    @property
    def times(self) -> dict[str, datetime]:
        """When the row was in which state: queued and due, running, and its last."""
        names = {"queued": "created_at", "due": "run_at", "running": "started_at"}
        times = {state: _moment(self.job[name]) for state, name in names.items()}
        return {**times, self.job["status"]: _moment(self.job["ended_at"])}


class Caller:
    """A program of one tenant, which calls the API with a key of its own."""

    def __init__(self, platform: OwnPlatform, slug: str) -> None:
        self.platform = platform
        self.tenant_id = platform.manage("create_tenant", slug)
        key = platform.manage("create_api_key", slug, "--name", "evidence", "--scopes", "submit,read")
        headers = {"Authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=platform.url, headers=headers, timeout=10, trust_env=False)

    def follow(self, name: str, payload: dict[str, Any], *, trace_id: str) -> Followed:
        """Enqueue a job, wait for its end and check that its envelope came through. Raises DemoFailed."""
        envelope = Envelope(tenant_id=self.tenant_id, trace_id=trace_id)
        body = {"jobName": name, "payload": payload}
        answer = self._call("POST", "/api/jobs/enqueue", body, envelope.headers)
        job = self._ended(answer.json()["data"]["jobId"])
        # The runner logs before it stores the outcome, so the line is there by now.
        lines = self.platform.lines_about(job["id"])
        followed = Followed(envelope=envelope, answer=answer, job=job, lines=lines)
        check_envelope(followed)
        return followed

    def start_workflow(self, workflow_id: str) -> str:
        """Submit a workflow of one job, which no worker will take; its id."""
        body = {"workflow_id": workflow_id, "service_required": "nobody"}
        return str(self._call("POST", "/api/jobs", body, {}).json()["workflow_id"])

    def _ended(self, job_id: str) -> dict[str, Any]:
        end = time.monotonic() + ENDED_WITHIN_SECONDS
        while time.monotonic() < end:
            job: dict[str, Any] = self._call("GET", f"/api/jobs/{job_id}", None, {}).json()
            if job["ended_at"]:
                return job
            time.sleep(POLL_SECONDS)
        raise DemoFailed(f"The job {job_id} is still {job['status']} after {ENDED_WITHIN_SECONDS:.0f} s.")

    def _call(self, method: str, path: str, body: Any, headers: dict[str, str]) -> httpx.Response:
        try:
            answer = self._http.request(method, path, json=body, headers=headers)
        except httpx.HTTPError as error:
            raise DemoFailed(f"{method} {path} was not answered: {error!r}") from error
        if answer.status_code >= 400:
            raise DemoFailed(f"{method} {path} answered {answer.status_code}: {answer.text}")
        return answer


def check_envelope(followed: Followed) -> None:
    """Every link: what the request said is in the answer, on the row and in each log line of the job.

    Raises DemoFailed naming the link that does not hold.
    """
    envelope, answer, job = followed.envelope, followed.answer, followed.job
    _same("The answer's status", answer.status_code, 201)
    _same("The answer's meta.traceId", answer.json()["meta"]["traceId"], envelope.trace_id)
    for header, value in (("X-Trace-Id", envelope.trace_id), ("X-Request-Id", envelope.request_id)):
        _same(f"The answer's {header}", answer.headers.get(header), value)
    for name in ("tenant_id", "actor_id", "trace_id", "request_id"):
        _same(f"The row's {name}", job[name], getattr(envelope, name))
    if not followed.lines:
        raise DemoFailed(f"The cluster has logged nothing of the job {job['id']}.")
    for line in followed.lines:
        for name, value in envelope.log_fields.items():
            _same(f"The log line's {name}", line.get(name), value)
        if missing := [name for name in LOG_FIELDS if name not in line]:
            raise DemoFailed(f"A log line of the job lacks {', '.join(missing)}.")
    if list(followed.times.values()) != sorted(followed.times.values()):
        raise DemoFailed(f"The row's times are not in order: {followed.times}")


def check_end(followed: Followed, **expected: Any) -> None:
    """The job's fields are as expected; `error` stands for its code. Raises DemoFailed."""
    job = followed.job
    found = {**job, "error": job["error"] and job["error"]["code"]}
    for name, value in expected.items():
        _same(f"The {name} of {job['kind']}", found[name], value)


def _same(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise DemoFailed(f"{what} is {found!r}, not {expected!r}.")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
