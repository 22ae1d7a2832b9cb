"""The names that sending processes claim under, and which of them are known to be dead."""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path

from config.logging import HOSTNAME
from jobs.queue.pulse import is_running


def this_worker(queue: str) -> str:
    """The name of this process: `webhooks@host/1f2e3d:4711`."""
    return f"{queue}@{HOSTNAME}/{_place()}:{os.getpid()}"


def is_known_dead(worker: str) -> bool:
    """Whether a process of this very place is gone; of another nothing can be known from here.

    A place is where a number means one process: a boot of a machine and a PID namespace. Hosts may share a name.
    """
    place, _, pid = worker.rpartition(":")
    return bool(_place()) and place.endswith(f"/{_place()}") and pid.isdecimal() and not is_running(int(pid))


@functools.cache
def _place() -> str:
    """Six hex digits; empty, and so nobody's, without Linux's /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
    return hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:6]
