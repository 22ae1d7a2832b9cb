"""How many files, and so connections, a process and its children may have open."""

from __future__ import annotations

import resource


def allow_descriptors(wanted: int) -> int:
    """Raise this process's limit to `wanted`, as far as the system allows it; how many of them it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most
