"""What is kept for how long: the registry of retentions, and the way in which all of them forget.

An app registers its own where it gets ready:

    add_retentions([Retention(name="reports", kept_for=…, condition="published", find_old=…, forget=…)])
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, Min, QuerySet

logger = logging.getLogger(__name__)

BATCH = 1_000  # rows that one transaction locks and deletes


@dataclass(frozen=True, slots=True, kw_only=True)
class Old:
    """What has been kept long enough."""

    count: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """One kind of record that is forgotten: `condition` says in words which of the old ones."""

    name: str
    kept_for: Callable[[], timedelta]
    condition: str
    find_old: Callable[[], Old]
    forget: Callable[[], int]  # how many; safe to run twice, also at once


class RetentionFailed(Exception):
    """Some retentions have failed; the others have done their work: `gone` says how much."""

    def __init__(self, failed: Mapping[str, Exception], gone: dict[str, int]) -> None:
        told = (f"{name}: {type(error).__name__}: {error}" for name, error in failed.items())
        super().__init__(f"Not forgotten: {'; '.join(told)}")
        self.gone = gone


retentions: list[Retention] = []


# What upper floors keep of workflows: a workflow stays as long as any of these finds a row (by OuterRef("pk")).
workflow_holds: list[QuerySet[Any]] = []


def add_retentions(added: Iterable[Retention]) -> None:
    """Register retentions; a second time changes nothing."""
    retentions.extend(retention for retention in added if retention not in retentions)


def apply_retentions(*, between: Callable[[], None] = lambda: None) -> dict[str, int]:
    """Forget all that has been kept long enough; how many of each.

    One that fails is logged and holds up no other. Raises RetentionFailed, naming them, when the last has run.
    `between` is called before each.
    """
    gone: dict[str, int] = {}
    failed: dict[str, Exception] = {}
    for retention in retentions:
        between()
        try:
            gone[retention.name] = retention.forget()
        except Exception as error:
            logger.exception("retention failed", extra={"retention": retention.name})
            failed[retention.name] = error
    if failed:
        raise RetentionFailed(failed, gone)
    return gone


def old_of(rows: QuerySet[Any], moment: str) -> Old:
    """Count rows, and find the oldest by its column `moment`."""
    found = rows.order_by().aggregate(count=Count("pk"), oldest=Min(moment))
    return Old(count=found["count"], oldest=found["oldest"])


def forget_in_batches(
    old: QuerySet[Any],
    *,
    along: str = "pk",
    delete: Callable[[Sequence[Any]], int] | None = None,
) -> int:
    """Delete the rows of `old` by keys, a short transaction per batch; how many.

    Rows that somebody has locked are left for the next time, so nobody waits for this nor this for them. `along` is an
    indexed column that most of what is old comes first by; `delete` deletes locked rows with what belongs to them.
    """
    count, after = 0, None
    while True:
        with transaction.atomic():
            page = old if after is None else old.filter(**{f"{along}__gte": after})
            locked = page.order_by(along).select_for_update(skip_locked=True, of=("self",))
            rows = list(locked.values_list("pk", along)[:BATCH])
            keys = [key for key, _ in rows]
            deleted = (delete(keys) if delete else delete_rows(old.model, pk__in=keys)) if keys else 0
        count += deleted
        if len(rows) < BATCH or (not deleted and rows[-1][1] == after):
            return count
        after = rows[-1][1]


def delete_rows(model: Any, **condition: Any) -> int:
    """Delete rows by one statement: nothing is fetched, and nothing is looked up that might hang on them."""
    rows: QuerySet[Any] = model._base_manager.filter(**condition)
    return rows._raw_delete(rows.db) or 0  # None where the condition can't be true
