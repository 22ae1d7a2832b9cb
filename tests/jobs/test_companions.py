"""Companions: they run beside the jobs of their queue, survive what they meet, and end before their process."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import pytest

from jobs.queue import companions, draining
from jobs.queue.companions import companion, start_companions

fork = multiprocessing.get_context("fork")


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(companions, "_companions", {"here": [], "elsewhere": []})
    monkeypatch.setattr(companions, "RESTART_AFTER_SECONDS", 0.01)
    yield
    draining.call_off()


def run_process(said: Connection, body: Callable[[], Any]) -> None:
    start_companions("here")
    body()
    said.send("the process's own work is done")


def begin(body: Callable[[], Any]) -> tuple[Any, Connection]:
    """A process that starts the companions of the queue `here` and then does `body`."""
    heard, said = fork.Pipe(duplex=False)
    process = fork.Process(target=run_process, args=[said, body])
    process.start()
    return process, heard


def test_what_has_begun_is_finished_before_the_process_ends(registry: None) -> None:
    heard, said = fork.Pipe(duplex=False)

    @companion("here")
    def slow(is_over: Callable[[], bool]) -> None:
        while not is_over():
            time.sleep(0.01)
        time.sleep(0.3)
        said.send("finished")

    process, own = begin(lambda: time.sleep(0.1))
    process.join(10)

    assert process.exitcode == 0
    assert own.recv() == "the process's own work is done"
    assert heard.poll(1)
    assert heard.recv() == "finished"


def test_it_is_told_when_its_cluster_drains(registry: None) -> None:
    heard, said = fork.Pipe(duplex=False)

    @companion("here")
    def patient(is_over: Callable[[], bool]) -> None:
        while not is_over():
            time.sleep(0.01)
        said.send("over")

    process, _ = begin(lambda: time.sleep(1))
    time.sleep(0.1)
    draining.begin()

    assert heard.poll(0.8)
    process.join(10)


def test_one_that_fails_is_started_again(registry: None, caplog: pytest.LogCaptureFixture) -> None:
    heard, said = fork.Pipe(duplex=False)

    @companion("here")
    def brittle(is_over: Callable[[], bool]) -> None:
        said.send("began")
        raise RuntimeError("met something")

    process, _ = begin(lambda: time.sleep(0.3))
    process.join(10)

    assert [heard.recv(), heard.recv()] == ["began", "began"]


def test_that_of_another_queue_is_not_started(registry: None) -> None:
    heard, said = fork.Pipe(duplex=False)

    @companion("elsewhere")
    def absent(is_over: Callable[[], bool]) -> None:
        said.send("began")

    process, _ = begin(lambda: time.sleep(0.1))
    process.join(10)

    assert not heard.poll()
