"""Programs that `manage.py up` runs on this machine for the platform, beside the platform's own processes.

The ground floor knows none by name: the floors above register what they could need.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


class NotServing(Exception):
    """What keeps a service from being of use; the platform runs without it then."""


@dataclass(frozen=True, kw_only=True)
class LocalService:
    """A program to be kept running, at the same place whenever it is started again.

    `is_ready` says whether it answers. `prepare` is called once then, in a thread: it makes of the program what the
    platform needs, and returns what the environment of all other processes is to say of it; it raises NotServing.
    """

    name: str
    command: list[str]
    is_ready: Callable[[], bool]
    prepare: Callable[[], dict[str, str]]


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
