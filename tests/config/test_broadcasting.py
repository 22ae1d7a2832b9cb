"""Watchers of one stream share what is read of it, wherever each of them began."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

from config.broadcasting import Feed, Page, Watcher
from config.streaming import Cursor, Frame, News, encode, read_last_id


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
