"""What a failed attempt says is kept, whatever it says, and costs the job no further attempt."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from attestations.models import Attestation
from jobs.models import Job, Tenant
from jobs.queue import handlers
from jobs.queue.backoff import RetryPolicy
from jobs.queue.enqueue import enqueue_job
from jobs.queue.handlers import NoPayload, handler
from jobs.queue.outcomes import MESSAGE_MAX_CHARS, make_error
from jobs.services.jobs import fail_job
from jobs.testing import RunJobs
from tests.factories import make_job

Saying = Callable[[str], None]


@pytest.fixture
def saying() -> Iterator[Saying]:
    """Makes the handler of `test.says` raise with a text."""
    texts: list[str] = []

    @handler("test.says", payload=NoPayload, retry=RetryPolicy(max_attempts=3))
    def say(envelope: object) -> None:
        raise RuntimeError(texts[-1])

    yield texts.append
    handlers.unregister("test.says")


@pytest.mark.parametrize(("text", "kept"), [("a\0b", "a\ufffdb"), ("\ud800!", "\ufffd!"), ("🙂", "🙂")])
def test_a_text_that_cannot_be_stored_costs_no_attempt(
    saying: Saying, tenant: Tenant, run_jobs: RunJobs, text: str, kept: str
) -> None:
    saying(text)
    enqueue_job("test.says", tenant_id=tenant.pk)

    (first,) = run_jobs()
    (*_, last) = run_jobs(include_delayed=True)

    assert (first.status, first.attempt) == ("queued", 1)
    assert (last.status, last.attempt) == ("failed", 3)
    for job in (first, last):
        assert job.error
        assert (job.error["code"], job.error["message"]) == ("handler_failed", f"RuntimeError: {kept}")
        assert kept in job.error["traceback"]
    assert Attestation.objects.filter(job=last).count() == 3


def test_a_long_text_is_cut_and_says_so(saying: Saying, run_jobs: RunJobs) -> None:
    saying("x" * 1_000_000)
    enqueue_job("test.says")

    (job,) = run_jobs()

    assert job.error
    assert len(job.error["message"]) == MESSAGE_MAX_CHARS
    assert job.error["message"].startswith("RuntimeError: xxx")
    assert job.error["message"].endswith("x … (cut)")


def test_a_text_of_the_full_length_is_left_whole() -> None:
    assert make_error("oom", "x" * MESSAGE_MAX_CHARS)["message"] == "x" * MESSAGE_MAX_CHARS


def test_what_a_worker_says_is_kept_too(tenant: Tenant) -> None:
    job = make_job(tenant, service_required="gpu", status="running")
    assert job.lease_token

    fail_job(job, job.lease_token, "oom", "a\0b\udfff", is_retryable=True)

    job = Job.objects.get()
    assert (job.status, job.error) == ("queued", {"code": "oom", "message": "a\ufffdb\ufffd"})
