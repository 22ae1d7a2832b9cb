"""Processes that must not outlive the one that started them."""

from __future__ import annotations

import ctypes
import signal
import sys

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
PR_SET_PDEATHSIG = 1


def end_with_parent(how: signal.Signals = signal.SIGTERM) -> None:
    """Have the kernel send this process a signal when its parent is killed, which could do so no more.

    Linux means the parent's thread: it must live as long as the child is wanted. Elsewhere nothing happens.
    """
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, how)
