"""What docs/streaming.md shows works as it stands there: every example is taken from the page and run."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import pytest
from django.conf import settings

from jobs.models import Event, Job, Tenant
from jobs.queue.claim import Lease
from jobs.queue.enqueue import enqueue_job
from jobs.queue.finish import finish
from jobs.queue.handlers import unregister
from jobs.queue.outcomes import Outcome
from jobs.services.events import record_event
from jobs.testing import RunJobs
from tests.factories import make_job, make_key
from tests.jobs.streams.test_web_process import Web
from tests.pages import code_in

PAGE = "streaming.md"
PATIENCE_SECONDS = 120
WATCH_SESSION, MAKE_TOKEN, RUN_PROGRAMS = code_in(PAGE, "sh")
HANDLER, WATCH = code_in(PAGE, "python")

Run = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def web(transactional_db: None) -> Iterator[Web]:
    """A web process over the test's database."""
    server = Web()
    yield server
    server.stop()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Start a program in a folder of its own, with what users have set: URL, KEY."""
    started: list[subprocess.Popen[str]] = []

    def start(*command: str, **env: str) -> subprocess.Popen[str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        whole = {**os.environ, "PATH": path, "PYTHONPATH": str(settings.BASE_DIR), **env}
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
        started.append(subprocess.Popen(command, cwd=tmp_path, env=whole, text=True, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def address_of(web: Web) -> str:
    return f"http://127.0.0.1:{web.port}"


def events_in(said: str) -> list[tuple[str, str, Any]]:
    """Id, name and data of the events that curl has printed."""
    blocks = [dict(line.split(": ", 1) for line in block.splitlines()) for block in said.split("\n\n")]
    found = [block for block in blocks if "data" in block]
    return [(block.get("id", ""), block["event"], json.loads(block["data"])) for block in found]


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What a program prints up to a line with this in it; fails where it ends without."""
    said = ""
    with killed_when_late(process) as stdout:
        while text not in said:
            line = stdout.readline()
            assert line, f"it has ended without {text!r}, and said {said!r}"
            said += line
    return said


def read_rest(process: subprocess.Popen[str]) -> str:
    """What a program prints until it ends; fails where it does not end well."""
    with killed_when_late(process) as stdout:
        said = stdout.read()
        assert process.wait() == 0
    return said


@contextlib.contextmanager
def killed_when_late(process: subprocess.Popen[str]) -> Iterator[IO[str]]:
    """The output of a program, which ends at the latest when patience does."""
    assert process.stdout
    killer = threading.Timer(PATIENCE_SECONDS, process.kill)
    killer.start()
    yield process.stdout
    killer.cancel()


def test_curl_watches_a_session_from_its_start_to_its_end(
    no_chain: None, for_children: None, web: Web, tenant: Tenant, run: Run, run_jobs: RunJobs
) -> None:
    key = make_key(tenant, "submit")[1]

    curl = run("sh", "-ec", WATCH_SESSION, URL=address_of(web), KEY=key)
    said = read_until(curl, "Waiting for a worker")
    run_jobs()
    said += read_rest(curl)

    shown = events_in(code_in(PAGE, "")[0])
    seen = events_in(said)
    assert said.startswith("retry: 3000\n\n")
    assert seen[:2] == shown[:2]
    assert (seen[2][:2], set(seen[2][2])) == (shown[2][:2], set(shown[2][2]))
    assert [id_ for id_, _, _ in seen] == [str(place) for place in range(1, len(seen) + 1)]
    assert (seen[-1][1], seen[-1][2]["attestationResults"]) == (
        "complete",
        {"skipped": "no chain configured"},
    )


def make_running(tenant: Tenant) -> Job:
    return make_job(tenant, status=Job.Status.RUNNING)


def tell(job: Job, line: str) -> None:
    record_event(job, Event.Type.LOG, {"lines": [line]})


def complete(job: Job) -> None:
    assert job.lease_token
    finish([Outcome(lease=Lease(job.pk, job.lease_token), status=Job.Status.COMPLETED, result=1)])


def test_the_python_example_goes_on_when_it_was_cut_off(
    web: Web, tenant: Tenant, run: Run, tmp_path: Path
) -> None:
    job = make_running(tenant)
    (tmp_path / "watch.py").write_text(WATCH)
    address = f"{address_of(web)}/api/jobs/{job.pk}/events"
    tell(job, "one")
    watching = run("python", "watch.py", address, AFFIDAVIT_API_KEY=make_key(tenant, "read")[1])
    said = read_until(watching, "one")

    web.stop()
    tell(job, "two")
    web.start()
    said += read_until(watching, "two")
    tell(job, "three")
    complete(job)
    said += read_rest(watching)

    seen = [line.split(" ", 1) for line in said.splitlines()]
    lines = [json.loads(data)["lines"] for name, data in seen if name == "log"]
    assert lines == [["one"], ["two"], ["three"]]
    assert [json.loads(data) for name, data in seen if name == "end"] == [{"status": "completed"}]


def test_a_token_is_made_as_shown_and_opens_streams(web: Web, tenant: Tenant, run: Run) -> None:
    job = make_running(tenant)
    complete(job)

    key = make_key(tenant, "read")[1]
    made = read_rest(run("sh", "-ec", MAKE_TOKEN, URL=address_of(web), KEY=key))
    token = json.loads(made)["token"]
    stream = read_rest(run("curl", "-sN", f"{address_of(web)}/api/jobs/{job.pk}/events?token={token}"))

    assert [name for _, name, _ in events_in(stream)] == ["job", "end"]


def test_a_handler_tells_of_itself_as_shown(tenant: Tenant, run_jobs: RunJobs) -> None:
    module = ModuleType("shown")
    sys.modules["shown"] = module  # dataclasses look there for what annotations name
    exec(compile(HANDLER, PAGE, "exec"), module.__dict__)
    try:
        enqueue_job("reports.render", {"pages": 2}, tenant_id=tenant.pk)
        (job,) = run_jobs()
    finally:
        unregister("reports.render")
        del sys.modules["shown"]

    assert (job.status, job.result, job.progress) == ("completed", {"pages": 2}, 100)
    told = Event.objects.filter(job=job).values_list("type", "data")
    assert list(told) == [
        ("log", {"lines": ["page 1 is rendered"]}),
        ("progress", {"progress": 50, "message": "page 1 of 2"}),
        ("log", {"lines": ["page 2 is rendered"]}),
        ("progress", {"progress": 100, "message": "page 2 of 2"}),
    ]


def test_the_programs_run_by_hand(no_chain: None, for_children: None, run: Run, tmp_path: Path) -> None:
    said = read_rest(run("sh", "-ec", RUN_PROGRAMS))

    written = {
        name: json.loads((tmp_path / f"{name}.json").read_text())
        for name in ("proofs", "verification", "attestation")
    }
    assert [proof["name"] for proof in written["proofs"]["proofs"]] == ["request"]
    assert written["verification"]["verified"] is True
    assert written["attestation"] == {"skipped": "no chain configured"}
    assert "proof 1 of 1: request, made in" in said


def test_the_page_names_every_event_type() -> None:
    text = (settings.BASE_DIR / "docs" / PAGE).read_text()

    assert [name for name in Event.Type.values if f"`{name}`" not in text] == []
