"""Time-ordered identifiers."""

from __future__ import annotations

import secrets
import threading
import time
import uuid
from datetime import datetime

_lock = threading.Lock()
_last = 0


def uuid7() -> uuid.UUID:
    """Make a UUIDv7 (RFC 9562 §5.7) that sorts after every earlier one of this process.

    The 12 bits behind the millisecond count up inside it (§6.2, method 1), so that rows made in one burst
    keep their order.
    """
    global _last
    with _lock:
        _last = stamp = max(time.time_ns() // 1_000_000 << 12, _last + 1)
    millis, counter = stamp >> 12, stamp & 0xFFF
    value = millis << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | secrets.randbits(62)
    return uuid.UUID(int=value)


def first_id_of(moment: datetime) -> uuid.UUID:
    """A UUID that no UUIDv7 made from `moment` on sorts before: time by a primary key's own index."""
    return uuid.UUID(int=int(moment.timestamp() * 1000) << 80)
