"""A platform of its own for tests that kill: another data folder, another embedded server, real processes."""

from __future__ import annotations

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
        if "url" not in self.__dict__:
            script = "from django.conf import settings; print(settings.DATABASE_URL)"
            self.__dict__["url"] = self.manage("shell", "-v", "0", "-c", script).splitlines()[-1]
        return str(self.__dict__["url"])

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
        self.__dict__["url"] = postgres.database_url(self.folder)

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


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    folder = tmp_path / "var"
    # As root the embedded server runs under an account of its own, which must reach its folder.
    for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        parent.chmod(0o755)
    folder.mkdir()
    keep = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    own = {
        "AFFIDAVIT_DATA_DIR": str(folder),
        "EXTRA_APPS": "tests.faults.kinds",
        "PYTHONPATH": str(ROOT),
        "LOCAL_CHAIN": "false",  # who wants one says so: it takes seconds to start
    }
    platform = Platform(folder, {**keep, **own})
    platform.env.pop("PYTEST_VERSION", None)
    yield platform
    platform.stop()
