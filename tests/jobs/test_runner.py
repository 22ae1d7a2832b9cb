"""The runner: what a handler does becomes an outcome, and nothing it does ends the process's loop."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from attestations.models import Attestation
from jobs.models import Job, Tenant
from jobs.queue import draining, handlers
from jobs.queue.backoff import RetryPolicy
from jobs.queue.enqueue import enqueue_job
from jobs.queue.envelope import JobEnvelope
from jobs.queue.handlers import PermanentError, handler
from jobs.queue.runner import run_due_jobs, stop_keeper, work
from jobs.services.jobs import cancel_job
from jobs.testing import RunJobs


@dataclass(frozen=True)
class Say:
    word: str = "hello"


Register = Callable[..., None]
RunOne = Callable[..., Job]


@pytest.fixture
def register() -> Iterator[Register]:
    """Register a kind for one test."""
    kinds: list[str] = []

    def add(kind: str, run: Callable[[JobEnvelope[Say]], Any], **options: Any) -> None:
        handler(kind, payload=Say, **options)(run)
        kinds.append(kind)

    yield add
    for kind in kinds:
        handlers.unregister(kind)


@pytest.fixture
def run_one(tenant: Tenant, run_jobs: RunJobs) -> RunOne:
    """Enqueue a job of a kind, run what is due, and return it: `run_one("test.say")`."""

    def run(kind: str, **options: Any) -> Job:
        enqueue_job(kind, {"word": "hi"}, tenant_id=tenant.pk, **options)
        (job,) = run_jobs()
        return job

    return run


def test_a_handler_gets_its_envelope(tenant: Tenant, register: Register, run_one: RunOne) -> None:
    seen: list[JobEnvelope[Say]] = []
    register("test.say", seen.append)

    job = run_one("test.say", actor_id="alice", trace_id="a" * 32, request_id="r-1")

    assert seen == [
        JobEnvelope(
            job_id=job.pk,
            attempt=1,
            tenant_id=tenant.pk,
            actor_id="alice",
            trace_id="a" * 32,
            request_id="r-1",
            payload=seen[0].payload,
        )
    ]
    assert isinstance(seen[0].payload, Say)
    assert seen[0].payload.word == "hi"


def test_what_a_handler_returns_is_the_result(register: Register, run_one: RunOne) -> None:
    register("test.say", lambda envelope: {"said": envelope.payload.word})

    job = run_one("test.say")

    assert (job.status, job.result) == ("completed", {"said": "hi"})


def test_an_exception_is_tried_again_with_backoff(register: Register, run_one: RunOne) -> None:
    def fail(envelope: JobEnvelope[Say]) -> None:
        raise ValueError("no such luck")

    register("test.fail", fail, retry=RetryPolicy(max_attempts=3, delay_seconds=60, jitter=0))

    job = run_one("test.fail")

    assert (job.status, job.attempt) == ("queued", 1)
    assert job.error is not None
    assert job.error["code"] == "handler_failed"
    assert job.error["message"] == "ValueError: no such luck"
    assert "test_runner.py" in job.error["traceback"]


def test_a_job_that_fails_twice_then_succeeds_leaves_three_attestations(
    register: Register, run_one: RunOne
) -> None:
    def third_time_lucky(envelope: JobEnvelope[Say]) -> str:
        if envelope.attempt < 3:
            raise ValueError("not yet")
        return "done"

    register("test.flaky", third_time_lucky, retry=RetryPolicy(delay_seconds=0))

    job = run_one("test.flaky")

    assert (job.status, job.attempt, job.error) == ("completed", 3, None)
    assert list(Attestation.objects.order_by("id").values_list("attestation_key", flat=True)) == [
        f"worker-failure:job-{job.pk}",
        f"worker-failure:job-{job.pk}:attempt-1",
        f"worker-completion:job-{job.pk}:attempt-2",
    ]


def test_a_permanent_error_is_not_tried_again(register: Register, run_one: RunOne) -> None:
    def refuse(envelope: JobEnvelope[Say]) -> None:
        raise PermanentError("never", code="no_such_user")

    register("test.refuse", refuse)

    job = run_one("test.refuse")

    assert (job.status, job.error) == ("failed", {"code": "no_such_user", "message": "never"})


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_even_what_is_no_exception_is_an_outcome(
    register: Register, run_one: RunOne, raised: type[BaseException]
) -> None:
    def leave(envelope: JobEnvelope[Say]) -> None:
        raise raised

    register("test.leave", leave, retry=RetryPolicy(max_attempts=1))

    job = run_one("test.leave")

    assert job.status == "failed"


def test_a_handler_that_overruns_is_stopped(register: Register, run_one: RunOne) -> None:
    def dawdle(envelope: JobEnvelope[Say]) -> None:
        try:
            time.sleep(30)
        except Exception:  # noqa: BLE001, S110  a handler that swallows everything it may
            pass

    register("test.dawdle", dawdle, timeout_seconds=1, retry=RetryPolicy(max_attempts=1))
    began = time.monotonic()

    job = run_one("test.dawdle")

    assert time.monotonic() - began < 5
    assert (job.status, job.error and job.error["code"]) == ("failed", "timed_out")


def test_a_result_that_is_no_json_fails_the_job(register: Register, run_one: RunOne) -> None:
    register("test.odd", lambda envelope: object(), retry=RetryPolicy(max_attempts=1))

    job = run_one("test.odd")

    assert job.status == "failed"
    assert job.error is not None
    assert "not JSON serializable" in job.error["message"]


def test_a_kind_nobody_knows_here_waits_for_a_release_that_does(
    tenant: Tenant, register: Register, run_jobs: RunJobs
) -> None:
    register("test.gone", lambda envelope: None)
    enqueue_job("test.gone", {"word": "hi"}, tenant_id=tenant.pk)
    handlers.unregister("test.gone")

    (job,) = run_jobs()

    assert (job.status, job.error and job.error["code"]) == ("queued", "unknown_kind")


def test_the_log_line_of_a_job_carries_its_trace(tenant: Tenant, register: Register, run_one: RunOne) -> None:
    from config.logging import JsonFormatter

    lines: list[dict[str, Any]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(JsonFormatter().format(record)))

    keep = Keep()
    logging.getLogger("jobs.queue.runner").addHandler(keep)
    register("test.say", lambda envelope: None)
    try:
        job = run_one("test.say", actor_id="alice", trace_id="b" * 32, request_id="r-2")
    finally:
        logging.getLogger("jobs.queue.runner").removeHandler(keep)

    (line,) = lines
    assert line["msg"] == "job completed"
    assert (line["traceId"], line["tenantId"], line["actorId"], line["requestId"]) == (
        "b" * 32,
        str(tenant.pk),
        "alice",
        "r-2",
    )
    assert line["jobId"] == str(job.pk)
    assert {"level", "time", "pid", "hostname"} <= line.keys()


@pytest.mark.django_db(transaction=True)
def test_a_checkpoint_learns_of_a_cancellation_within_a_second_or_two(
    tenant: Tenant, register: Register
) -> None:
    def work_long(envelope: JobEnvelope[Say]) -> None:
        cancel_job(Job.objects.get(pk=envelope.job_id), by="alice")
        for _ in range(500):
            time.sleep(0.01)
            envelope.checkpoint()

    register("test.long", work_long)
    job_id = enqueue_job("test.long", {"word": "hi"}, tenant_id=tenant.pk)

    try:
        run_due_jobs("default")
    finally:
        stop_keeper()

    job = Job.objects.get(pk=job_id)
    assert (job.status, job.error and job.error["code"]) == ("cancelled", "cancelled")


def test_a_cluster_that_shuts_down_takes_up_nothing(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = enqueue_job("system.ping", tenant_id=tenant.pk)
    monkeypatch.setattr(draining, "has_begun", lambda: True)

    assert run_due_jobs("default") == 0
    assert Job.objects.get(pk=job_id).status == "queued"


def test_a_turn_never_raises(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def explode(*args: Any, **kwargs: Any) -> None:
        raise SystemExit

    monkeypatch.setattr("jobs.queue.runner.claim_in_house", explode)

    work("default")

    assert "queue turn failed" in caplog.text
