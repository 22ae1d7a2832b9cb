"""One byte that a cluster's processes share: whether it is shutting down.

django-q2 tells its pusher and workers to stop through a queue that drains in order, so a worker would take up
new jobs on the way. The byte is anonymous memory, mapped before the processes fork, and has no lock that a
killed process could leave held.
"""

from __future__ import annotations

import mmap

_byte = mmap.mmap(-1, 1)


def begin() -> None:
    """Let every process of this cluster finish what it runs and take up nothing more."""
    _byte[0] = 1


def has_begun() -> bool:
    return _byte[0] == 1
