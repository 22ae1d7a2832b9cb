"""`manage.py up` and the workers' protocol, with real processes that are killed."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest

from tests.faults.conftest import Platform, children, eventually, is_ready

pytestmark = pytest.mark.faults

LEASE_SECONDS = 15  # the workers of the examples renew theirs every 10


@pytest.fixture
def url(platform: Platform) -> str:
    """The address of a running platform."""
    platform.env["LEASE_SECONDS"] = str(LEASE_SECONDS)
    return platform.start_up()


TRACEPARENT = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"


@pytest.fixture
def client(platform: Platform, url: str) -> Iterator[httpx.Client]:
    """The API as a tenant's program with every scope."""
    platform.manage("create_tenant", "acme")
    key = platform.manage("create_api_key", "acme", "--name", "t", "--scopes", "submit,work,read,manage")
    platform.env["AFFIDAVIT_API_KEY"] = key
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=40) as client:
        yield client


def test_the_clusters_log_line_of_a_job_has_the_requests_trace(
    platform: Platform, client: httpx.Client
) -> None:
    headers = {"traceparent": TRACEPARENT, "X-Actor-Id": "alice", "X-Request-Id": "req-7"}

    answer = client.post("/api/jobs/enqueue", json={"jobName": "system.ping", "payload": {}}, headers=headers)

    job_id = answer.json()["data"]["jobId"]
    (line,) = eventually(
        lambda: [line for line in platform.lines() if line.get("jobId") == job_id],
        within=20,
        what="a log line",
    )
    (tenant,) = platform.query("SELECT id FROM jobs_tenant")
    assert answer.json()["meta"]["traceId"] == line["traceId"] == "ab" * 16
    assert (line["tenantId"], line["actorId"], line["requestId"]) == (str(tenant["id"]), "alice", "req-7")


def test_a_long_poll_is_answered_when_work_comes(client: httpx.Client) -> None:
    body = {"worker_id": "w", "services": ["gpu"], "wait_seconds": 2}
    began = time.monotonic()
    assert client.post("/api/workers/claim", json=body).json() == {"jobs": []}
    assert 1.9 < time.monotonic() - began < 4

    with httpx.Client(base_url=client.base_url, headers=client.headers) as submitter:
        waiting = platform_claims_in_background(client, {**body, "wait_seconds": 20})
        time.sleep(1)
        submitter.post("/api/jobs", json={"service_required": "gpu"})
        submitted = time.monotonic()
        answer, answered = waiting()

    assert len(answer["jobs"]) == 1
    assert answered - submitted < 5  # of the twenty it would wait


def platform_claims_in_background(client: httpx.Client, body: dict[str, Any]) -> Any:
    """Claim in a thread; calling what is returned waits for (answer, when it came)."""
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(1)

    def claim() -> tuple[Any, float]:
        answer = client.post("/api/workers/claim", json=body)
        assert "x-ask-again-topics" not in answer.headers
        return answer.json(), time.monotonic()

    return pool.submit(claim).result


def test_a_killed_art_workers_job_is_finished_by_another(
    platform: Platform, url: str, client: httpx.Client
) -> None:
    worker = ["examples/art_worker.py", "--url", url, "--worker-id"]
    first = platform.start(*worker, "art-1", "--pace", "30")
    payload = {
        "operation": "paint",
        "prompt": "sunset",
        "style": "realistic",
        "seed": 7,
        "width": 128,
        "height": 96,
    }
    made = client.post("/api/jobs", json={"service_required": "artgen", "payload": payload}).json()
    path = f"/api/jobs/{made['id']}"
    eventually(lambda: client.get(path).json()["progress"] > 0, within=30, what="progress")
    (row,) = platform.query("SELECT lease_token FROM jobs_job WHERE id = %s", made["id"])

    first.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    platform.start(*worker, "art-2")

    done = eventually(
        lambda: (job := client.get(path).json())["status"] == "completed" and job,
        within=LEASE_SECONDS + 10,
        what="completion",
    )
    assert time.monotonic() - killed < LEASE_SECONDS + 10
    assert (done["worker"], done["attempt"]) == ("art-2", 2)
    late = {"lease_token": str(row["lease_token"]), "result": "late"}
    refused = client.post(f"{path}/complete", json=late)
    assert (refused.status_code, refused.json()["code"]) == (409, "lease_lost")
    keys = platform.query("SELECT attestation_key, worker_id FROM attestations_attestation ORDER BY id")
    assert [tuple(row.values()) for row in keys] == [
        (f"worker-failure:job-{made['id']}", "art-1"),
        (f"worker-completion:job-{made['id']}:attempt-1", "art-2"),
    ]


def test_what_dies_is_started_again_and_sigterm_ends_all_of_it(platform: Platform, url: str) -> None:
    web = next(p for p in children(platform.up) if "web" in p.cmdline())

    web.kill()

    eventually(lambda: not web.is_running() and is_ready(url), within=30, what="another web server")
    below = children(platform.up)
    postmaster = platform.postmaster
    platform.up.terminate()
    assert platform.up.wait(40) == 0
    assert not any(process.is_running() for process in below)
    assert not psutil.pid_exists(postmaster)


def test_sigterm_ends_it_also_while_the_database_is_frozen(platform: Platform) -> None:
    platform.env["DRAIN_SECONDS"] = "3"
    platform.start_up()
    time.sleep(22)  # past the pardon: it reads the clusters' records now
    server = psutil.Process(platform.postmaster)
    frozen = [server, *server.children()]
    for process in frozen:
        process.suspend()
    time.sleep(4)

    platform.up.terminate()

    try:
        assert platform.up.wait(30) == 0
    finally:
        for process in frozen:
            process.resume()


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux to do it")
def test_a_killed_up_leaves_nothing_behind(platform: Platform, url: str) -> None:
    below = children(platform.up)

    platform.up.kill()

    eventually(lambda: not any(p.is_running() for p in below), within=40, what="the end of every process")
