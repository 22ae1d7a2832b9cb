"""Streams tell everything once and in order, whatever happens to the connection."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import Any

import pytest
from django.db import OperationalError

from config import broadcasting, streaming, watchers
from jobs.models import Event, Job, Tenant
from jobs.queue.claim import Lease
from jobs.queue.finish import finish
from jobs.queue.outcomes import Outcome
from jobs.services.events import record_event
from jobs.services.jobs import cancel_job
from jobs.streams import feeds
from tests.factories import make_job, make_key, make_tenant, make_workflow
from tests.jobs.streams.conftest import WebProcess
from tests.jobs.streams.watching import Client, on_thread, watch, watching


def tell(job: Job, *lines: str) -> None:
    """Add log lines to a job's story, an event each."""
    for line in lines:
        record_event(job, Event.Type.LOG, {"lines": [line]})


def complete(job: Job) -> None:
    assert job.lease_token is not None
    finish([Outcome(lease=Lease(job.pk, job.lease_token), status=Job.Status.COMPLETED, result={"n": 1})])


def lines_of(client: Client) -> list[str]:
    return [line for seen in client.named("log") for line in seen.data["lines"]]


@pytest.fixture
def job(web: WebProcess) -> Job:
    return make_job(make_tenant(), status=Job.Status.RUNNING)


@pytest.fixture
def key(job: Job) -> str:
    assert job.tenant is not None
    return make_key(job.tenant, "read")[1]


@pytest.fixture
def address(job: Job) -> str:
    return f"/api/jobs/{job.pk}/events"


def test_what_was_told_is_replayed_and_what_comes_follows(job: Job, key: str, address: str) -> None:
    tell(job, "one", "two")

    async def body() -> Client:
        async with watching(address, key=key) as client:
            await client.until(lambda c: len(lines_of(c)) == 2)
            await on_thread(tell, job, "three")
            await client.until(lambda c: len(lines_of(c)) == 3)
            await on_thread(complete, job)
            return await client.until_closed()

    client = watch(body)

    ids = list(Event.objects.order_by("id").values_list("pk", flat=True))
    assert [seen.event for seen in client.seen] == ["job", "log", "log", "log", "job", "end"]
    assert [seen.id for seen in client.named("log")] == [str(id_) for id_ in ids]
    assert [seen.data["status"] for seen in client.named("job")] == ["running", "completed"]
    assert client.seen[-1].data == {"status": "completed"}
    assert client.named("log")[0].data["job_id"] == str(job.pk)


def test_headers_keep_proxies_from_buffering(job: Job, key: str, address: str) -> None:
    async def body() -> Client:
        async with watching(address, key=key, accept="text/event-stream") as client:
            return await client.until(lambda c: bool(c.seen))

    client = watch(body)

    assert client.status == 200
    assert client.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert client.headers["cache-control"] == "no-cache, no-transform"
    assert client.headers["x-accel-buffering"] == "no"
    assert "content-length" not in client.headers
    assert client.text.startswith("retry: 3000\n\n")


def test_a_silence_is_broken_by_a_comment(
    job: Job, key: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcasting, "SILENCE_SECONDS", 0.05)

    async def body() -> Client:
        async with watching(address, key=key) as client:
            return await client.until(lambda c: c.text.endswith(":\n\n:\n\n"))

    assert len(watch(body).seen) == 1


def test_fifty_cuts_lose_nothing_and_double_nothing(job: Job, key: str, address: str) -> None:
    wanted = [f"line {n}" for n in range(400)]
    chance = random.Random(7)

    async def told() -> None:
        for start in range(0, len(wanted), 8):
            await on_thread(tell, job, *wanted[start : start + 8])
        await on_thread(complete, job)

    async def body() -> tuple[list[Any], int]:
        teller, seen, last, cuts = asyncio.create_task(told()), [], "", 0
        while not seen or seen[-1].event != "end":
            async with watching(address, key=key, **({"last_event_id": last} if last else {})) as client:
                wanted_here = chance.randrange(1, 12) if cuts < 50 else 10**9
                await client.until(lambda c, n=wanted_here: c.is_closed or len(c.seen) >= n)  # type: ignore[misc]
                client.leave()
                here = client.seen
            numbered = [one for one in here if one.id]
            seen += numbered
            last, cuts = (numbered[-1].id if numbered else last), cuts + 1
        await teller
        return seen, cuts

    seen, cuts = watch(body)

    assert cuts >= 50
    assert [line for one in seen if one.event == "log" for line in one.data["lines"]] == wanted
    assert [one.event for one in seen].count("end") == 1


