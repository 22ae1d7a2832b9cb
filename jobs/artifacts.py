"""Which address is an artifact of this platform's, and how its file begins."""

from __future__ import annotations

import re

from django.conf import settings
from django.core.files.storage import default_storage
from django.urls import reverse

# Where artifacts are stored: tenant, job, secret and name. The extension may have been added to a full name.
STORED = re.compile(r"[A-Za-z0-9_-]{1,100}(/[A-Za-z0-9_-]{1,100}){2}/[A-Za-z0-9_-][A-Za-z0-9._-]{0,149}")


def stored_path(url: str) -> str | None:
    """The path in storage that an address of ours leads to, "" where there can't be one; None for others' addresses."""
    start = settings.PUBLIC_URL + reverse("artifact", args=["-"]).removesuffix("-")
    if not url.startswith(start):
        return None
    path = url.removeprefix(start).partition("?")[0].partition("#")[0]
    return path if STORED.fullmatch(path) else ""


def read_start(path: str, size: int) -> bytes | None:
    """The first `size` bytes of a stored file; None where there is none. Raises OSError."""
    try:
        with default_storage.open(path) as file:
            start: bytes = file.read(size)
    except (FileNotFoundError, IsADirectoryError):
        return None
    return start
