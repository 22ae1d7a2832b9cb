"""What a page says of secrets: when they were made and how long they count, never what they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jobs.admin.displays import badge, moment


def secret_lines(live: Iterable[Any]) -> list[dict[str, Any]]:
    """A line for each live secret of an endpoint or sender, the newest first."""
    return [
        {
            "badge": badge("current" if secret.expires_at is None else "expiring"),
            "made": moment(secret.created_at),
            "until": moment(secret.expires_at),
        }
        for secret in live
    ]
