"""Evaluates, and says what became of one unit."""

from __future__ import annotations

from typing import Any

from jobs.evaluator.runs import evaluate
from tests.units import (
    Unit,
)


def verdict(unit: Unit) -> tuple[str, str]:
    """Evaluate, and say what became of this unit; blank where it is too early to say."""
    evaluate()
    unit.refresh_from_db()
    assert unit.is_cleanup_evaluated == bool(unit.status_category)
    assert (unit.evaluated_at is not None) == unit.is_cleanup_evaluated
    return unit.status_category, unit.problem_type


def details(unit: Unit) -> dict[str, Any]:
    assert unit.problem_details is not None
    assert unit.problem_details["missing"]
    assert unit.problem_details["what_to_do"]
    assert unit.problem_details["since"]
    found: dict[str, Any] = unit.problem_details
    return found
