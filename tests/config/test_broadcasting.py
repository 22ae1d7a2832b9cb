"""Watchers of one stream share what is read of it, wherever each of them began."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings

from config import broadcasting
from config.broadcasting import Feed, Hub
from config.listening import Listener
from config.streaming import Cursor, Frame, News, Watch, encode, read_last_id, stream_source
from config.watchers import Page, Watcher


def page(begin: int, *ids: int, shown: Any = None, is_over: bool = False) -> Page:
    frames = [Frame("log", {"n": id_}, id_) for id_ in ids]
    if shown is not None:
        frames.append(Frame("job", shown))
    last = max(ids, default=begin)
    return Page.of(Cursor(begin, begin), News(frames, Cursor(last, last, shown), is_over))


def told(watcher: Watcher) -> str:
    return asyncio.run(watcher.next_chunk(0)).decode()


def test_who_is_ahead_is_told_nothing_twice() -> None:
    watcher = Watcher(Cursor(5, 5))

    watcher.tell(page(3, 4, 5, 6))

    assert [line for line in told(watcher).split("\n") if line.startswith("id")] == ["id: 6"]
    assert watcher.cursor.position == 6


def test_who_joined_further_back_waits_for_his_own_page() -> None:
    watcher = Watcher(Cursor(2, 2))

    watcher.tell(page(5, 6))
    watcher.tell(page(2, 3, 5, 6))

    assert told(watcher).count("id: ") == 3


def test_a_snapshot_that_was_told_is_not_told_again() -> None:
    watcher = Watcher(Cursor(5, 5, {"status": "running"}))

    watcher.tell(page(5, shown={"status": "running"}))
    watcher.tell(page(5, shown={"status": "completed"}))

    assert told(watcher).count("event: job") == 1


def test_what_has_changed_is_told_to_those_who_know_what_it_was() -> None:
    one, two = {"step": 1}, {"step": 2}
    knows, joined = Watcher(Cursor(5, 5, one)), Watcher(Cursor(5, 5, {"step": 0}))
    change = Page.of(
        Cursor(5, 5, one),
        News(
            [Frame("log", {}, 6), Frame("job", two), Frame("end", {}, 6, is_last=True)],
            Cursor(6, 6, two),
            True,
        ),
    )

    for watcher in (knows, joined):
        watcher.tell(change)

    assert (knows.is_over, joined.is_over) == (True, False)
    assert [line for line in told(joined).split("\n") if line.startswith("event")] == ["event: log"]
    joined.tell(Page.of(Cursor(6, 6, None), News([Frame("job", two)], Cursor(6, 6, two), is_over=True)))
    assert told(joined) == 'event: job\ndata: {"step":2}\n\n'
    assert joined.is_over


def test_who_is_further_back_or_knows_something_else_sets_a_feed_back() -> None:
    feed = Feed(uuid4(), Cursor(9, 9, "new"))

    feed.add(Watcher(Cursor(9, 9, "new")))
    assert feed.cursor == Cursor(9, 9, "new")
    feed.add(Watcher(Cursor(9, 9, "old")))
    assert feed.cursor == Cursor(9, 9, None)
    feed.add(Watcher(Cursor(4, 4, None)))
    assert feed.cursor == Cursor(4, 4, None)
    feed.add(Watcher(Cursor(7, 7, None)))
    assert feed.cursor == Cursor(4, 4, None)


def test_the_last_frame_reaches_everybody() -> None:
    watcher = Watcher(Cursor(5, 5))
    end = News([Frame("end", {"status": "failed"}, 5, is_last=True)], Cursor(5, 5), is_over=True)

    watcher.tell(Page.of(Cursor(5, 5), end))

    assert watcher.is_over
    assert told(watcher) == 'id: 5-end\nevent: end\ndata: {"status":"failed"}\n\n'


def test_a_position_is_read_as_it_was_written() -> None:
    assert read_last_id("12") == (12, False)
    assert read_last_id("12-end") == (12, True)
    assert [read_last_id(text) for text in ("", "-end", "-1", "1.0", "\u0663", "9" * 19, "12-ended")] == [
        None
    ] * 7


def test_a_frame_without_an_id_has_none() -> None:
    assert encode(Frame("job", {"a": "\u2028\n"})) == b'event: job\ndata: {"a":"\\u2028\\n"}\n\n'


class Silent:
    """Streams that never tell anything."""

    name = "tests.silent"

    def start(self, key: UUID, position: int) -> Cursor | None:
        return Cursor()

    def read(self, cursors: Mapping[UUID, Cursor]) -> dict[UUID, News]:
        return {key: News([], cursor) for key, cursor in cursors.items()}


@dataclass(frozen=True)
class Revocable:
    """Whoever is not among the revoked."""

    holder: str

    def holds(self) -> bool:
        return self.holder not in REVOKED


REVOKED: set[str] = set()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A hub without a database, which asks every 50 ms who may still watch."""
    monkeypatch.setattr(broadcasting, "ACCESS_EVERY_SECONDS", 0.05)
    stream_source(Silent())
    REVOKED.clear()

    async def run(work: Callable[[], Any]) -> Any:
        return work()

    # It never gets to listen: these loops end before it has connected.
    return Hub(Listener(settings.DATABASE_DIRECT_URL), run)


async def watch(hub: Hub, who: str, gone: asyncio.Future[None]) -> None:
    async def send(data: bytes, *, more: bool) -> None:
        """Nobody reads it."""

    await hub.serve(Watch("tests.silent", uuid4(), Cursor(), Revocable(who)), send, gone)


@pytest.mark.parametrize("turns", range(8))
def test_who_comes_as_the_last_one_leaves_is_asked_again_too(hub: Hub, turns: int) -> None:
    async def one_after_the_other() -> None:
        loop = asyncio.get_running_loop()
        first_gone, second_gone = loop.create_future(), loop.create_future()
        first = asyncio.create_task(watch(hub, "first", first_gone))
        await asyncio.sleep(0.02)
        first_gone.set_result(None)
        for _ in range(turns):
            await asyncio.sleep(0)
        second = asyncio.create_task(watch(hub, "second", second_gone))
        REVOKED.add("second")
        await asyncio.wait_for(asyncio.gather(first, second), 5)

    asyncio.run(one_after_the_other())


def test_who_comes_to_a_hub_that_is_closed_is_sent_away(hub: Hub) -> None:
    async def too_late() -> None:
        hub.close()
        await asyncio.wait_for(watch(hub, "anybody", asyncio.get_running_loop().create_future()), 5)

    asyncio.run(too_late())
