"""Where base64 may lie from before it was kept out: the registry of stores.

An app registers its own where it gets ready:

    add_stores([Store(model=Report, columns={"content": sanitize_base64})])
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Model

from jobs.hygiene.sanitizer import sanitize_base64

# Cleans the value of a column; the same object where it is clean.
Clean = Callable[[Any], Any]
# Writes the columns of a row that changed: (key, before, after); whether it did.
Write = Callable[[Any, Mapping[str, Any], Mapping[str, Any]], bool]

clean_texts: Clean = functools.partial(sanitize_base64, in_words=True)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Store:
    """A table with documents or texts in some columns; `condition` is SQL, for the rows that may be touched."""

    model: type[Model]
    columns: Mapping[str, Clean]
    condition: str = "true"
    write: Write | None = None

    @property
    def table(self) -> str:
        return self.model._meta.db_table

    def write_row(self, key: Any, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
        """Store what has changed of a row, locked by the caller."""
        if self.write:
            return self.write(key, before, after)
        return bool(self.model._base_manager.filter(pk=key).update(**after))


stores: list[Store] = []


def add_stores(added: Iterable[Store]) -> None:
    """Register stores; a second time changes nothing."""
    stores.extend(store for store in added if store not in stores)
