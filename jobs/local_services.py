"""Programs that `manage.py up` runs on this machine for the platform, beside the platform's own processes.

The ground floor knows none by name: the floors above register what they could need.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


class NotServing(Exception):
    """What keeps a service from being of use; the platform runs without it then."""


def _nothing() -> None:
    """What most services want done."""


@dataclass(frozen=True, kw_only=True)
class LocalService:
    """A program to be kept running, at the same place whenever it is started again.

    `before_start` runs before every start; an OSError keeps the program from it. `is_ready` says whether it answers.
    `prepare` is called then, after every start, in a thread: it makes of the program what the platform needs, and
    returns what the environment of all other processes is to say of it; it raises NotServing. `tend` is called
    every second or so while the program runs, in a thread too.
    """

    name: str
    command: list[str]
    is_ready: Callable[[], bool]
    prepare: Callable[[], dict[str, str]]
    before_start: Callable[[], None] = _nothing
    tend: Callable[[], None] = _nothing


# Called when `up` starts; None where the service is not wanted, or can't be had.
Maker = Callable[[], LocalService | None]

_makers: list[Maker] = []


def local_service(make: Maker) -> Maker:
    """Have `up` run what the function returns."""
    _makers.append(make)
    return make


def find_local_services() -> list[LocalService]:
    """Those that this machine is to run now."""
    return [service for make in _makers if (service := make())]
