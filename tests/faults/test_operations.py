"""A bulk operation whose workers are killed in the middle: each record is dealt with once, and none is left out."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tests.faults.conftest import READY_SECONDS, Platform, eventually

pytestmark = pytest.mark.faults

JOBS = 600
KILLS = 2
START = f"""
from django.contrib.auth.models import User
from django.utils import timezone
from jobs.models import Job, Tenant
from jobs.services.audit import Actor
from jobs.services.operations import NewOperation, start_operation
tenant = Tenant.objects.create(slug="acme", name="acme")
jobs = [
    Job(tenant=tenant, service_required="artgen", queue="artgen", status="failed", attempt=3, max_attempts=3,
        failed_at=timezone.now(), trace_id="0" * 31 + "1")
    for _ in range({JOBS})
]
Job.objects.bulk_create(jobs)
user = User.objects.create_superuser("alice", password="correct horse")
new = NewOperation(
    model="jobs.Job", verb="retry_jobs", title="Retry", word="retry", query="status=failed",
    newest=str(jobs[-1].pk), total_count={JOBS},
)
print(start_operation(new, by=Actor(name="alice", user_id=user.pk)).pk)
"""


def operation(platform: Platform) -> dict[str, Any]:
    return platform.query("SELECT * FROM jobs_bulkoperation")[0]


def handled(platform: Platform) -> int:
    row = operation(platform)
    return int(row["done_count"] + row["refused_count"])


def kill_its_worker(platform: Platform, job_id: str, *, after: int) -> None:
    """Kill the process that is at it as soon as it has dealt with so many records."""
    eventually(lambda: handled(platform) > after, within=READY_SECONDS, what=f"record {after}")
    worker = platform.job(job_id)["worker"]
    os.kill(int(worker.rsplit(":", 1)[1]), signal.SIGKILL)


def test_an_operation_whose_workers_are_killed_deals_with_every_record_once(platform: Platform) -> None:
    platform.env["LEASE_SECONDS"] = "3"
    platform.hold()
    platform.manage("shell", "-v", "0", "-c", START)
    platform.start("manage.py", "qcluster")
    job_id = str(operation(platform)["job_id"])

    for kill in range(KILLS):
        kill_its_worker(platform, job_id, after=handled(platform) + 20 * (kill + 1))
    eventually(lambda: operation(platform)["status"] != "running", within=READY_SECONDS, what="the end")

    row = operation(platform)
    assert (row["status"], row["done_count"], row["refused_count"]) == ("completed", JOBS, 0)
    assert (row["outcomes"], row["refusals"]) == ({"queued again": JOBS}, {})
    assert platform.wait_for(job_id, "completed", 20)["attempt"] == KILLS + 1
    (audited,) = platform.query(
        "SELECT count(*) AS entries, count(DISTINCT object_id) AS records FROM jobs_auditentry WHERE action = 'retry'"
    )
    assert audited == {"entries": JOBS, "records": JOBS}
    (told,) = platform.query(
        "SELECT count(*) AS events, count(DISTINCT job_id) AS jobs FROM jobs_event WHERE type = 'retried'"
    )
    assert told == {"events": JOBS, "jobs": JOBS}
    assert platform.query("SELECT count(*) AS n FROM jobs_job WHERE status = 'failed'") == [{"n": 0}]
