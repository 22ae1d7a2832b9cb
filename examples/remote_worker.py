"""The worker's side of the platform's REST protocol, ready to be copied.

`Worker(platform, …).run(perform)` claims one job after the other, keeps its lease alive and ends it with what
`perform(payload, lease)` returns, or with the JobFailed it raises.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx

LONG_POLL_SECONDS = 20
HEARTBEAT_SECONDS = 10  # a lease lasts 30 s
PATIENCE_SECONDS = 60  # without an answer for this long, the lease is gone
LONGEST_PAUSE_SECONDS = 30.0

log = logging.getLogger("worker")


class Unavailable(Exception):
    """The platform can't answer now; `retry_after` is what it asked for, in seconds."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Refused(Exception):
    """The platform does not accept what it was told."""


class Unauthorized(Exception):
    """The API key is wrong or lacks the scope `work`."""


class LeaseLost(Exception):
    """The job is no longer this worker's."""


class JobFailed(Exception):
    """The job can't be done; `code` is a stable word for why, retryable when another try may go better."""

    def __init__(self, code: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.code, self.retryable = code, retryable


class Platform:
    """The platform at `url`, called with an API key of scope `work`."""

    def __init__(self, url: str, key: str) -> None:
        self.url, self.key = url.rstrip("/"), key
        self.http = self.client(self.url)

    def client(self, url: str) -> httpx.Client:
        """A client for `url`. Only the platform's own host gets to see the key."""
        is_own = urlsplit(url)[:2] == urlsplit(self.url)[:2]
        headers = {"Authorization": f"Bearer {self.key}"} if is_own else {}
        # What runs on this machine is not behind a proxy, whatever the environment says.
        is_local = urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")
        return httpx.Client(headers=headers, timeout=LONG_POLL_SECONDS + 20, trust_env=not is_local)

    def send(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        """Call once; the answer's JSON. Raises Unavailable, LeaseLost, Refused or Unauthorized."""
        try:
            answer = self.http.request(method, self.url + path, **content)
        except httpx.RequestError as error:
            raise Unavailable(f"{method} {path}: {error or type(error).__name__}") from error
        body = _json(answer)
        if answer.is_success and body is not None:
            return body
        code, detail = (str((body or {}).get(name, "")) for name in ("code", "detail"))
        message = f"{method} {path} answered {answer.status_code} {code} {detail}".strip()
        if answer.status_code in (401, 403):
            raise Unauthorized(message)
        if answer.status_code == 429 or answer.status_code >= 500 or answer.is_success:
            raise Unavailable(message, _seconds(answer.headers.get("Retry-After", "")))
        raise LeaseLost(message) if code == "lease_lost" else Refused(message)

    def insist(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        """Call until there is an answer. Raises LeaseLost when none came for so long that it must be lost."""
        end, pauses = time.monotonic() + PATIENCE_SECONDS, Pauses()
        while True:
            try:
                return self.send(method, path, **content)
            except Unavailable as error:
                log.warning("%s", error)
                pause = pauses.after(error)
                if time.monotonic() + pause > end:
                    raise LeaseLost(f"no answer for {PATIENCE_SECONDS} s") from error
                time.sleep(pause)


def _json(answer: httpx.Response) -> dict[str, Any] | None:
    try:
        body = answer.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _seconds(header: str) -> float | None:
    return float(header) if header.isdecimal() else None


class Pauses:
    """What the platform asked for, else 1, 2, 4 … 30 s with jitter."""

    def __init__(self) -> None:
        self.seconds = 1.0

    def after(self, error: Exception) -> float:
        asked: float | None = getattr(error, "retry_after", None)
        pause = self.seconds * random.uniform(0.7, 1.3) if asked is None else asked
        self.seconds = min(LONGEST_PAUSE_SECONDS, self.seconds * 2)
        return pause


class Lease:
    """Holds one job: renews its lease from a thread, reports, and remembers what ended it."""

    def __init__(self, platform: Platform, job: dict[str, Any]) -> None:
        self.platform = platform
        self.job_id, self.token = job["id"], job["lease_token"]
        self.ending: Exception | None = None
        self.is_ended, self.is_released = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> Lease:
        self.thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.is_released.set()
        self.thread.join(timeout=1)  # one that hangs in a call dies with us

    def _renew(self) -> None:
        while not self.is_ended.is_set() and not self.is_released.wait(HEARTBEAT_SECONDS):
            self._mention("heartbeat")

    def report(self, percent: int, message: str) -> None:
        self._mention("progress", progress=percent, message=message)

    def write_log(self, *lines: str) -> None:
        self._mention("log", lines=list(lines))

    def _mention(self, verb: str, **fields: Any) -> None:
        """Say what may get lost on the way; keep for `check` that the lease is lost or the job cancelled."""
        try:
            answer = self._post(self.platform.send, verb, **fields)
        except (Unavailable, Refused) as error:
            log.warning("%s", error)
        except (LeaseLost, Unauthorized) as error:
            self._end(error)
        else:
            if answer.get("cancel_requested"):
                self._end(JobFailed("cancelled", "Cancelled while it was running."))

    def _end(self, error: Exception) -> None:
        self.ending = self.ending or error
        self.is_ended.set()

    def check(self, wait: float = 0.0) -> None:
        """Wait so many seconds. Raises what has ended the job meanwhile, if anything has."""
        self.is_ended.wait(max(0.0, wait))
        if self.ending:
            raise self.ending

    def upload(self, name: str, data: bytes, content_type: str) -> dict[str, Any]:
        """Store a file of the job's; where it can be seen and what the platform takes it for."""
        headers = {"X-Lease-Token": self.token, "Content-Type": content_type}
        path = f"/api/jobs/{self.job_id}/artifacts/{name}"
        return self.platform.insist("PUT", path, content=data, headers=headers)

    def complete(self, result: dict[str, Any]) -> None:
        self._post(self.platform.insist, "complete", result=result)

    def fail(self, error: JobFailed) -> None:
        problem = {"code": error.code, "message": str(error)[:2_000]}
        self._post(self.platform.insist, "fail", error=problem, retryable=error.retryable)

    def _post(self, call: Callable[..., dict[str, Any]], verb: str, **fields: Any) -> dict[str, Any]:
        return call("POST", f"/api/jobs/{self.job_id}/{verb}", json={"lease_token": self.token, **fields})


Perform = Callable[[Any, Lease], dict[str, Any]]


class Worker:
    """Claims one job after the other until it is told to stop."""

    def __init__(self, platform: Platform, worker_id: str, services: list[str]) -> None:
        self.platform, self.worker_id, self.services = platform, worker_id, services
        self.is_busy = self.is_stopping = False

    def stop(self, *signal_and_frame: object) -> None:
        """A signal handler: leave at once when idle, else after the current job."""
        self.is_stopping = True
        if not self.is_busy:
            raise SystemExit(0)

    def run(self, perform: Perform) -> None:
        """Work until stopped. Raises Unauthorized, the one thing that waiting does not cure."""
        pauses = Pauses()
        while not self.is_stopping:
            try:
                jobs = self.claim()
                pauses = Pauses()
            except (Unavailable, Refused, LeaseLost) as error:
                log.warning("%s", error)
                time.sleep(pauses.after(error))
                continue
            self.is_busy = True
            for job in jobs:
                self.work(job, perform)
            self.is_busy = False

    def claim(self) -> list[dict[str, Any]]:
        """Ask for one job; the platform answers when there is one, or after a while that there is none."""
        asked = time.monotonic()
        body = {"worker_id": self.worker_id, "services": self.services, "limit": 1}
        answer = self.platform.send(
            "POST", "/api/workers/claim", json={**body, "wait_seconds": LONG_POLL_SECONDS}
        )
        jobs = answer.get("jobs")
        if not isinstance(jobs, list):
            raise Refused(f"{self.platform.url} does not answer as the platform does")
        if not jobs:
            time.sleep(max(0.0, asked + 1 - time.monotonic()))  # should it not wait, we do
        return jobs

    def work(self, job: dict[str, Any], perform: Perform) -> None:
        """Do one job and end it."""
        started = time.monotonic()
        try:
            with Lease(self.platform, job) as lease:
                try:
                    lease.complete(perform(job["payload"], lease))
                    log.info("job %s completed in %.1f s", job["id"], time.monotonic() - started)
                except JobFailed as error:
                    log.warning("job %s failed, %s: %s", job["id"], error.code, error)
                    lease.fail(error)
                except (LeaseLost, Unauthorized):
                    raise
                except Exception as error:  # the loop must survive whatever a job does
                    log.error("job %s: %r", job["id"], error, exc_info=log.isEnabledFor(logging.DEBUG))
                    lease.fail(
                        JobFailed("worker_error", repr(error), retryable=not isinstance(error, Refused))
                    )
        except (LeaseLost, Refused) as error:
            log.warning("job %s dropped: %s", job["id"], error)
