"""Jobs to measure with, and the proof that they were really done."""

from __future__ import annotations

from benchmarks.database import query
from jobs.models import Tenant
from jobs.queue.enqueue import NewJob, enqueue_jobs

KIND = "system.ping"
CHUNK = 1_000


def the_tenant() -> Tenant:
    """The benchmarks' tenant."""
    return Tenant.objects.get_or_create(slug="bench", defaults={"name": "Benchmarks"})[0]


def fill_queue(count: int) -> None:
    """Enqueue `count` jobs that do nothing."""
    tenant = the_tenant()
    for first in range(0, count, CHUNK):
        size = min(CHUNK, count - first)
        enqueue_jobs([NewJob(kind=KIND, payload={}, tenant_id=tenant.pk) for _ in range(size)])


def are_all_ended() -> bool:
    """Whether no such job is queued or running any more."""
    return bool(
        query(
            "SELECT NOT EXISTS (SELECT FROM jobs_job WHERE kind = %s AND status IN ('queued', 'running'))",
            KIND,
        )[0]
    )


def check_all_attested(count: int) -> None:
    """Raise AssertionError unless `count` jobs completed at the first attempt, each with one attestation."""
    completed, attested, attestations = query(
        """
        SELECT count(DISTINCT j.id) FILTER (WHERE j.status = 'completed' AND j.attempt = 1),
               count(DISTINCT a.job_id) FILTER (WHERE a.attestation_type = 'worker_completion'),
               count(a.id)
          FROM jobs_job j LEFT JOIN attestations_attestation a ON a.job_id = j.id
         WHERE j.kind = %s
        """,
        KIND,
    )
    found = {"completed": completed, "attested": attested, "attestations": attestations}
    assert set(found.values()) == {count}, f"{count} jobs were enqueued, but: {found}"
