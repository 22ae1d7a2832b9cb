"""How soon those who watch see a line, what they cost, how fast a program may print, and what a session takes up."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import IO
from uuid import UUID

from django.db.models import Model

from attestations.models import ProofSession
from attestations.sessions.starting import start_session
from benchmarks.anvil import configured_chain
from benchmarks.database import empty_tables, query
from benchmarks.jobs import KIND, the_tenant
from benchmarks.processes import ROOT, Process, cluster, web_server
from jobs.models import Event, Job, Workflow
from jobs.programs import run_program
from jobs.queue.claim import Lease, claim_in_house
from jobs.queue.enqueue import enqueue_job
from jobs.queue.finish import finish
from jobs.queue.outcomes import Outcome
from jobs.services.events import record_of_attempt
from jobs.tenancy.services import create_api_key

WATCHERS = 500
FEW = 20  # of a size that both web processes get some
WARM_UP = 20
ROOM = {"STREAMS_PER_KEY": "1000"}
PATIENCE_SECONDS = 300.0
EARLIER = 5
ROW_HEADER_BYTES = 32  # with the bits that say which columns are null
PRINTS = "import sys\nfor number in range(int(sys.argv[1])): print('line', number)"


def measure(*, is_quick: bool) -> dict[str, float]:
    """Watchers of one running job on one web server; a program without a watcher; a session on real clusters."""
    lines = 20 if is_quick else 200
    empty_tables()
    _, key = create_api_key(the_tenant(), name="watchers", scopes=["read"])
    with web_server(settings=ROOM) as (server, port):
        told = _Told(port, key.text, server)
        told.watch(FEW, lines=WARM_UP)  # so that what a process takes up once is not counted
        many = told.watch(WATCHERS, lines=lines)
        one = told.watch(1, lines=lines)
    return {
        "event_delay_p50_ms": median(many.millis),
        "event_delay_p95_ms": quantiles(many.millis, n=20)[-1],
        "event_delay_p50_ms_1_watcher": median(one.millis),
        "event_delay_p95_ms_1_watcher": quantiles(one.millis, n=20)[-1],
        "watcher_kb": many.kb_each,
        "lines_per_s": _lines_per_second(5_000 if is_quick else 50_000),
        "session_kb": _session_kb(),
    }


@dataclass(frozen=True)
class Seen:
    """How long each line took to each watcher, and by how much the web processes grew for each."""

    millis: list[float]
    kb_each: float


@dataclass(frozen=True)
class _Told:
    """A web server, and jobs that are watched there."""

    port: int
    key: str
    server: Process

    def watch(self, count: int, *, lines: int) -> Seen:
        """Have a job say lines, each after a random pause, while so many watch it."""
        with _running_job() as job, self._watchers(count, job) as watchers:
            before = self.server.memory_kb
            print(self.key, file=watchers.stdin, flush=True)
            _expect_ready(watchers.stdout)
            called_at = _say(job, lines)
            grown = self.server.memory_kb - before
            _end(job)
            output, _ = watchers.communicate(timeout=PATIENCE_SECONDS)
        came_at = {int(number): times for number, times in json.loads(output).items()}
        assert all(len(came_at[number]) == count for number in called_at), (
            "a line did not reach everybody, once"
        )
        delays = [(at - called) * 1_000 for number, called in called_at.items() for at in came_at[number]]
        return Seen(delays, grown / count)

    @contextmanager
    def _watchers(self, count: int, job: Job) -> Iterator[subprocess.Popen[str]]:
        path = f"/api/jobs/{job.pk}/events"
        command = [sys.executable, "-m", "benchmarks.watchers", str(self.port), str(count), path]
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()


@contextmanager
def _running_job() -> Iterator[Job]:
    """A job that this process has claimed."""
    job_id = enqueue_job(KIND, tenant_id=the_tenant().pk)
    (row,) = claim_in_house("default", "benchmarks")
    assert row.id == job_id
    yield Job.objects.get(pk=job_id)


def _end(job: Job) -> None:
    assert job.lease_token is not None
    finish([Outcome(lease=Lease(job.pk, job.lease_token), status=Job.Status.COMPLETED, result=None)])


def _expect_ready(stdout: IO[str] | None) -> None:
    assert stdout is not None
    assert stdout.readline() == "ready\n", "the watchers have not got their streams"


def _say(job: Job, lines: int) -> dict[int, float]:
    """Have a job say marked lines; when each was about to be recorded, in seconds since 1970."""
    called_at = {}
    for number in range(lines):
        time.sleep(random.uniform(0.05, 0.15))
        called_at[number] = time.time()
        _record(job, [f"@{number}@"])
    time.sleep(1)  # the end is not what is measured
    return called_at


def _record(job: Job, lines: list[str]) -> None:
    events = [(Event.Type.LOG, {"lines": [line]}) for line in lines]
    assert record_of_attempt(job.pk, job.attempt, events), "the job does not run"


def _lines_per_second(count: int) -> float:
    """A program that prints as fast as it can, until the last line is stored."""
    empty_tables()
    with _running_job() as job, tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        run_program(
            [sys.executable, "-c", PRINTS, str(count)],
            folder=Path(folder),
            seconds=PATIENCE_SECONDS,
            on_lines=lambda lines: _record(job, lines),
            checkpoint=lambda: None,
        )
        seconds = time.perf_counter() - began
        stored = Event.objects.filter(job=job.pk, type=Event.Type.LOG).count()
        _end(job)
    assert stored == count, f"{count} lines were printed, {stored} are stored"
    return count / seconds


def _session_kb() -> float:
    """The rows of a session that is complete, without its log: of plonk, whose proofs are the larger ones."""
    empty_tables()
    with configured_chain() as chain, ExitStack() as stack:
        # What is proved names a tenant's newest workflows and attestations: these fail at once, and leave both.
        for number in range(EARLIER):
            start_session(the_tenant(), f"earlier-{number}", "stark", actor_id="benchmarks")
        session, _ = start_session(the_tenant(), "bench", "plonk", actor_id="benchmarks")
        for queue in ("proof-generation", "proof-publishing"):
            process = stack.enter_context(cluster(queue, workers=1, settings=chain))
        process.wait_until(lambda: _has_ended(session), seconds=PATIENCE_SECONDS)
    session.refresh_from_db()
    assert session.status == ProofSession.Status.COMPLETED, session.error
    sizes = {
        "workflow": _stored_bytes(Workflow, "id = %s", session.pk),
        "jobs": _stored_bytes(Job, "workflow_id = %s", session.pk),
        "events": _stored_bytes(Event, "workflow_id = %s AND type <> 'log'", session.pk),
    }
    print(f"  a session of plonk, in bytes: {sizes}", file=sys.stderr)
    return sum(sizes.values()) / 1_024


def _stored_bytes(model: type[Model], condition: str, key: UUID) -> int:
    """What rows take up as they are stored: a large column compressed, as the database has it."""
    columns = [field.column for field in model._meta.concrete_fields]
    row = " + ".join(f"coalesce(pg_column_size({column}), 0)" for column in columns)
    statement = f"SELECT sum({ROW_HEADER_BYTES} + {row}) FROM {model._meta.db_table} WHERE {condition}"
    return int(query(statement, key)[0])


def _has_ended(session: ProofSession) -> bool:
    session.refresh_from_db()
    return session.status != ProofSession.Status.RUNNING
