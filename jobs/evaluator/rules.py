"""The registry of rules: each says what is wrong with some units of work, in as many statements for one as for many.

A unit is a workflow, or a job outside one. A rule of an upper floor is registered where its app gets ready:

    @rule
    def find_untold(units: Units) -> Iterable[Finding]: ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from jobs.models import Job, ProblemType, Workflow

# Not a problem yet: the unit is left for a later run.
TOO_EARLY = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """Units of one model, all of one chunk, locked by the caller."""

    model: type[Workflow] | type[Job]
    ids: Sequence[UUID]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a rule says of one unit: a problem, in words that a tired person can act on, or TOO_EARLY."""

    unit_id: UUID
    problem_type: ProblemType | str
    missing: str = ""  # a sentence: what is not there, or went wrong
    where: dict[str, Any] = field(
        default_factory=dict
    )  # ids and names: job, step, attempt, worker, delivery …
    since: datetime | None = None
    what_to_do: Sequence[str] = ()

    @property
    def details(self) -> dict[str, Any]:
        """The `problem_details` of a unit."""
        return {
            "missing": self.missing,
            "where": self.where,
            "since": self.since.isoformat() if self.since else None,
            "what_to_do": list(self.what_to_do),
        }


Rule = Callable[[Units], Iterable[Finding]]
rules: list[Rule] = []


def rule(function: Rule) -> Rule:
    """Register a rule; a second time changes nothing."""
    if function not in rules:
        rules.append(function)
    return function
