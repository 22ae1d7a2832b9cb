"""A thousand jobs while processes, or the database, are killed all the time: everything ends, and once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest

from tests.faults.books import check_books, count_ended
from tests.faults.conftest import Platform, children, eventually

pytestmark = pytest.mark.faults

JOBS = 1_000
WORKFLOWS = 50  # of two steps each
ENDS_WITHIN_SECONDS = 420
WORKERS = 2
# A kill must not use the attempts up; the jobs that have the usual three show that poison is final, too.
MANY = {"max_attempts": 1_000, "retry": {"delay_seconds": 0.1}}
START_WORKFLOWS = """
from jobs.models import Tenant
from jobs.services.workflows import Step, start_workflow
tenant = Tenant.objects.get()
options = {{"max_attempts": 1_000}}
steps = [
    Step(name="gpu", service_required="count-words", payload={{"text": "a"}}, options=options),
    Step(name="cpu", kind="test.sleep", payload={{"seconds": 0.01}}, options=options),
]
for n in range({count}):
    start_workflow(tenant, workflow_id=f"storm-{{n}}", steps=steps, actor_id="storm", data={{}})
"""


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # shown when the test fails
    return random.Random(seed)


@pytest.fixture
def client(platform: Platform) -> Iterator[httpx.Client]:
    """The API of a running platform, as a tenant's program."""
    platform.env |= {"LEASE_SECONDS": "3", "DRAIN_SECONDS": "3"}
    url = platform.start_up()
    platform.manage("create_tenant", "acme")
    key = platform.manage("create_api_key", "acme", "--name", "t", "--scopes", "submit,work,read,manage")
    platform.env |= {"AFFIDAVIT_API_KEY": key, "AFFIDAVIT_URL": url}
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
        yield client


def enqueue_work(platform: Platform, tenant_id: str, count: int) -> None:
    """`count` jobs: light, slow and remote ones, some with three attempts alone, some in workflows."""
    platform.manage("shell", "-v", "0", "-c", START_WORKFLOWS.format(count=WORKFLOWS))
    kinds: list[dict[str, Any]] = [
        {"kind": "test.sleep", "payload": {"seconds": 0.05}, **MANY},
        {"kind": "test.die", "payload": {"seconds": 0}, **MANY},  # light, and of no effect so
        {"kind": "test.sleep", "payload": {"seconds": 0.05}},
        {"service_required": "count-words", "payload": {"text": "a"}, "tenant_id": tenant_id, **MANY},
    ]
    platform.enqueue(*(kinds[n % len(kinds)] for n in range(count - 2 * WORKFLOWS)))


class RemoteWorkers:
    """Workers that somebody starts again whenever they die."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.popens: list[subprocess.Popen[bytes]] = []

    def keep_up(self) -> None:
        self.popens = [popen for popen in self.popens if popen.poll() is None]
        while len(self.popens) < WORKERS:
            self.popens.append(self._platform.start("examples/worker.py"))


def test_a_kill_every_second_loses_and_doubles_nothing(
    platform: Platform, client: httpx.Client, rng: random.Random
) -> None:
    (tenant,) = platform.query("SELECT id::text FROM jobs_tenant")
    enqueue_work(platform, tenant["id"], JOBS)
    workers = RemoteWorkers(platform)
    killed: list[str] = []
    began = time.monotonic()

    while count_ended(platform) < JOBS:
        assert time.monotonic() - began < ENDS_WITHIN_SECONDS, platform.query(
            "SELECT status, kind, service_required, count(*) FROM jobs_job GROUP BY 1, 2, 3"
        )
        workers.keep_up()
        time.sleep(1)
        victims = cluster_processes(platform) + [psutil.Process(popen.pid) for popen in workers.popens]
        victim = rng.choice(victims)
        killed.append(" ".join(victim.cmdline()[-2:]))
        victim.kill()

    print(f"{len(killed)} killed in {time.monotonic() - began:.0f} s")
    assert len(killed) >= 10
    check_books(platform, jobs=JOBS)


def cluster_processes(platform: Platform) -> list[psutil.Process]:
    """Every process of the platform's clusters."""
    found = []
    for process in children(platform.up):
        try:
            if "qcluster" in process.cmdline():
                found.append(process)
        except psutil.NoSuchProcess:
            pass  # it has just ended
    return found


def test_postgresql_stopped_at_once_over_and_over_loses_nothing(
    platform: Platform, client: httpx.Client, rng: random.Random, is_long: bool
) -> None:
    """`immediate` is a crash: nothing is flushed, every connection breaks, and recovery replays the log."""
    (tenant,) = platform.query("SELECT id::text FROM jobs_tenant")
    enqueue_work(platform, tenant["id"], JOBS)
    workers = RemoteWorkers(platform)
    accepted: list[str] = []

    for _ in range(10 if is_long else 5):
        workers.keep_up()
        until = time.monotonic() + rng.uniform(0.5, 3)
        while time.monotonic() < until:
            accepted.append(submit(client))
        stop_at_once(platform)
        accepted.append(submit(client))  # comes back when the database has

    total = JOBS + len(accepted)
    began = time.monotonic()
    eventually(lambda: count_ended(platform) == total, within=ENDS_WITHIN_SECONDS, what="the end of all jobs")
    print(f"{len(accepted)} accepted meanwhile; all ended after {time.monotonic() - began:.0f} s more")
    check_books(platform, jobs=total)
    stored = platform.query("SELECT count(*) AS n FROM jobs_job WHERE id = ANY(%s::uuid[])", accepted)
    assert stored[0]["n"] == len(set(accepted)) == len(accepted)


def submit(client: httpx.Client) -> str:
    """Submit a job as a careful client does, again and again under one key until it is accepted; its id."""
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    body = {"kind": "system.ping", "max_attempts": 1_000}
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            answer = client.post("/api/jobs", json=body, headers=headers)
        except httpx.TransportError:
            time.sleep(0.1)
            continue
        assert answer.status_code in (201, 409, 503), answer.text
        if answer.status_code == 201:
            return str(answer.json()["id"])
        time.sleep(0.1)
    pytest.fail("a job was not accepted for a minute")


def stop_at_once(platform: Platform) -> None:
    """What `pg_ctl stop -m immediate` does."""
    pid = platform.postmaster
    os.kill(pid, signal.SIGQUIT)
    eventually(lambda: not psutil.pid_exists(pid), within=20, what="the end of PostgreSQL")
