"""Reads what sessions tell, as their streams do."""

from __future__ import annotations

from typing import Any

from attestations.models import ProofSession
from attestations.sessions.telling import SessionSource
from config.streaming import Cursor, Frame


def frames_of(session: ProofSession, position: int = 0) -> list[Frame]:
    """All that a session's stream tells behind a position."""
    source, told = SessionSource(), []
    cursor: Cursor | None = source.start(session.pk, position)
    assert cursor is not None
    while True:
        news = source.read({session.pk: cursor})[session.pk]
        told += news.frames
        cursor = news.cursor
        if not news.has_more:
            return told


def of_type(frames: list[Frame], event: str) -> list[Any]:
    """The data of the frames of one type."""
    return [frame.data for frame in frames if frame.event == event]


def phases_in(frames: list[Frame]) -> list[tuple[str, int]]:
    """Each phase with its progress, once for as long as it lasts."""
    said = [(data["phase"], data["progress"]) for data in of_type(frames, "status")]
    return list(dict.fromkeys(said))
