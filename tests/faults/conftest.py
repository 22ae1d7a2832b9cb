"""A platform of its own for tests that kill: another data folder, another embedded server, real processes."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from psycopg.rows import dict_row

from config import postgres

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 60
ENQUEUE = """
import json
from jobs.queue.enqueue import NewJob, enqueue_jobs
specs = json.loads({specs!r})
print(json.dumps([str(i) for i in enqueue_jobs([NewJob(**({{"tenant_id": None}} | s)) for s in specs])]))
"""


def eventually(found: Callable[[], Any], *, within: float, what: str) -> Any:
    """Call `found` until it answers something true; fails after `within` seconds."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        if answer := found():
            return answer
        time.sleep(0.1)
    pytest.fail(f"{what} did not happen within {within} s")


@pytest.fixture
def is_long(request: pytest.FixtureRequest) -> bool:
    """Whether more is killed, and for longer, than CI has the time for: `make faults`."""
    return bool(request.config.getoption("--long"))


@dataclass
class Platform:
    """The commands of the product, run against one data folder."""

    folder: Path
    env: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.folder / "processes.log"

    def start(self, *command: str, **env: str) -> subprocess.Popen[bytes]:
        """Start a program in a session of its own; its output goes to `log`."""
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env={**self.env, **env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def manage(self, *command: str) -> str:
        """Run a management command to its end and return what it printed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *command], cwd=ROOT, env=self.env, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def start_up(self) -> str:
        """`manage.py up` on a free port; its address, once it is ready."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.up = self.start("manage.py", "up", "--port", str(port))
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: is_ready(url), within=READY_SECONDS, what="readiness")
        return url

    def query(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.database_url, row_factory=dict_row, autocommit=True) as connection:
            return connection.execute(sql, params).fetchall()

    def execute(self, sql: str) -> None:
        """Run a statement that answers nothing."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(sql)

    @property
    def database_url(self) -> str:
        """Where the embedded server is while it runs; asking does not start it."""
        return postgres.EmbeddedServer.at(self.folder).url

    @property
    def postmaster(self) -> int:
        """The process id of the embedded server."""
        noted = postgres.EmbeddedServer.at(self.folder).pgdata / "postmaster.pid"
        return int(noted.read_text().split()[0])

    def enqueue(self, *specs: dict[str, Any]) -> list[str]:
        """Enqueue jobs by NewJob's fields; their ids."""
        script = ENQUEUE.format(specs=json.dumps(specs))
        ids: list[str] = json.loads(self.manage("shell", "-v", "0", "-c", script).splitlines()[-1])
        return ids

    def job(self, job_id: str) -> dict[str, Any]:
        return self.query("SELECT * FROM jobs_job WHERE id = %s", job_id)[0]

    def wait_for(self, job_id: str, status: str, within: float) -> dict[str, Any]:
        """The row of a job once it has this status."""

        def found() -> dict[str, Any] | None:
            row = self.job(job_id)
            return row if row["status"] == status else None

        row: dict[str, Any] = eventually(found, within=within, what=f"{status} of a job")
        return row

    def lines(self) -> list[dict[str, Any]]:
        """The JSON lines of every process so far."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def hold(self) -> None:
        """Keep the embedded server up for this test, also when no other process uses it."""
        postgres.database_url(self.folder)

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                pass
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        postgres.release(self.folder)


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def children(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Every process below this one."""
    return psutil.Process(process.pid).children(recursive=True)


def open_to_all(folder: Path) -> None:
    """As root the embedded server runs under an account of its own, which must reach its folder."""
    for parent in (folder, *folder.parents):
        if not (mode := parent.stat().st_mode) & 0o001:
            parent.chmod(mode | 0o055)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose database has its tables, made once for all processes of the test run."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder = shared / "migrated"
    with (shared / "migrated.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            make_migrated(shared / "migrated.new").rename(folder)
    return folder


def make_migrated(folder: Path) -> Path:
    """Make a data folder whose database has its tables, and runs no more."""
    folder.mkdir()
    open_to_all(folder)
    platform = Platform(folder, own_env(folder))
    platform.hold()
    platform.manage("migrate", "-v", "0")
    platform.stop()
    assert (folder / "postgres").is_dir(), "the database is not in the folder that is copied"
    return folder


def own_env(folder: Path) -> dict[str, str]:
    """The environment of a platform's processes."""
    keep = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    own = {
        "AFFIDAVIT_DATA_DIR": str(folder),
        "EXTRA_APPS": "tests.faults.kinds",
        "PYTHONPATH": str(ROOT),
        "LOCAL_CHAIN": "false",  # who wants one says so: it takes seconds to start
    }
    keep.pop("PYTEST_VERSION", None)
    return {**keep, **own}


@pytest.fixture
def platform(tmp_path: Path, migrated: Path) -> Iterator[Platform]:
    """A platform of which nothing runs yet; its database has its tables."""
    open_to_all(tmp_path)
    folder = tmp_path / "var"
    subprocess.run(["cp", "-a", migrated, folder], check=True)  # -a: the database keeps its owner
    platform = Platform(folder, own_env(folder))
    yield platform
    platform.stop()
