"""What in-house jobs tell of themselves while they run, and who is waked by what changes."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from jobs.models import Event, Job, Tenant
from jobs.queue import wakeups
from jobs.queue.claim import claim_in_house, claim_remote
from jobs.queue.enqueue import enqueue_job
from jobs.queue.envelope import JobEnvelope, JobStopped
from jobs.queue.finish import LARGE_BATCH
from jobs.queue.handlers import NoPayload, handler, unregister
from jobs.services.attempts import LINE_MAX_CHARS, log_of_attempt, progress_of_attempt
from jobs.services.jobs import cancel_job, retry_job
from jobs.testing import RunJobs
from tests.factories import make_job, make_workflow

PNG = "data:image/png;base64," + b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4).decode()


@pytest.fixture
def talker() -> Iterator[list[type[BaseException]]]:
    """A kind that says how far it is; what telling raised in it."""
    raised: list[type[BaseException]] = []

    @handler("tests.talker", payload=NoPayload)
    def talk(envelope: JobEnvelope[NoPayload]) -> None:
        envelope.log("one", "two")
        envelope.progress(40, "nearly")
        envelope.log()
        Job.objects.filter(pk=envelope.job_id).update(attempt=2, max_attempts=5)  # as if another had it
        try:
            envelope.log("three")
        except JobStopped:
            raised.append(JobStopped)
        Job.objects.filter(pk=envelope.job_id).update(attempt=1)

    yield raised
    unregister("tests.talker")


def test_a_handler_tells_while_it_runs(
    tenant: Tenant, run_jobs: RunJobs, talker: list[type[BaseException]]
) -> None:
    job_id = enqueue_job("tests.talker", {}, tenant_id=tenant.pk)

    run_jobs()

    told = [(event.type, event.data) for event in Event.objects.filter(job=job_id).order_by("id")]
    assert told == [
        ("log", {"lines": ["one", "two"]}),
        ("progress", {"progress": 40, "message": "nearly"}),
    ]
    assert talker == [JobStopped]


@pytest.fixture
def chatterbox(tenant: Tenant) -> Iterator[None]:
    """A kind that does nothing but talk, and is cancelled after its first word."""

    @handler("tests.chatterbox", payload=NoPayload)
    def talk(envelope: JobEnvelope[NoPayload]) -> None:
        for number in range(3):
            envelope.log(f"word {number}")
            cancel_job(Job.objects.get(pk=envelope.job_id), by="alice")

    yield
    unregister("tests.chatterbox")


def test_telling_is_a_checkpoint(tenant: Tenant, run_jobs: RunJobs, chatterbox: None) -> None:
    job_id = enqueue_job("tests.chatterbox", {}, tenant_id=tenant.pk)

    run_jobs()

    said = Event.objects.filter(job=job_id, type="log").values_list("data", flat=True)
    assert list(said) == [{"lines": ["word 0"]}]
    assert Job.objects.get(pk=job_id).status == "cancelled"


def test_progress_is_on_the_row_and_reopens_the_evaluation(tenant: Tenant) -> None:
    workflow = make_workflow(tenant, is_cleanup_evaluated=True)
    job = make_job(
        tenant, status=Job.Status.RUNNING, workflow=workflow, step_index=0, is_cleanup_evaluated=True
    )

    assert progress_of_attempt(job.pk, job.attempt, 70, "")

    job.refresh_from_db()
    workflow.refresh_from_db()
    assert (job.progress, job.is_cleanup_evaluated, workflow.is_cleanup_evaluated) == (70, False, False)


def test_an_attempt_that_is_over_tells_nothing(tenant: Tenant) -> None:
    job = make_job(tenant, status=Job.Status.RUNNING)

    assert not progress_of_attempt(job.pk, job.attempt + 1, 70, "")
    assert not log_of_attempt(job.pk, job.attempt + 1, ["late"])

    job.refresh_from_db()
    assert (job.progress, Event.objects.count()) == (0, 0)


def test_no_percentage_beyond_its_bounds(tenant: Tenant) -> None:
    job = make_job(tenant, status=Job.Status.RUNNING)

    for progress in (-1, 101):
        with pytest.raises(ValueError, match="percentage"):
            progress_of_attempt(job.pk, job.attempt, progress, "")


def test_lines_are_made_fit_to_be_stored(tenant: Tenant) -> None:
    job = make_job(tenant, status=Job.Status.RUNNING)
    long = "long " * LINE_MAX_CHARS

    assert log_of_attempt(job.pk, job.attempt, [f"see {PNG}", "a\0b\ud800", long, *["many"] * 250])

    lines = [line for event in Event.objects.order_by("id") for line in event.data["lines"]]
    assert "iVBOR" not in lines[0]
    assert lines[1] == "a\ufffdb\ufffd"
    assert len(lines[2]) == LINE_MAX_CHARS
    assert lines[2].endswith("(cut)")
    assert lines[3:] == ["many"] * 250
    assert Event.objects.count() == 3


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch, tenant: Tenant) -> list[UUID]:
    """The ids that are announced once what is done has committed."""
    keys: list[UUID] = []

    class Noting:
        def announce(self, words: Any) -> None:
            keys.extend(UUID(word) for channel, word in words if channel == "affidavit_changes")

    monkeypatch.setattr(wakeups, "_announcer", Noting)
    return keys


def test_ends_claims_and_verbs_wake_those_who_watch(
    tenant: Tenant, announced: list[UUID], run_jobs: RunJobs, django_capture_on_commit_callbacks: Any
) -> None:
    workflow = make_workflow(tenant)
    light = [make_job(tenant, batch_size=10) for _ in range(2)]
    remote = make_job(tenant, service_required="gpu", workflow=workflow, step_index=0)
    queued = make_job(tenant, status=Job.Status.FAILED)

    def announcing(act: Any) -> set[UUID]:
        announced.clear()
        with django_capture_on_commit_callbacks(execute=True):
            act()
        return set(announced)

    assert announcing(lambda: claim_in_house("default", "me")) == set()
    Job.objects.filter(pk__in=[job.pk for job in light]).delete()
    assert announcing(lambda: claim_remote(tenant.pk, ["gpu"], "me", limit=1)) == {remote.pk, workflow.pk}
    assert announcing(lambda: retry_job(queued, by="me")) == {queued.pk}
    assert announcing(lambda: claim_in_house("default", "me")) == {queued.pk}
    Job.objects.filter(pk=queued.pk).update(status="queued", attempt=0, lease_token=None)
    assert announcing(lambda: run_jobs()) == {queued.pk}
    assert announcing(lambda: cancel_job(remote, by="me")) == {remote.pk, workflow.pk}


def test_a_large_batch_of_light_jobs_wakes_nobody(
    tenant: Tenant, announced: list[UUID], run_jobs: RunJobs, django_capture_on_commit_callbacks: Any
) -> None:
    workflow = make_workflow(tenant)
    step = make_job(tenant, batch_size=100, workflow=workflow, step_index=0)
    for _ in range(LARGE_BATCH):
        make_job(tenant, batch_size=100)

    with django_capture_on_commit_callbacks(execute=True):
        run_jobs()

    assert set(announced) == {step.pk, workflow.pk}
    assert not Job.objects.exclude(status=Job.Status.COMPLETED).exists()
