"""Writes counts, in the transaction of what they count."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from jobs.statements import batch, run


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """That something happened `count` times: `measure` is a Measure, which says what `name` and `key` are.

    `scope` is the tenant's key, or PLATFORM; `details` are what the ErrorGroup of an error says.
    """

    scope: UUID
    measure: str
    name: str
    key: str = ""
    count: int = 1
    details: dict[str, Any] | None = None


def write_counts(counts: Iterable[Count]) -> None:
    """Note counts, those of the same as one, by one statement; of their details the last stay."""
    sums: dict[tuple[UUID, str, str, str], int] = {}
    details: dict[tuple[UUID, str, str, str], dict[str, Any]] = {}
    for count in counts:
        what = (count.scope, count.measure, count.name, count.key)
        sums[what] = sums.get(what, 0) + count.count
        if count.details is not None:
            details[what] = count.details
    if sums:
        run(
            "insert_tallies",
            {"tallies": batch([_row(*what, sums[what], details.get(what)) for what in sums])},
        )


def _row(
    scope: UUID, measure: str, name: str, key: str, count: int, details: dict[str, Any] | None
) -> dict[str, Any]:
    """A count as insert_tallies.sql reads it."""
    return {
        "scope": scope,
        "measure": measure,
        "name": name,
        "key": key,
        "count": count,
        "details": details,
    }
