"""Has the evaluator's own rules judge what a batch holds of problems, as of the time they would have been found."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from jobs.demo.seeding.batches import Batch, category_of, expected_problem
from jobs.demo.seeding.stories import JobStory, WorkflowStory
from jobs.evaluator.rules import Units
from jobs.evaluator.runs import Model, verdicts_of
from jobs.models import Job, Workflow
from jobs.models.rollups import Measure
from jobs.statements import batch as batch_of
from jobs.statements import run

SQL = Path(__file__).parent / "sql"


def judge_batch(batch: Batch) -> None:
    """Judge the units of a batch that the evaluator has come to, and count what it said."""
    alone = [job for job in batch.jobs if job.workflow is None]
    _judge_problems(batch, Workflow, batch.workflows)
    _judge_problems(batch, Job, alone)
    units: list[JobStory | WorkflowStory] = [*batch.workflows, *alone]
    for unit in units:
        if at := batch.evaluated_at(unit):
            problem = expected_problem(unit)
            category = category_of(problem)
            batch.verdicts[at, category, problem] += 1
            batch.count(batch.tenant_of(unit).id, Measure.EVALUATED, category, problem, at)


def _judge_problems(batch: Batch, model: Model, units: Sequence[JobStory | WorkflowStory]) -> None:
    """Write what the rules say; the rest was written as complete. Raises where they say something unexpected."""
    at: dict[UUID, datetime] = {}
    expected: dict[UUID, str] = {}
    for unit in units:
        if (judged_at := batch.evaluated_at(unit)) and (problem := expected_problem(unit)):
            at[unit.id], expected[unit.id] = judged_at, problem
    if not at:
        return
    verdicts: list[dict[str, Any]] = [
        {**verdict, "evaluated_at": at[verdict["id"]]}
        for verdict in verdicts_of(Units(model=model, ids=list(at)))
    ]
    found = {verdict["id"]: str(verdict["problem_type"]) for verdict in verdicts}
    if found != expected:
        differing = [key for key in expected if found.get(key) != expected[key]]
        raise AssertionError(
            f"{model.__name__} {differing[0]} is {found.get(differing[0])}, not {expected[differing[0]]}."
        )
    run(
        "judge_seeded_jobs" if model is Job else "judge_seeded_workflows",
        {"verdicts": batch_of(verdicts)},
        folder=SQL,
    )
