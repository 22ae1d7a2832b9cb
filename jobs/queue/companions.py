"""What runs beside the jobs in every process of a queue's cluster: one long task in a thread of its own.

A job is claimed, run and finished by itself; a companion does thousands of small things at once, as sending
webhooks is. It starts and ends with its process.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from multiprocessing.util import Finalize

from jobs.queue import draining

logger = logging.getLogger(__name__)

RESTART_AFTER_SECONDS = 1.0

# Given a question, it works until the answer is True and returns once what it has begun is done.
Companion = Callable[[Callable[[], bool]], None]

_companions: dict[str, list[Companion]] = defaultdict(list)
_process_ends = threading.Event()


def companion(queue: str) -> Callable[[Companion], Companion]:
    """Run the decorated function beside the jobs of `queue`."""

    def register(run: Companion) -> Companion:
        _companions[queue].append(run)
        return run

    return register


def start_companions(queue: str) -> None:
    """Start those of `queue` in this process, which ends only after them."""
    threads = [
        threading.Thread(target=_keep_up, args=[run], name=run.__name__, daemon=True)
        for run in _companions[queue]
    ]
    for thread in threads:
        thread.start()
    if threads:
        # Run when the process's own function has returned, for whatever reason; a thread that is merely waited
        # for at the interpreter's end could hand nothing to an executor any more.
        Finalize(None, _end, args=[threads], exitpriority=100)


def is_over() -> bool:
    """Whether this process is to take up nothing more."""
    return draining.has_begun() or _process_ends.is_set()


def _end(threads: list[threading.Thread]) -> None:
    _process_ends.set()
    for thread in threads:
        thread.join()


def _keep_up(run: Companion) -> None:
    while not is_over():
        try:
            run(is_over)
        except Exception:
            # The loop must survive whatever it met; what it had begun lapses with its lease.
            logger.exception("companion failed", extra={"companion": run.__name__})
            time.sleep(RESTART_AFTER_SECONDS)
