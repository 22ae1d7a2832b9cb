"""What an operator allows a queue: nothing while it is paused, and no more at a time than its limit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from django.db import transaction

from jobs.statements import run


@contextlib.contextmanager
def room_in(names: Sequence[str], *, is_remote: bool) -> Iterator[dict[str, int]]:
    """How many more jobs each of these queues (or services) may run; one that is not named has no limit.

    A claim inside the block stays within it: others that claim from the same limited queues wait for its end.
    """
    asked = {"names": list(names), "is_remote": is_remote}
    records = run("find_limits", asked)
    if all(record.is_paused for record in records):
        yield {record.name: 0 for record in records}
        return
    with transaction.atomic():
        asked["names"] = [record.name for record in records]
        records = run("lock_limits", asked)
        running = {row.name: row.running for row in run("count_running", asked)}
        yield {
            record.name: 0 if record.is_paused else max(record.max_running - running.get(record.name, 0), 0)
            for record in records
            if record.is_paused or record.max_running is not None
        }
