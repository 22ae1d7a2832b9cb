"""The worker that users copy, as a program: against the real API, and against a server that misbehaves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from pytest_django.live_server_helper import LiveServer

from jobs.models import Job, Tenant
from jobs.queue.enqueue import NewJob, add_job
from jobs.services.jobs import cancel_job
from tests.examples.test_art_worker import KEY, FakePlatform, problem, serving
from tests.factories import make_key

ROOT = Path(__file__).parents[2]
WORKER = ROOT / "examples" / "worker.py"
# As `python worker.py`, but that a test need not wait ten seconds for a heartbeat.
PROGRAM = "import worker; worker.HEARTBEAT_SECONDS = 0.2; worker.main()"

Start = Callable[[str, str], "subprocess.Popen[str]"]


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    """Start the worker against a platform: `start(url, key)`."""
    started: list[subprocess.Popen[str]] = []

    def run(url: str, key: str) -> subprocess.Popen[str]:
        env = {**os.environ, "AFFIDAVIT_URL": url, "AFFIDAVIT_API_KEY": key, "NO_PROXY": "127.0.0.1"}
        env |= {"PYTHONPATH": str(WORKER.parent)}
        command = [sys.executable, "-c", PROGRAM]
        started.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()
    if "live_server" in request.fixturenames:
        wait_until_idle()


def wait_until_idle() -> None:
    """Let the server end what a killed worker asked last: emptying the tables would deadlock with it."""
    others = "state <> 'idle' AND datname = current_database() AND pid <> pg_backend_pid()"
    with connection.cursor() as cursor:
        for _ in range(200):
            cursor.execute(f"SELECT FROM pg_stat_activity WHERE backend_type = 'client backend' AND {others}")
            if not cursor.fetchall():
                return
            time.sleep(0.02)


def said(process: subprocess.Popen[str], *, until: str = "") -> str:
    """End the worker, once it has printed a line with `until` in it; everything it printed."""
    assert process.stdout
    heard = ""
    killer = threading.Timer(20, process.kill)  # whatever it fails to say, it ends
    killer.start()
    while until not in heard and (line := process.stdout.readline()):
        heard += line
    killer.cancel()
    process.terminate()
    return heard + process.communicate(timeout=20)[0]


def submit(tenant: Tenant, **payload: Any) -> Job:
    return add_job(NewJob(tenant_id=tenant.pk, service_required="count-words", payload=payload))


def wait_for(job: Job, *statuses: str) -> Job:
    """The job, once it has one of these statuses and has begun."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        job.refresh_from_db()
        if job.attempt and job.status in statuses:
            return job
        time.sleep(0.05)
    pytest.fail(f"the job is {job.status}, not {statuses}")


def test_a_job_is_done_and_completed(
    live_server: LiveServer, transactional_db: None, tenant: Tenant, start: Start
) -> None:
    job = submit(tenant, text="all that glisters", seconds=1)

    start(live_server.url, make_key(tenant, "work")[1])

    done = wait_for(job, "completed", "failed")
    assert (done.status, done.result, done.attempt) == ("completed", {"words": 3}, 1)


def test_a_job_that_raises_is_failed_to_be_tried_again_and_the_worker_goes_on(
    live_server: LiveServer, transactional_db: None, tenant: Tenant, start: Start
) -> None:
    bad, good = submit(tenant), submit(tenant, text="to be")

    process = start(live_server.url, make_key(tenant, "work")[1])

    wait_for(good, "completed")
    retried = wait_for(bad, "queued", "failed")
    assert (retried.status, retried.attempt) == ("queued", 1)
    assert retried.error == {"code": "KeyError", "message": "'text'"}
    assert process.poll() is None


def test_a_cancelled_job_is_stopped_in_mid_work(
    live_server: LiveServer, transactional_db: None, tenant: Tenant, start: Start
) -> None:
    job = submit(tenant, text="to be", seconds=3600)
    process = start(live_server.url, make_key(tenant, "work")[1])
    wait_for(job, "running")

    cancel_job(job, by="a test")

    wait_for(job, "cancelled")
    assert said(process, until="cancelled") == f"{job.pk} cancelled\n"


def test_a_lost_lease_stops_the_work_and_the_next_job_is_done(start: Start) -> None:
    platform = FakePlatform()
    platform.answers["heartbeat"] = platform.answers["fail"] = [problem(409, "lease_lost")] * 2
    platform.add({"text": "to be", "seconds": 3600})
    platform.add({"text": "or not to be"})
    with serving(platform):
        process = start(platform.url, KEY)

        completed = platform.wait_for("complete")

        assert completed == {"lease_token": "token", "result": {"words": 4}}
        assert "job-0 dropped" in said(process)


def test_it_asks_again_when_the_platform_is_busy_and_waits_as_long_as_told(start: Start) -> None:
    platform = FakePlatform()
    platform.answers["claim"] = [problem(429, "throttled", Retry_After="1")]
    platform.answers["complete"] = [problem(503, "database_unavailable", Retry_After="0")]
    platform.add({"text": "to be"})
    with serving(platform):
        process = start(platform.url, KEY)
        platform.wait_for("claim")
        began = time.monotonic()

        platform.wait_for("complete", 2)

        assert time.monotonic() - began >= 1
        assert process.poll() is None
        assert not platform.told("fail")


def test_it_waits_for_a_platform_that_is_not_there(start: Start) -> None:
    process = start("http://127.0.0.1:9", KEY)
    assert process.stdout is not None

    line = process.stdout.readline()

    assert line.startswith("no answer, asking again: ")
    assert process.poll() is None


def test_what_the_platform_refuses_for_good_fails_the_job(start: Start) -> None:
    platform = FakePlatform()
    platform.answers["complete"] = [problem(413, "body_too_large")]
    platform.add({"text": "to be"})
    with serving(platform):
        start(platform.url, KEY)

        failed = platform.wait_for("fail")

    assert (failed["error"]["code"], failed["retryable"]) == ("HTTPError", True)


def test_the_documentation_shows_this_very_program() -> None:
    page = (ROOT / "docs" / "workers.md").read_text()

    assert re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0] == WORKER.read_text()
