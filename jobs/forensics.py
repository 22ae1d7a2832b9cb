"""One timeline of a workflow, from its user's request to its evaluation.

Each floor knows some of what happened and registers a source of it; what they tell is put into one order here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from jobs.models import Workflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that happened: `type` for machines, `title` for people, `data` what else is known of it."""

    at: datetime
    type: str
    title: str
    duration_ms: int | None = None  # how long it had taken by then
    job_id: UUID | None = None
    step: str = ""
    attempt: int | None = None
    data: dict[str, Any] = field(default_factory=dict)


TimelineSource = Callable[[Workflow], Iterable[Moment]]
sources: list[TimelineSource] = []


def timeline_source(function: TimelineSource) -> TimelineSource:
    """Register a source; a second time changes nothing."""
    if function not in sources:
        sources.append(function)
    return function
