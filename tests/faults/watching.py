"""A client that watches a stream of a real platform, and comes again behind the last id whenever it is cut off."""

from __future__ import annotations

import json
import math
import threading
import time
from dataclasses import dataclass
from typing import Any

import httpx

AGAIN_SECONDS = 0.2  # a client in a hurry: `retry` says three


@dataclass(frozen=True, slots=True)
class Seen:
    """One event; `id` is its text, empty where it has none."""

    event: str
    data: Any
    id: str


class Watcher:
    """What a client has seen of one stream, over all its connections."""

    def __init__(self, url: str, key: str) -> None:
        self.seen: list[Seen] = []
        self.connections = 0
        self._url, self._key = url, key
        self._last_id = ""
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Watch in a thread until the stream has ended."""
        self._thread.start()

    def has_ended(self) -> bool:
        return not self._thread.is_alive()

    def named(self, name: str) -> list[Any]:
        """The data of the events of one name."""
        return [one.data for one in self.seen if one.event == name]

    def connect(self, *, most_bytes: float = math.inf) -> bool:
        """Watch by one connection, cut off after so many bytes; whether there is nothing more to see."""
        self.connections += 1
        headers = {"Authorization": f"Bearer {self._key}", "Last-Event-ID": self._last_id}
        # Without certificates, which take long to load and are not asked for.
        with httpx.stream("GET", self._url, headers=headers, timeout=20, verify=False) as answer:
            if answer.status_code == 204:
                return True
            answer.raise_for_status()
            self._read(answer, most_bytes)
        return False

    def _watch(self) -> None:
        is_over = False
        while not is_over:
            try:
                is_over = self.connect()
            except httpx.HTTPError:
                time.sleep(AGAIN_SECONDS)  # nobody is there, or it was cut off

    def _read(self, answer: httpx.Response, most_bytes: float) -> None:
        came = b""
        left = most_bytes
        for chunk in answer.iter_raw():
            came += chunk[: int(min(left, len(chunk)))]
            left -= len(chunk)
            *blocks, came = came.split(b"\n\n")
            for block in blocks:
                self._take(block.decode())
            if left <= 0:
                return  # what has come of the next event is lost

    def _take(self, block: str) -> None:
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if "data" in fields:
            self._last_id = fields.get("id", self._last_id)
            self.seen.append(Seen(fields["event"], json.loads(fields["data"]), fields.get("id", "")))
