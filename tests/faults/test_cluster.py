"""A real cluster under fire: killed, hung, stopped."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import psutil
import pytest

from tests.faults.conftest import READY_SECONDS, Platform, children, eventually

pytestmark = pytest.mark.faults


@pytest.fixture
def cluster(platform: Platform) -> Any:
    """A cluster with short leases."""
    platform.env["LEASE_SECONDS"] = "3"
    platform.hold()
    return platform.start("manage.py", "qcluster")


def test_a_killed_workers_job_runs_again(platform: Platform, cluster: Any) -> None:
    (job_id,) = platform.enqueue({"kind": "test.sleep", "payload": {"seconds": 2}})
    first = platform.wait_for(job_id, "running", READY_SECONDS)
    pid = int(first["worker"].rsplit(":", 1)[1])

    os.kill(pid, signal.SIGKILL)

    last = platform.wait_for(job_id, "completed", 30)
    assert (last["attempt"], last["batch_size"]) == (2, 1)
    keys = platform.query("SELECT attestation_key FROM attestations_attestation ORDER BY id")
    assert [row["attestation_key"] for row in keys] == [
        f"worker-failure:job-{job_id}",
        f"worker-completion:job-{job_id}:attempt-1",
    ]


def test_a_worker_that_is_told_to_end_finishes_its_job_and_is_replaced(
    platform: Platform, cluster: Any
) -> None:
    (job_id,) = platform.enqueue({"kind": "test.sleep", "payload": {"seconds": 2}})
    worker = psutil.Process(
        int(platform.wait_for(job_id, "running", READY_SECONDS)["worker"].rsplit(":", 1)[1])
    )

    worker.terminate()

    assert platform.wait_for(job_id, "completed", 20)["attempt"] == 1
    eventually(lambda: not worker.is_running(), within=30, what="the worker's end")
    after = platform.enqueue(*[{"kind": "test.sleep", "payload": {"seconds": 0.2}}] * 10)
    for job_id in after:
        platform.wait_for(job_id, "completed", 20)
    assert len(psutil.Process(cluster.pid).children()[0].children()) == 4


@pytest.mark.parametrize("seconds", [0, 3])
def test_a_cluster_whose_sentinel_dies_ends(platform: Platform, cluster: Any, seconds: int) -> None:
    (job_id,) = platform.enqueue({"kind": "test.sleep", "payload": {"seconds": seconds}})
    platform.wait_for(job_id, "running" if seconds else "completed", READY_SECONDS)
    below = children(cluster)

    psutil.Process(cluster.pid).children()[0].kill()

    eventually(lambda: not any(p.is_running() for p in below), within=20, what="the end of every process")
    assert platform.job(job_id)["status"] == "completed"


def test_a_job_that_kills_its_process_takes_no_neighbour_with_it(platform: Platform, cluster: Any) -> None:
    specs = [{"kind": "test.die", "payload": {"seconds": int(n == 0)}} for n in range(10)]
    killer, *neighbours = platform.enqueue(*specs)

    last = platform.wait_for(killer, "failed", 60)

    assert (last["attempt"], last["error"]["code"]) == (3, "poison")
    for neighbour in neighbours:
        assert platform.wait_for(neighbour, "completed", 20)["attempt"] <= 2


def test_a_handler_stuck_in_c_code_is_ended(platform: Platform, cluster: Any) -> None:
    stuck, after = platform.enqueue(
        {"kind": "test.hang", "payload": {"seconds": 0}},
        {"kind": "test.sleep", "payload": {"seconds": 0}},
    )

    assert platform.wait_for(stuck, "failed", 30)["error"]["code"] == "timed_out"
    assert platform.wait_for(after, "completed", 30)


def test_a_light_job_that_gets_stuck_holds_its_neighbours_up_no_longer_than_its_timeout(
    platform: Platform, cluster: Any
) -> None:
    specs = [
        {"kind": "test.hang_in_batch", "payload": {"seconds": int(n == 0)}, "max_attempts": 2}
        for n in range(15)
    ]
    stuck, *neighbours = platform.enqueue(*specs)

    assert platform.wait_for(stuck, "failed", 60)["error"]["code"] == "timed_out"
    for neighbour in neighbours:
        assert platform.wait_for(neighbour, "completed", 15)


def test_sigterm_lets_what_runs_finish_and_takes_up_no_more(platform: Platform, cluster: Any) -> None:
    specs = [{"kind": "test.sleep", "payload": {"seconds": 2}} for _ in range(12)]
    ids = platform.enqueue(*specs)
    platform.wait_for(ids[0], "running", READY_SECONDS)
    below = children(cluster)

    cluster.terminate()
    began = time.monotonic()
    cluster.wait(20)

    assert time.monotonic() - began < 12
    statuses = [platform.job(job_id)["status"] for job_id in ids]
    assert statuses.count("running") == 0
    assert statuses.count("completed") >= 2
    assert statuses.count("queued") >= 4
    assert not any(process.is_running() for process in below)
