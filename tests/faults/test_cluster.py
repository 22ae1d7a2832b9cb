"""A real cluster under fire: killed, hung, stopped."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import pytest

from tests.faults.conftest import Platform, children, eventually

pytestmark = pytest.mark.faults

CLUSTER = "tests/faults/cluster_with_test_kinds.py"
ENQUEUE = """
import json, sys
sys.path.insert(0, ".")
import tests.faults.cluster_with_test_kinds
from jobs.queue.enqueue import NewJob, enqueue_jobs
specs = json.loads({specs!r})
print(json.dumps([str(i) for i in enqueue_jobs([NewJob(tenant_id=None, **s) for s in specs])]))
"""


@pytest.fixture
def cluster(platform: Platform) -> Any:
    """A cluster with short leases on a migrated database."""
    platform.env["LEASE_SECONDS"] = "3"
    platform.hold()
    platform.manage("migrate", "-v", "0")
    return platform.start(CLUSTER)


def enqueue(platform: Platform, *specs: dict[str, Any]) -> list[str]:
    script = ENQUEUE.format(specs=json.dumps(specs))
    ids: list[str] = json.loads(platform.manage("shell", "-v", "0", "-c", script).splitlines()[-1])
    return ids


def job(platform: Platform, job_id: str) -> dict[str, Any]:
    return platform.query("SELECT * FROM jobs_job WHERE id = %s", job_id)[0]


def wait_for(platform: Platform, job_id: str, status: str, within: float) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        row = job(platform, job_id)
        return row if row["status"] == status else None

    row: dict[str, Any] = eventually(found, within=within, what=f"{status} of a job")
    return row


def test_a_killed_workers_job_runs_again(platform: Platform, cluster: Any) -> None:
    (job_id,) = enqueue(platform, {"kind": "test.sleep", "payload": {"seconds": 2}})
    first = wait_for(platform, job_id, "running", 20)
    pid = int(first["worker"].rsplit(":", 1)[1])

    os.kill(pid, signal.SIGKILL)

    last = wait_for(platform, job_id, "completed", 15)
    assert (last["attempt"], last["batch_size"]) == (2, 1)
    keys = platform.query("SELECT attestation_key FROM attestations_attestation ORDER BY id")
    assert [row["attestation_key"] for row in keys] == [
        f"worker-failure:job-{job_id}",
        f"worker-completion:job-{job_id}:attempt-1",
    ]


def test_a_job_that_kills_its_process_takes_no_neighbour_with_it(platform: Platform, cluster: Any) -> None:
    specs = [{"kind": "test.die", "payload": {"seconds": int(n == 0)}} for n in range(10)]
    killer, *neighbours = enqueue(platform, *specs)

    last = wait_for(platform, killer, "failed", 60)

    assert (last["attempt"], last["error"]["code"]) == (3, "poison")
    for neighbour in neighbours:
        assert wait_for(platform, neighbour, "completed", 20)["attempt"] <= 2


def test_a_handler_stuck_in_c_code_is_ended(platform: Platform, cluster: Any) -> None:
    stuck, after = enqueue(
        platform,
        {"kind": "test.hang", "payload": {"seconds": 0}},
        {"kind": "test.sleep", "payload": {"seconds": 0}},
    )

    assert wait_for(platform, stuck, "failed", 30)["error"]["code"] == "timed_out"
    assert wait_for(platform, after, "completed", 10)


def test_a_light_job_that_gets_stuck_holds_its_neighbours_up_no_longer_than_its_timeout(
    platform: Platform, cluster: Any
) -> None:
    specs = [
        {"kind": "test.hang_in_batch", "payload": {"seconds": int(n == 0)}, "max_attempts": 2}
        for n in range(15)
    ]
    stuck, *neighbours = enqueue(platform, *specs)

    assert wait_for(platform, stuck, "failed", 60)["error"]["code"] == "timed_out"
    for neighbour in neighbours:
        assert wait_for(platform, neighbour, "completed", 5)


def test_sigterm_lets_what_runs_finish_and_takes_up_no_more(platform: Platform, cluster: Any) -> None:
    specs = [{"kind": "test.sleep", "payload": {"seconds": 2}} for _ in range(12)]
    ids = enqueue(platform, *specs)
    wait_for(platform, ids[0], "running", 20)
    below = children(cluster)

    cluster.terminate()
    began = time.monotonic()
    cluster.wait(20)

    assert time.monotonic() - began < 12
    statuses = [job(platform, job_id)["status"] for job_id in ids]
    assert statuses.count("running") == 0
    assert statuses.count("completed") >= 2
    assert statuses.count("queued") >= 4
    assert not any(process.is_running() for process in below)