def test_a_client_that_saw_the_end_is_told_to_stop(job: Job, key: str, address: str) -> None:
    tell(job, "one")
    complete(job)

    async def body() -> list[tuple[int, list[str]]]:
        answers, last = [], ""
        for _ in range(2):
            async with watching(address, key=key, **({"last_event_id": last} if last else {})) as client:
                await client.until_closed()
                answers.append((client.status, [seen.event for seen in client.seen]))
                last = client.seen[-1].id if client.seen else ""
        return answers

    assert watch(body) == [(200, ["job", "log", "end"]), (204, [])]


def test_a_client_that_missed_only_the_end_is_told_it(job: Job, key: str, address: str) -> None:
    tell(job, "one")
    complete(job)
    last = str(Event.objects.get().pk)

    async def body() -> Client:
        async with watching(address, key=key, last_event_id=last) as client:
            return await client.until_closed()

    assert [seen.event for seen in watch(body).seen] == ["job", "end"]


@pytest.mark.parametrize("position", ["999999999", "nonsense", "-1", "1" * 40, "\u0663"])
def test_an_unknown_position_begins_anew(job: Job, key: str, address: str, position: str) -> None:
    tell(job, "one")
    complete(job)

    async def body() -> Client:
        query = position if position.isascii() else "%D9%A3"
        async with watching(f"{address}?lastEventId={query}", key=key) as client:
            return await client.until_closed()

    client = watch(body)

    assert [seen.event for seen in client.seen] == ["reset", "job", "log", "end"]
    assert client.seen[0].data == {"reason": "unknown_position"}
    assert client.seen[0].id == ""


def test_another_jobs_position_is_unknown(job: Job, key: str, address: str) -> None:
    tell(make_job(job.tenant), "theirs")
    theirs = str(Event.objects.get().pk)

    async def body() -> Client:
        async with watching(address, key=key, last_event_id=theirs) as client:
            return await client.until(lambda c: len(c.seen) >= 2)

    assert [seen.event for seen in watch(body).seen][:2] == ["reset", "job"]


def test_the_header_counts_before_the_query(job: Job, key: str, address: str) -> None:
    tell(job, "one", "two")
    complete(job)
    first, second = Event.objects.order_by("id").values_list("pk", flat=True)

    async def body() -> Client:
        async with watching(f"{address}?last_event_id={first}", key=key, last_event_id=str(second)) as client:
            return await client.until_closed()

    assert lines_of(watch(body)) == []


def test_many_watchers_are_told_by_one_read(
    job: Job, key: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    real = feeds.JobSource.read

    def noting(self: Any, cursors: Any) -> Any:
        reads.append(len(cursors))
        return real(self, cursors)

    async def body() -> list[list[str]]:
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(watching(address, key=key)) for _ in range(30)]
            monkeypatch.setattr(feeds.JobSource, "read", noting)
            await on_thread(tell, job, "one")
            return [lines_of(await client.until(lambda c: bool(lines_of(c)))) for client in clients]

    assert watch(body) == [["one"]] * 30
    assert len(reads) < 10


def test_a_watcher_that_joins_behind_gets_what_the_others_have(
    job: Job, key: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "PAGE_ROWS", 7)
    tell(job, *(f"old {n}" for n in range(40)))

    async def body() -> list[list[str]]:
        async with watching(address, key=key) as first:
            await first.until(lambda c: len(lines_of(c)) == 40)
            telling = asyncio.create_task(on_thread(tell, job, *(f"new {n}" for n in range(40))))
            async with watching(address, key=key) as second:
                await telling
                for client in (first, second):
                    await client.until(lambda c: len(lines_of(c)) >= 80)
                await asyncio.sleep(0.1)
                return [lines_of(first), lines_of(second)]

    told = [f"old {n}" for n in range(40)] + [f"new {n}" for n in range(40)]
    assert watch(body) == [told, told]


@pytest.mark.usefixtures("deaf")
def test_a_lost_announcement_costs_a_second(job: Job, key: str, address: str) -> None:
    async def body() -> float:
        async with watching(address, key=key) as client:
            await client.until(lambda c: bool(c.seen))
            await asyncio.sleep(0.1)
            began = time.monotonic()
            await on_thread(tell, job, "one")
            await client.until(lambda c: bool(lines_of(c)))
            return time.monotonic() - began

    assert watch(body) < 2.5


