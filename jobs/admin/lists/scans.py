"""How far a list looks where no index leads: through so many rows at a time, newest first, and on from there."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import F, Func, IntegerField, Model, Q, QuerySet, UUIDField
from django.db.models.expressions import OrderBy

from jobs.ids import first_id_of

SEARCHED_ROWS = 100_000
SEARCHED_DOCUMENTS = 20_000  # rows whose JSON is looked into
EXPORT_MAX = 100_000  # rows that one export holds


@dataclass(frozen=True)
class Scan:
    """A search that no index carries: what `find` of an admin answers instead of rows."""

    condition: Q


def newest_first(model: type[Model], *, is_few: bool, is_reversed: bool = False) -> OrderBy:
    """The order of a list by its primary key.

    Where an index leads to few rows in another order (`is_few`), by a form of the key that no index has: with the key
    itself PostgreSQL would walk down the whole table, hoping to meet them soon.
    """
    key: Func | F = _plain_form(model) if is_few else F("pk")
    return OrderBy(key, descending=not is_reversed)


def _plain_form(model: type[Model]) -> Func:
    if has_uuid_key(model):
        return Func(F("pk"), function="uuid_send")
    return Func(F("pk"), template="(%(expressions)s + 0)", output_field=IntegerField())


def has_uuid_key(model: type[Model]) -> bool:
    return isinstance(model._meta.pk, UUIDField)


def edge_of(rows: QuerySet[Any], order: OrderBy, size: int) -> Any:
    """The key of the last of the first `size` rows; None where there are no more than that."""
    keys = list(rows.order_by(order).values_list("pk", flat=True)[size - 1 : size + 1])
    return keys[0] if len(keys) == 2 else None


def moment_of(model: type[Model], key: Any) -> datetime | None:
    """When the row of this key was made: read off a UUIDv7, looked up else."""
    if isinstance(key, uuid.UUID):
        return datetime.fromtimestamp((key.int >> 80) / 1000, UTC) if key.version == 7 else None
    made: datetime | None = model._default_manager.filter(pk=key).values_list("created_at", flat=True).first()
    return made


def first_key_of(model: type[Model], moment: datetime) -> Any:
    """A key that no row made from `moment` on sorts before.

    For numbers by halving: rows are appended, and the key has the index that `created_at` needs none of then.
    """
    if has_uuid_key(model):
        return first_id_of(moment)
    keys = model._default_manager.order_by("pk").values_list("pk", "created_at")
    low, high = 1, (keys.reverse().values_list("pk", flat=True).first() or 0) + 1
    while low < high:
        middle = (low + high) // 2
        row = keys.filter(pk__gte=middle, pk__lt=high).first()
        if row is None or row[1] >= moment:
            high = middle
        else:
            low = row[0] + 1
    return low
