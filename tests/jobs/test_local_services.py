"""What `manage.py up` does with a program of this machine: none of its troubles is the end of the platform."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from http.client import IncompleteRead
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from jobs.local_services import LocalService, NotServing
from jobs.management.commands import up
from jobs.management.commands.up import Command, Process


@pytest.fixture
def command() -> Command:
    command = Command()
    command.is_stopping = False
    command.changes = SimpleQueue()
    return command


@pytest.fixture
def process() -> Iterator[Process]:
    process = Process("program", ["600"], program=["sleep"])
    process.start()
    yield process
    process.kill_what_is_left()


def make_service(**fields: Any) -> LocalService:
    return LocalService(
        **{"name": "program", "command": [], "is_ready": lambda: True, "prepare": dict, **fields}
    )


def failing(problem: Exception) -> Any:
    def fail() -> None:
        raise problem

    return fail


@pytest.mark.parametrize(
    ("problem", "has_traceback"),
    [
        (NotServing("no"), False),
        (OSError("no"), False),
        (IncompleteRead(b""), True),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), True),
    ],
)
def test_a_service_that_can_not_be_prepared_is_left_out(
    command: Command,
    process: Process,
    caplog: pytest.LogCaptureFixture,
    problem: Exception,
    has_traceback: bool,
) -> None:
    env = command.prepare(process, make_service(prepare=failing(problem)))

    assert env == {}
    assert not process.is_wanted
    assert not process.is_alive
    assert [bool(record.exc_info) for record in caplog.records] == [has_traceback]


def test_what_is_to_be_done_before_a_start_is_done_before_each(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    process = Process("program", [str(seen)], program=["rm"], before_start=seen.touch)

    for _ in range(2):
        process.start()
        assert process.popen is not None
        assert process.popen.wait(20) == 0


def test_a_restart_that_fails_is_tried_again(
    command: Command, process: Process, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up, "RESTART_AFTER_SECONDS", 0.0)
    process.kill_what_is_left()
    process.before_start = failing(OSError("the disk is full"))

    command.restart(process, is_ready=True)

    assert not process.is_alive
    assert [getattr(record, "problem", None) for record in caplog.records][-1] == "the disk is full"
    process.before_start = None
    command.restart(process, is_ready=True)
    assert process.is_alive


@pytest.fixture
def tending(command: Command, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Starts the thread that tends a service; it ends with the test."""
    monkeypatch.setattr(up, "TEND_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(up, "SERVICE_PAUSE_SECONDS", 0.01)
    threads = []

    def tend(process: Process, service: LocalService) -> None:
        thread = threading.Thread(target=command.tend, args=(process, service, process.started_at))
        threads.append(thread)
        thread.start()

    yield tend
    command.is_stopping = True
    for thread in threads:
        thread.join(20)


def test_a_service_is_prepared_again_after_a_restart_until_that_succeeds(
    command: Command, process: Process, tending: Any
) -> None:
    problems = [NotServing("not yet"), ValueError("not yet")]

    def prepare() -> dict[str, str]:
        if problems:
            raise problems.pop()
        return {"SOMETHING": "new"}

    tending(process, make_service(prepare=prepare))
    time.sleep(0.1)
    assert command.changes.empty()

    process.kill_what_is_left()
    process.start()

    assert command.changes.get(timeout=20) == {"SOMETHING": "new"}
    time.sleep(0.1)
    assert command.changes.empty()


def test_a_service_is_tended_whatever_happens_to_it(
    process: Process, tending: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    tended = threading.Semaphore(0)

    def tend() -> None:
        tended.release()
        raise ValueError("nonsense")

    tending(process, make_service(tend=tend))

    assert all(tended.acquire(timeout=20) for _ in range(3))
    assert {getattr(record, "problem", None) for record in caplog.records} == {"nonsense"}


def test_processes_start_again_when_what_they_know_has_changed(
    command: Command, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOMETHING", "old")
    command.changes.put({"SOMETHING": "new"})

    command.pass_changes_on([process])

    assert os.environ["SOMETHING"] == "new"
    assert process.popen is not None
    assert process.popen.wait(20) < 0


def test_processes_run_on_when_nothing_has_changed(
    command: Command, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOMETHING", "old")
    command.changes.put({"SOMETHING": "old"})

    command.pass_changes_on([process])

    assert process.ends_by == float("inf")
    assert process.is_alive