def test_a_database_that_was_away_is_asked_again(
    job: Job, key: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = feeds.JobSource.read, iter([OperationalError("gone"), OperationalError("still gone")])

    def failing(self: Any, cursors: Any) -> Any:
        if (error := next(failures, None)) is not None:
            raise error
        return real(self, cursors)

    async def body() -> Client:
        async with watching(address, key=key) as client:
            await client.until(lambda c: bool(c.seen))
            monkeypatch.setattr(feeds.JobSource, "read", failing)
            await on_thread(tell, job, "one")
            return await client.until(lambda c: bool(lines_of(c)))

    assert lines_of(watch(body)) == ["one"]


def test_an_announced_line_comes_at_once(job: Job, key: str, address: str) -> None:
    async def body() -> list[float]:
        took = []
        async with watching(address, key=key) as client:
            await client.until(lambda c: bool(c.seen))
            await asyncio.sleep(0.5)  # the listener connects
            for n in range(9):
                await asyncio.sleep(0.02)
                began = time.monotonic()
                await on_thread(tell, job, str(n))
                await client.until(lambda c, n=n: len(lines_of(c)) == n + 1)  # type: ignore[misc]
                took.append(time.monotonic() - began)
        return took

    assert sorted(watch(body))[4] < 0.25


def test_a_slow_client_is_sent_away_and_misses_nothing(
    job: Job, key: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchers, "WAITING_FRAMES", 20)
    monkeypatch.setattr(feeds, "PAGE_ROWS", 10)
    told = [f"line {n}" for n in range(120)]

    async def body() -> tuple[Client, Client]:
        async with watching(address, key=key) as slow:
            await slow.until(lambda c: bool(c.seen))
            slow.reads = False
            for start in range(0, 100, 5):
                await on_thread(tell, job, *told[start : start + 5])
                await asyncio.sleep(0.02)
            slow.reads = True
            await slow.until_closed()
        await on_thread(tell, job, *told[100:])
        await on_thread(complete, job)
        last = str(slow.seen[-1].data["last_event_id"])
        async with watching(address, key=key, last_event_id=last) as again:
            return slow, await again.until_closed()

    slow, again = watch(body)

    assert (slow.seen[-1].event, slow.seen[-1].data["reason"]) == ("reset", "too_slow")
    assert slow.seen[-1].id == ""
    assert str(slow.seen[-1].data["last_event_id"]) == slow.named("log")[-1].id
    assert len(lines_of(slow)) < 100
    assert lines_of(slow) + lines_of(again) == told


def test_a_client_that_leaves_is_forgotten(web: WebProcess, job: Job, key: str, address: str) -> None:
    async def body() -> set[str]:
        for _ in range(3):
            async with watching(address, key=key) as client:
                await client.until(lambda c: bool(c.seen))
                assert web.streams.count == 1
        await asyncio.sleep(0.1)
        await web.listener.close()
        return {task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()}

    assert watch(body) == set()
    assert web.streams.count == 0
    assert not web.streams._watchers
    assert not any(reader.feeds for reader in web.streams._readers.values())


def test_two_processes_tell_the_same(web: WebProcess, job: Job, key: str, address: str) -> None:
    other = WebProcess()

    async def body() -> list[list[str]]:
        async with watching(address, key=key) as first:
            await first.until(lambda c: bool(c.seen))
            await on_thread(tell, job, "one")
            await first.until(lambda c: len(lines_of(c)) == 1)
            last = first.named("log")[-1].id
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("config.asgi._streams", other.streams)
                patch.setattr("config.asgi._bridge", other.bridge)
                async with watching(address, key=key, last_event_id=last) as second:
                    await on_thread(tell, job, "two")
                    await second.until(lambda c: len(lines_of(c)) == 1)
                    await first.until(lambda c: len(lines_of(c)) == 2)
                    assert (web.streams.count, other.streams.count) == (1, 1)
                    return [lines_of(first), lines_of(second)]

    try:
        assert watch(body) == [["one", "two"], ["two"]]
    finally:
        other.close()


def test_a_line_stays_one_line_for_every_client(job: Job, key: str, address: str) -> None:
    odd = "a\nb\rc\u2028d\u2029e\u0085f\x1cg\u00e4"
    tell(job, odd)
    complete(job)

    async def body() -> Client:
        async with watching(address, key=key) as client:
            return await client.until_closed()

    client = watch(body)

    assert lines_of(client) == [odd]
    assert [line for line in client.text.splitlines() if "\u00e4" in line][0].startswith("data: {")
    assert len(client.text.splitlines()) == client.text.count("\n")


def test_a_workflow_tells_of_all_its_jobs(web: WebProcess) -> None:
    tenant = Tenant.objects.create(slug="acme")
    workflow = make_workflow(tenant, total_steps=2)
    fields = {"workflow": workflow, "service_required": "gpu"}
    first = make_job(tenant, status=Job.Status.RUNNING, step_index=0, step_name="paint", **fields)
    second = make_job(tenant, status=Job.Status.WAITING, step_index=1, step_name="frame", **fields)
    key = make_key(tenant, "read")[1]

    def run_second() -> None:
        second.refresh_from_db()
        cancel_job(second, by="somebody")

    async def body() -> Client:
        async with watching(f"/api/workflows/{workflow.workflow_id}/events", key=key) as client:
            await client.until(lambda c: len(c.seen) == 3)
            await on_thread(tell, first, "painting")
            await on_thread(complete, first)
            await client.until(lambda c: len(c.named("job")) == 4)
            await on_thread(run_second)
            return await client.until_closed()

    client = watch(body)

    assert [seen.event for seen in client.seen[:3]] == ["workflow", "job", "job"]
    states = [(seen.data["step_name"], seen.data["status"]) for seen in client.named("job")[2:]]
    assert states == [("paint", "completed"), ("frame", "queued"), ("frame", "cancelled")]
    assert client.seen[-1].data == {"status": "cancelled"}
    assert client.named("workflow")[-1].data["error"]["code"] == "cancelled"
    assert client.named("log")[0].data["job_id"] == str(first.pk)


def test_reading_many_streams_takes_as_many_statements_as_one(
    tenant: Tenant, django_assert_num_queries: Any
) -> None:
    jobs = [make_job(tenant) for _ in range(20)]
    for job in jobs:
        tell(job, "one")
    source = feeds.JobSource()

    with django_assert_num_queries(1):  # and the story's, over psycopg's own cursor
        news = source.read({job.pk: streaming.Cursor() for job in jobs})

    assert all([frame.event for frame in news[job.pk].frames] == ["job", "log"] for job in jobs)


def test_a_page_is_bounded_by_what_it_weighs(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(tenant)
    tell(job, "x" * 300, "y" * 300, "z" * 300)
    monkeypatch.setattr(feeds, "PAGE_BYTES", 500)
    source = feeds.JobSource()

    first = source.read({job.pk: streaming.Cursor()})[job.pk]
    second = source.read({job.pk: first.cursor})[job.pk]

    assert [len([frame for frame in news.frames if frame.id]) for news in (first, second)] == [2, 1]
    assert (first.has_more, second.has_more) == (True, False)


def test_what_repeats_itself_weighs_what_is_sent_of_it(tenant: Tenant) -> None:
    # Stored, a line of these takes a hundredth.
    workflow = make_workflow(tenant)
    job = make_job(tenant, workflow=workflow, step_name="one", step_index=0)
    tell(job, *["x" * (feeds.PAGE_BYTES // 2)] * 3)
    sources: list[tuple[streaming.Source, Any]] = [
        (feeds.JobSource(), job.pk),
        (feeds.WorkflowSource(), workflow.pk),
    ]

    pages = [source.read({key: streaming.Cursor()})[key] for source, key in sources]

    assert [len([frame for frame in page.frames if frame.id]) for page in pages] == [2, 2]
    assert all(page.has_more for page in pages)


def test_an_event_that_is_heavier_than_a_page_comes_alone(tenant: Tenant) -> None:
    job = make_job(tenant)
    tell(job, "x" * feeds.PAGE_BYTES, "y" * feeds.PAGE_BYTES)
    source, cursor, pages = feeds.JobSource(), streaming.Cursor(), []

    for _ in range(3):
        pages.append(source.read({job.pk: cursor})[job.pk])
        cursor = pages[-1].cursor

    assert [len([frame for frame in page.frames if frame.id]) for page in pages] == [1, 1, 0]
    assert [page.has_more for page in pages] == [True, True, False]


def test_pages_that_are_read_together_share_what_they_may_weigh(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "TOGETHER_BYTES", 4_000)
    monkeypatch.setattr(feeds, "SHARE_BYTES", 500)
    jobs = [make_job(tenant) for _ in range(4)]
    for job in jobs:
        tell(job, *["x" * 400] * 5)

    alone = feeds.JobSource().read({jobs[0].pk: streaming.Cursor()})[jobs[0].pk]
    together = feeds.JobSource().read({job.pk: streaming.Cursor() for job in jobs})

    assert (len(alone.frames), alone.has_more) == (6, False)
    assert {(len(news.frames), news.has_more) for news in together.values()} == {(4, True)}
