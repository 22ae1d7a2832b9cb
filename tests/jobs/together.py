"""Lets several threads begin at the same moment, for the tests of what happens at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connection

from jobs.errors import DomainError


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What each call returns, or the code of what it was refused with; anything else is raised."""
    start = threading.Barrier(len(calls))

    def make(call: Callable[[], Any]) -> Any:
        try:
            start.wait(10)
            return call()
        except DomainError as error:
            return error.code
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [made.result(30) for made in [pool.submit(make, call) for call in calls]]
