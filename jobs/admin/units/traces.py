"""What belongs to one trace: the lists of its page, to which each floor adds its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from jobs.admin.displays import copyable

ROWS_MAX = 50
SEARCHED_ROWS = 20_000
TRACE_ID = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, kw_only=True)
class Trace:
    """A trace, and the keys of the workflows and jobs that this account may see of it."""

    trace_id: str
    workflows: Sequence[UUID]
    jobs: Sequence[UUID]


@dataclass(frozen=True, kw_only=True)
class TracePart:
    """A list on the page of a trace; `rows` as templates/admin/parts/rows.html takes them, one more than is shown."""

    title: str
    rows: Sequence[dict[str, Any]]

    @property
    def shown(self) -> Sequence[dict[str, Any]]:
        return self.rows[:ROWS_MAX]

    @property
    def has_more(self) -> bool:
        return len(self.rows) > ROWS_MAX


def traced(trace_id: str) -> SafeString | None:
    """A trace id that leads to all that is of it, with a button that copies it."""
    if not TRACE_ID.fullmatch(trace_id):
        return copyable(trace_id)
    return render_to_string("admin/cells/trace.html", {"text": trace_id})


def lately(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Only the newest SEARCHED_ROWS of their table: bounds a search for a trace where no index has it."""
    keys = rows.model._default_manager.order_by("-pk").values_list("pk", flat=True)
    edge: Iterable[Any] = keys[SEARCHED_ROWS : SEARCHED_ROWS + 1]
    for oldest in edge:
        return rows.filter(pk__gt=oldest)
    return rows
