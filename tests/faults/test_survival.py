"""Whichever process of a cluster is killed, `manage.py up` has it running again, and no job is lost."""

from __future__ import annotations

import signal
import time

import psutil
import pytest

from tests.faults.conftest import Platform, children, eventually

pytestmark = pytest.mark.faults

WITHIN_SECONDS = 90
WORKERS = 2


def find_cluster(platform: Platform) -> dict[str, psutil.Process]:
    """The processes of the running cluster of the default queue, by what they do."""
    main = next(p for p in children(platform.up) if "qcluster" in p.cmdline() and p.ppid() == platform.up.pid)
    (sentinel,) = main.children()
    # As django-q2's sentinel forks them.
    *workers, monitor, pusher = sorted(sentinel.children(), key=lambda p: (p.create_time(), p.pid))
    assert len(workers) == WORKERS
    return {"main": main, "sentinel": sentinel, "worker": workers[0], "monitor": monitor, "pusher": pusher}


@pytest.fixture
def up(platform: Platform) -> Platform:
    """A platform whose cluster has run a job."""
    platform.env |= {"LEASE_SECONDS": "3", "DRAIN_SECONDS": "5"}
    platform.start_up()
    (job_id,) = platform.enqueue({"kind": "test.sleep", "payload": {"seconds": 0}})
    platform.wait_for(job_id, "completed", 30)
    return platform


@pytest.mark.parametrize("role", ["main", "sentinel", "pusher", "monitor"])
def test_a_killed_process_costs_90_seconds_at_most(up: Platform, role: str) -> None:
    find_cluster(up)[role].kill()
    began = time.monotonic()

    (job_id,) = up.enqueue({"kind": "test.sleep", "payload": {"seconds": 0}})

    up.wait_for(job_id, "completed", WITHIN_SECONDS)
    eventually(lambda: is_healthy(up), within=WITHIN_SECONDS - (time.monotonic() - began), what="health")


def test_a_cluster_whose_idle_workers_are_killed_is_not_left_wedged(up: Platform) -> None:
    """One of them waits at the pipe with its lock in hand; django-q2 alone would never run anything again."""
    sentinel = find_cluster(up)["sentinel"]
    workers = sorted(sentinel.children(), key=lambda p: (p.create_time(), p.pid))[:WORKERS]
    for worker in workers:
        worker.kill()

    (job_id,) = up.enqueue({"kind": "test.sleep", "payload": {"seconds": 0}})

    up.wait_for(job_id, "completed", WITHIN_SECONDS)
    assert any("stuck" in line["msg"] for line in up.lines())


def test_a_stopped_cluster_is_noticed_and_replaced(up: Platform) -> None:
    for process in find_cluster(up).values():
        process.send_signal(signal.SIGSTOP)

    (job_id,) = up.enqueue({"kind": "test.sleep", "payload": {"seconds": 0}})

    up.wait_for(job_id, "completed", WITHIN_SECONDS)


def test_a_host_that_was_frozen_goes_on_as_it_was(up: Platform) -> None:
    time.sleep(22)  # past the pardon that `up` gives at its start
    everything = [psutil.Process(up.up.pid), *children(up.up)]

    for process in everything:
        process.suspend()
    time.sleep(17)
    for process in everything:
        process.resume()

    time.sleep(5)
    assert all(process.is_running() for process in everything)
    assert not any("stuck" in line["msg"] for line in up.lines())


def test_a_cluster_busy_with_long_work_is_not_taken_for_stuck(up: Platform) -> None:
    ids = up.enqueue(*[{"kind": "test.sleep", "payload": {"seconds": 25}}] * WORKERS)

    for job_id in ids:
        assert up.wait_for(job_id, "completed", 60)["attempt"] == 1
    assert is_healthy(up)
    assert not any("stuck" in line["msg"] for line in up.lines())


def is_healthy(platform: Platform) -> bool:
    """What `manage.py cluster_health` says."""
    process = platform.start("manage.py", "cluster_health", "--queue", "default")
    return process.wait(30) == 0
