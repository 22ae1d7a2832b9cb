"""Clients that do not read hold neither a seat, nor a stop, nor the memory of the others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from config import broadcasting, watchers
from jobs.models import Event, Job
from jobs.services.events import record_event
from tests.config.test_asgi import SCOPE
from tests.factories import make_job, make_key, make_tenant
from tests.jobs.streams.conftest import WebProcess
from tests.jobs.streams.watching import Client, watch, watching


@pytest.fixture
def job(web: WebProcess) -> Job:
    """A running job with a long line in its story."""
    job = make_job(make_tenant(), status=Job.Status.RUNNING)
    record_event(job, Event.Type.LOG, {"lines": ["x" * 1_000]})
    return job


@pytest.fixture
def key(job: Job) -> str:
    return make_key(job.tenant, "read")[1]  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def silent(job: Job, key: str, web: WebProcess) -> AsyncIterator[tuple[Client, asyncio.Task[Any]]]:
    """A client that has a seat, and reads nothing at all."""
    from config.asgi import application

    client, taken = Client(), web.streams.count
    client.reads = False
    headers = [*SCOPE["headers"], (b"authorization", f"Bearer {key}".encode())]
    scope = {**SCOPE, "path": f"/api/jobs/{job.pk}/events", "query_string": b"", "headers": headers}
    task = asyncio.create_task(application(scope, client.receive, client.send))
    async with asyncio.timeout(20):
        while web.streams.count == taken:
            await asyncio.sleep(0.01)
    try:
        yield client, task
    finally:
        client.leave()
        await task


def test_the_first_page_has_to_be_taken_in_time(
    web: WebProcess, job: Job, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcasting, "SEND_SECONDS", 0.2)

    async def body() -> Client:
        async with silent(job, key, web) as (client, task):
            await asyncio.wait_for(asyncio.shield(task), 10)
            assert web.streams.count == 0
            return client

    assert not watch(body).is_closed


def test_the_longest_life_is_that_of_a_client_that_takes_nothing_too(
    web: WebProcess, job: Job, key: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.STREAM_SECONDS = 0.1
    monkeypatch.setattr(watchers, "LAST_SEND_SECONDS", 0.1)

    async def body() -> None:
        async with silent(job, key, web) as (_, task):
            await asyncio.wait_for(asyncio.shield(task), 10)

    watch(body)

    assert web.streams.count == 0


def test_a_stop_does_not_wait_for_who_has_not_taken_the_first_page(
    web: WebProcess, job: Job, key: str
) -> None:
    async def body() -> float:
        loop = asyncio.get_running_loop()
        async with silent(job, key, web) as (_, task):
            began = loop.time()
            web.streams.close()
            await asyncio.wait_for(asyncio.shield(task), 10)
            return loop.time() - began

    assert watch(body) < 3


def test_those_leave_for_whom_most_is_held(
    web: WebProcess, job: Job, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = make_job(job.tenant, status=Job.Status.RUNNING)

    async def body() -> int:
        async with (
            silent(small, key, web),
            silent(job, key, web) as (_, first),
            silent(job, key, web) as (_, second),
        ):
            # Each first page of the long story has more than a thousand bytes, that of the other one has fewer.
            monkeypatch.setattr(broadcasting, "HELD_BYTES", 2_500)
            async with watching(f"/api/jobs/{small.pk}/events", key=key) as reader:
                await asyncio.wait([first, second], timeout=10, return_when=asyncio.FIRST_COMPLETED)
                assert not reader.is_closed
                return [first.done(), second.done()].count(True)

    assert watch(body) == 1


def test_a_page_is_kept_no_longer_than_it_is_unsent(web: WebProcess, job: Job, key: str) -> None:
    async def body() -> list[int]:
        async with silent(job, key, web) as (client, _):
            (watchers,) = web.streams._watchers.values()
            (watcher,) = watchers
            before = watcher.held
            client.reads = True
            await client.until(lambda c: "x" * 1_000 in c.text)
            await asyncio.sleep(0.05)
            return [before, watcher.held]

    before, after = watch(body)

    assert (before > 1_000, after) == (True, 0)
