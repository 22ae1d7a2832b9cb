"""Seals anew what rests sealed, so that an old key can be dropped: the registry of sealed columns.

An app registers its own where it gets ready:

    add_sealed([(Account, "sealed_password")])
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Model

from jobs.tenancy.sealing import Unreadable, seal, unseal

# A model and the name of its column; empty ones hold no secret.
SealedColumn = tuple[type[Model], str]

sealed_columns: list[SealedColumn] = []


def add_sealed(added: Iterable[SealedColumn]) -> None:
    """Register columns; a second time changes nothing."""
    sealed_columns.extend(column for column in added if column not in sealed_columns)


@dataclass(frozen=True, slots=True)
class Resealed:
    """How many secrets there are, and how many of them none of the keys opens."""

    count: int
    unread: int


def reseal_all() -> Resealed:
    """Seal every secret with the first of ENCRYPTION_KEYS; what none of the keys opens stays as it is."""
    results = [reseal_column(model, name) for model, name in sealed_columns]
    return Resealed(sum(item.count for item in results), sum(item.unread for item in results))


def reseal_column(model: type[Model], name: str) -> Resealed:
    """The same for one column."""
    count, unread = 0, 0
    rows = model._base_manager.exclude(**{name: ""})
    for key, sealed in rows.values_list("pk", name).iterator():
        count += 1
        try:
            anew = seal(unseal(sealed))
        except Unreadable:
            unread += 1
            continue
        # Where it has been changed meanwhile, that was sealed with the first key already.
        rows.filter(**{"pk": key, name: sealed}).update(**{name: anew})
    return Resealed(count, unread)
