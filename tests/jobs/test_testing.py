"""The fixture `run_jobs`: jobs run inside a test as they would in production."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from attestations.models import Attestation
from jobs.models import Job, Queue, Tenant, Workflow
from jobs.queue import handlers
from jobs.queue.backoff import RetryPolicy
from jobs.queue.enqueue import enqueue_job
from jobs.queue.envelope import JobEnvelope
from jobs.queue.handlers import NoPayload, PermanentError, handler
from jobs.services.jobs import cancel_job
from jobs.services.queues import pause_queue
from jobs.services.workflows import Step, start_workflow
from jobs.testing import RunJobs
from tests.factories import make_job, make_tenant

Register = Callable[..., None]
Envelope = JobEnvelope[NoPayload]


@pytest.fixture
def register(db: None) -> Iterator[Register]:
    """Register a kind for one test."""
    kinds: list[str] = []

    def add(kind: str, run: Callable[[Envelope], Any], **options: Any) -> None:
        handler(kind, payload=NoPayload, **options)(run)
        kinds.append(kind)

    yield add
    for kind in kinds:
        handlers.unregister(kind)


def fail(envelope: Envelope) -> None:
    raise ValueError("no such luck")


def test_nothing_queued_runs_nothing(run_jobs: RunJobs) -> None:
    assert run_jobs() == []
    assert run_jobs(include_delayed=True) == []


def test_jobs_that_jobs_enqueue_run_too_and_are_answered_in_the_order_they_ended(
    register: Register, run_jobs: RunJobs
) -> None:
    def order(envelope: Envelope) -> str:
        with transaction.atomic():
            enqueue_job("test.pack")
            enqueue_job("test.post", queue="webhooks")
        return "ordered"

    register("test.order", order)
    register("test.pack", lambda envelope: "packed")
    register("test.post", lambda envelope: "posted")
    enqueue_job("test.order")

    jobs = run_jobs()

    assert [(job.kind, job.status, job.result) for job in jobs] == [
        ("test.order", "completed", "ordered"),
        ("test.pack", "completed", "packed"),
        ("test.post", "completed", "posted"),
    ]
    assert Attestation.objects.count() == 3


def test_what_a_handler_rolls_back_was_never_enqueued(register: Register, run_jobs: RunJobs) -> None:
    def change_its_mind(envelope: Envelope) -> None:
        make_tenant("kept")
        with transaction.atomic():
            make_tenant("lost")
            enqueue_job("system.ping")
            raise PermanentError("No, not after all.", code="withdrawn")

    register("test.fickle", change_its_mind)
    enqueue_job("test.fickle")

    (job,) = run_jobs()

    assert (job.status, job.error) == ("failed", {"code": "withdrawn", "message": "No, not after all."})
    assert Job.objects.count() == 1
    assert Tenant.objects.get().slug == "kept"


@pytest.mark.parametrize("is_caught", [True, False])
def test_a_statement_that_fails_is_the_jobs_affair(
    register: Register, run_jobs: RunJobs, tenant: Tenant, is_caught: bool
) -> None:
    def take_a_taken_name(envelope: Envelope) -> None:
        try:
            Tenant.objects.create(slug=tenant.slug, name="another")
        except IntegrityError:
            if not is_caught:
                raise

    register("test.taken", take_a_taken_name)
    enqueue_job("test.taken", max_attempts=1)

    (job,) = run_jobs()

    assert job.status == ("completed" if is_caught else "failed")
    assert is_caught or "IntegrityError" in str(job.error)
    assert Tenant.objects.get() == tenant


def test_a_retry_waits_unless_what_is_delayed_runs_too(register: Register, run_jobs: RunJobs) -> None:
    register("test.fail", fail, retry=RetryPolicy(max_attempts=3, delay_seconds=60))
    enqueue_job("test.fail")

    (waiting,) = run_jobs()
    assert (waiting.status, waiting.attempt) == ("queued", 1)
    assert run_jobs() == []
    (failed,) = run_jobs(include_delayed=True)

    assert (failed.pk, failed.status, failed.attempt) == (waiting.pk, "failed", 3)
    assert failed.error
    assert failed.error["message"] == "ValueError: no such luck"
    assert Attestation.objects.filter(job=failed).count() == 3


def test_what_is_due_later_runs_in_its_order(register: Register, run_jobs: RunJobs) -> None:
    register("test.fail", fail, retry=RetryPolicy(max_attempts=2, delay_seconds=90, jitter=0))
    now = timezone.now()
    retried = enqueue_job("test.fail")
    last = enqueue_job("system.ping", run_at=now + timedelta(seconds=120))
    second = enqueue_job("system.ping", run_at=now + timedelta(seconds=60))

    jobs = run_jobs(include_delayed=True)

    assert [job.pk for job in jobs] == [second, retried, last]


def test_a_workflow_runs_step_by_step(register: Register, run_jobs: RunJobs, tenant: Tenant) -> None:
    register("test.paint", lambda envelope: {"url": "https://example.com/1.png"})
    register("test.frame", lambda envelope: {"url": "https://example.com/2.png"})
    steps = [
        Step(name="paint", payload={}, kind="test.paint"),
        Step(name="frame", payload={}, kind="test.frame"),
    ]
    workflow, _ = start_workflow(tenant, workflow_id="w-1", steps=steps, actor_id="", data={})

    jobs = run_jobs()

    assert [(job.step_name, job.status) for job in jobs] == [("paint", "completed"), ("frame", "completed")]
    workflow.refresh_from_db()
    assert (workflow.status, workflow.outputs) == (Workflow.Status.COMPLETED, ["https://example.com/2.png"])
    assert Attestation.objects.filter(attestation_key="workflow-completion:w-1").exists()


def test_a_paused_queue_stays_paused(run_jobs: RunJobs) -> None:
    pause_queue(Queue.objects.get(name="default", is_remote=False), by="alice")
    enqueue_job("system.ping")
    enqueue_job("system.ping", run_at=timezone.now() + timedelta(hours=1))
    elsewhere = enqueue_job("system.ping", queue="webhooks")

    assert [job.pk for job in run_jobs(include_delayed=True)] == [elsewhere]


def test_work_for_remote_workers_is_left_to_them(run_jobs: RunJobs, tenant: Tenant) -> None:
    job = make_job(tenant, service_required="gpu")

    assert run_jobs(include_delayed=True) == []
    job.refresh_from_db()
    assert job.status == "queued"


def test_a_checkpoint_ends_a_cancelled_job(register: Register, run_jobs: RunJobs) -> None:
    def stop_itself(envelope: Envelope) -> str:
        envelope.checkpoint()
        cancel_job(Job.objects.get(pk=envelope.job_id), by="alice")
        envelope.checkpoint()
        return "not reached"

    register("test.stop", stop_itself)
    enqueue_job("test.stop")

    (job,) = run_jobs()

    assert (job.status, job.result) == ("cancelled", None)


def test_a_handler_that_overruns_has_timed_out(register: Register, run_jobs: RunJobs) -> None:
    register("test.dawdle", lambda envelope: time.sleep(30), timeout_seconds=1)
    enqueue_job("test.dawdle", max_attempts=1)

    (job,) = run_jobs()

    assert (job.status, job.error and job.error["code"]) == ("failed", "timed_out")


def test_a_statement_that_overruns_is_cancelled_and_the_test_goes_on(
    register: Register, run_jobs: RunJobs
) -> None:
    def wait_in_the_database(envelope: Envelope) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(30)")

    register("test.query", wait_in_the_database, timeout_seconds=1)
    enqueue_job("test.query", max_attempts=1)

    (job,) = run_jobs()

    assert (job.status, job.error and job.error["code"]) == ("failed", "timed_out")


def test_the_alarm_that_was_set_before_still_rings(register: Register, run_jobs: RunJobs) -> None:
    rung: list[int] = []

    def nap(envelope: Envelope) -> int:
        time.sleep(0.1)
        return len(rung)

    register("test.nap", nap)
    enqueue_job("test.nap")
    before = signal.signal(signal.SIGALRM, lambda signum, frame: rung.append(signum))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        (job,) = run_jobs()
        time.sleep(0.05)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert (job.status, job.result) == ("completed", 0)
    assert rung == [signal.SIGALRM]


def test_no_thread_is_left(run_jobs: RunJobs) -> None:
    enqueue_job("system.ping")
    before = threading.active_count()

    run_jobs()

    assert threading.active_count() == before


@pytest.mark.django_db(transaction=True)
def test_outside_the_main_thread_jobs_run_without_their_timeout(run_jobs: RunJobs) -> None:
    enqueue_job("system.ping")
    statuses: list[str] = []

    def run() -> None:
        statuses.extend(job.status for job in run_jobs())
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

    assert statuses == ["completed"]


def test_a_job_that_enqueues_itself_for_ever_ends_the_test(
    register: Register, run_jobs: RunJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    register("test.again", lambda envelope: str(enqueue_job("test.again")))
    monkeypatch.setattr("jobs.testing.MOST_ATTEMPTS", 10)
    enqueue_job("test.again")

    with pytest.raises(RuntimeError, match="enqueue itself"):
        run_jobs()
