"""Tenants take turns on a real cluster: one's hundred thousand jobs do not hold up another's ten."""

from __future__ import annotations

import pytest

from tests.faults.conftest import Platform, eventually

pytestmark = pytest.mark.faults

MANY = 100_000
FEW = 10
WITHIN_SECONDS = 5
FILL = """
from jobs.queue.enqueue import NewJob, enqueue_jobs
from jobs.tenancy.services import create_tenant
noisy = create_tenant("noisy")
for _ in range({count} // 1_000):
    enqueue_jobs([
        NewJob(tenant_id=noisy.pk, kind="test.sleep", payload={{"seconds": 0.05}}, priority=100)
        for _ in range(1_000)
    ])
print(create_tenant("quiet").pk)
"""


def test_a_hundred_thousand_jobs_hold_nobody_up(platform: Platform) -> None:
    platform.hold()
    quiet = platform.manage("shell", "-v", "0", "-c", FILL.format(count=MANY)).splitlines()[-1]
    platform.start("manage.py", "qcluster")
    running = "SELECT count(*) AS n FROM jobs_job WHERE status <> 'queued'"
    eventually(lambda: platform.query(running)[0]["n"] > 0, within=30, what="the first job")

    few = {"kind": "test.sleep", "payload": {"seconds": 0.05}, "priority": 0, "tenant_id": quiet}
    ids = platform.enqueue(*[few] * FEW)

    started = "SELECT count(*) AS n FROM jobs_job WHERE started_at IS NOT NULL AND id = ANY(%s::uuid[])"
    eventually(
        lambda: platform.query(started, ids)[0]["n"] == FEW,
        within=WITHIN_SECONDS,
        what="the start of ten jobs",
    )
    waits = platform.query(
        "SELECT extract(epoch FROM started_at - created_at)::float8 AS s FROM jobs_job WHERE id = ANY(%s::uuid[])",
        ids,
    )
    print(f"waited {max(wait['s'] for wait in waits):.2f} s at most")
    assert max(wait["s"] for wait in waits) < WITHIN_SECONDS
