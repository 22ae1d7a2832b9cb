"""Whether a process may take up new work: its cluster may be shutting down, or it alone is to leave.

django-q2 tells its pusher and workers to stop through a queue that drains in order, so a worker would take up
new jobs on the way. The byte is anonymous memory, mapped before the processes fork, and has no lock that a
killed process could leave held; only the sentinel writes it.
"""

from __future__ import annotations

import logging
import mmap
import multiprocessing
import os
import threading
import time

logger = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 1.0

# Held while this process runs jobs.
turn = threading.Lock()

_byte = mmap.mmap(-1, 1)
_is_leaving = False


def begin() -> None:
    """Let every process of this cluster finish what it runs and take up nothing more."""
    _byte[0] = 1


def call_off() -> None:
    """Let the cluster work (on)."""
    _byte[0] = 0


def leave() -> None:
    """Let this process alone finish what it runs and take up nothing more."""
    global _is_leaving
    _is_leaving = True


def has_begun() -> bool:
    return _is_leaving or _byte[0] == 1


def end_with_sentinel() -> None:
    """End this process after the turn at hand once its sentinel has gone (the body of a thread).

    Nobody is left who would tell it to, and its pipes have no other end; so it may go with their locks in hand.
    """
    sentinel = multiprocessing.parent_process()
    if sentinel is None:
        return
    while os.getppid() == sentinel.pid:
        time.sleep(LOOK_EVERY_SECONDS)
    leave()
    with turn:
        logger.warning("sentinel has died, ending")
        os._exit(1)
