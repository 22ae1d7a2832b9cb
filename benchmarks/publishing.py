"""What it costs to publish a stored proof again, what proving and publishing take up, and how many a minute."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

from attestations.canonical import canonical_json, digest_of
from attestations.models import Submission
from attestations.services.proving import generate
from attestations.services.publishing import publish
from attestations.services.submissions import GENERATE, PUBLISH, NewSubmission, submit
from benchmarks.anvil import configured_chain
from benchmarks.database import empty_tables, query
from benchmarks.jobs import the_tenant
from benchmarks.processes import cluster
from jobs.models import Job

PATIENCE_SECONDS = 600.0
GENERATING, PUBLISHING = "proof-generation", "proof-publishing"


def measure(*, is_quick: bool) -> dict[str, float]:
    """First one by one, side by side in this process; then a backlog on real clusters."""
    with configured_chain() as chain:
        return _costs(rounds=3 if is_quick else 9) | _backlog(chain, count=3 if is_quick else 30)


def _costs(*, rounds: int) -> dict[str, float]:
    """Publishing a stored proof again against proving and publishing from the start, one after the other."""
    empty_tables()
    _time_both(_submission())  # imports, connections, keys
    retries, reruns = zip(*(_time_both(_submission()) for _ in range(rounds)), strict=True)
    retry, rerun = median(retries), median(reruns)
    return {"publish_retry_s": retry, "publish_retry_ratio": retry / rerun}


def _time_both(submission: Submission) -> tuple[float, float]:
    """Seconds of an attempt to publish with the proof stored, and of all the work on a submission."""
    proving = _timed(lambda: _prove(submission))
    publishing = _timed(lambda: _publish(submission))
    return publishing, proving + publishing


def _submission() -> Submission:
    """A submission of its own digest, whose jobs nobody runs but this process."""
    digest = hashlib.sha256(secrets.token_bytes(32)).hexdigest()
    new = NewSubmission(sha256_hash=digest, is_approved=True)
    submission, _ = submit(the_tenant(), new, actor_id="benchmarks")
    return submission


def _job_of(submission: Submission, kind: str) -> UUID:
    job: UUID = Job.objects.values_list("pk", flat=True).get(workflow=submission.workflow_id, kind=kind)
    return job


def _prove(submission: Submission) -> None:
    result = generate(_job_of(submission, GENERATE), attempt=1, checkpoint=_go_on)
    Submission.objects.filter(pk=submission.pk).update(
        status=Submission.Status.PROOF_PUBLISHING,
        proof_json=canonical_json(result["proof"]).decode(),
        proof_digest=digest_of(result["proof"]),
        commitment=result["commitment"],
        submitter=result["submitter"],
    )


def _publish(submission: Submission) -> None:
    result = publish(_job_of(submission, PUBLISH), "", attempt=2, checkpoint=_go_on)
    assert result["is_verified_on_chain"], result


def _backlog(chain: dict[str, str], *, count: int) -> dict[str, float]:
    """`count` submissions approved at once, and the clusters of both queues, with one process that publishes."""
    empty_tables()
    tenant = the_tenant()
    for _ in range(count):
        digest = hashlib.sha256(secrets.token_bytes(32)).hexdigest()
        submit(tenant, NewSubmission(sha256_hash=digest, is_approved=True), actor_id="benchmarks")
    with ExitStack() as stack:
        for queue in (GENERATING, PUBLISHING):
            process = stack.enter_context(cluster(queue, workers=1, settings=chain))
        process.wait_until(_are_all_over, seconds=PATIENCE_SECONDS, pause=0.2)
        peaks = {queue: max(_peak_mb(pid) for pid in _workers(queue)) for queue in (GENERATING, PUBLISHING)}
    assert Submission.objects.filter(status="complete", is_verified_on_chain=True).count() == count
    return {
        "publisher_peak_mb": peaks[PUBLISHING],
        "generator_peak_mb": max(_peaks_of_provers()),
        "generator_worker_peak_mb": peaks[GENERATING],
        "submissions_per_minute": count * 60 / _seconds_of_work(),
    }


def _are_all_over() -> bool:
    return not Submission.objects.filter(status__in=["proof_generation", "proof_publishing"]).exists()


def _seconds_of_work() -> float:
    """From the first attempt: that the clusters have to start is not what is measured."""
    seconds = query(
        """
        SELECT extract(epoch FROM (SELECT max(completed_at) FROM jobs_job WHERE kind = %s)
                                - (SELECT min(started_at) FROM jobs_job))
        """,
        PUBLISH,
    )[0]
    return float(seconds)


def _workers(queue: str) -> set[int]:
    """The processes that ran jobs of a queue: workers are named `<queue>@<host>:<pid>`."""
    names = Job.objects.filter(queue=queue).values_list("worker", flat=True)
    return {int(name.rpartition(":")[2]) for name in names}


def _peak_mb(pid: int) -> float:
    """The most memory that a process has held, as Linux counts it."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1_024


def _peaks_of_provers() -> list[float]:
    """Of the processes that made the proofs, as they said themselves."""
    results: Any = Job.objects.filter(queue=GENERATING).values_list("result", flat=True)
    return [result["peak_mb"] for result in results]


def _timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _go_on() -> None:
    """Nobody wants to stop it."""
