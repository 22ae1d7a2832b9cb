"""A run of the evaluator: says of all work that has ended, or should have, whether it is truly done.

Each chunk is a transaction of its own that locks its units, and passes over what somebody else is at: two runs at
once share the work, and a run that is cut off has lost nothing.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from jobs.evaluator.alerts import tell_problems
from jobs.evaluator.looks import Failures
from jobs.evaluator.outputs import check_outputs
from jobs.evaluator.overdue import Servers, describe_overdue, find_overdue
from jobs.evaluator.rules import TOO_EARLY, Finding, Units, rules
from jobs.models import EvaluationRun, Job, Measure, ProblemType, StatusCategory, Workflow
from jobs.models.evaluation import CATEGORIES, NOT_EVALUATED
from jobs.models.jobs import PLATFORM
from jobs.rollups.counting import Count, write_counts
from jobs.statements import AWAY, batch, run

logger = logging.getLogger(__name__)

Model = type[Workflow] | type[Job]
MODELS: tuple[Model, ...] = (Workflow, Job)
CHUNK = 2_000
# Live units are read in large pages and locked few at a time: claims pass over them meanwhile.
OVERDUE_PAGE = 20_000
OVERDUE_CHUNK = 200
FIRST = UUID(int=0)
NAMED_MAX = 20  # units that an alert names
# How long the files of outputs are looked at in one run, and for one chunk; what is left has its turn in the next. No
# chunk takes more than its share of what is left, so that the last ones have some of it.
LOOK_SECONDS = 120.0
LOOK_SECONDS_OF_CHUNK = 30.0
LOOK_SHARE_OF_CHUNK = 0.25

_WEIGHT = {problem: place for place, problem in enumerate(CATEGORIES)}


class NotEvaluated(Exception):
    """Some units can't be judged; they are tried again by the next run."""


@dataclass(slots=True)
class Tally:
    """What a run has said so far, in units."""

    categories: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    failed: int = 0

    def add(self, rows: Sequence[Any]) -> None:
        self.categories.update(row.status_category for row in rows)
        self.problems.update(row.problem_type for row in rows if row.problem_type)


def evaluate(*, chunk: int = CHUNK) -> EvaluationRun:
    """Judge every unit that has ended or is overdue and was not looked at since; the record of the run.

    Raises NotEvaluated, with all else done, where some rule fails for some of them.
    """
    record = EvaluationRun.objects.create()
    record.refresh_from_db()
    tally, looks_until = Tally(), time.monotonic() + LOOK_SECONDS
    for model in MODELS:
        for ids in _chunks(model, chunk, looks_until):
            _judge_each(model, ids, tally)
        _judge_overdue(model, tally)
        _save(record, tally)
    tell_problems()
    _save(record, tally, finished_at=Now())
    record.refresh_from_db()
    logger.info("evaluated", extra={"units": record.evaluated_count, "problems": record.problems})
    if tally.failed:
        raise NotEvaluated(f"{tally.failed} unit(s) could not be judged; the log says why. All others were.")
    return record


def reopen(problem: ProblemType) -> int:
    """Have all units with a problem evaluated anew, which no change of theirs would bring about; how many."""
    return sum(model.objects.filter(problem_type=problem).update(**NOT_EVALUATED) for model in MODELS)


def _save(record: EvaluationRun, tally: Tally, **fields: Any) -> None:
    EvaluationRun.objects.filter(pk=record.pk).update(
        evaluated_count=tally.categories.total(),
        waiting_count=tally.waiting,
        categories=dict(tally.categories),
        problems=dict(tally.problems),
        **fields,
    )


def _to_evaluate(model: Model) -> QuerySet[Any]:
    """The units that have ended and were not looked at since; words as the partial indexes have them."""
    outside: dict[str, Any] = {"workflow__isnull": True} if model is Job else {}
    ended = ["completed", "failed", "cancelled"]
    return model.objects.filter(is_cleanup_evaluated=False, status__in=ended, **outside)


def _chunks(model: Model, size: int, looks_until: float) -> Iterator[list[UUID]]:
    """The units to evaluate, `size` at a time, and no others: of these the outputs have been looked at.

    By id, so that what is too early to judge, and stays, does not come again in the same run.
    """
    after, failures = FIRST, Failures()
    while ids := list(
        _to_evaluate(model).filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)[:size]
    ):
        if model is Workflow:  # with no time left as well: then it notes what was not looked at
            seconds = max(looks_until - time.monotonic(), 0.0) * LOOK_SHARE_OF_CHUNK
            check_outputs(ids, budget_seconds=min(seconds, LOOK_SECONDS_OF_CHUNK), failures=failures)
        yield ids
        after = ids[-1]


def _judge_each(model: Model, ids: Sequence[UUID], tally: Tally) -> None:
    """Judge these together; where that fails, in halves, until what can't be judged stands alone and is left."""
    try:
        _judge_ended(model, ids, tally)
    except AWAY:
        raise  # nothing is wrong with the units
    except Exception:
        if len(ids) == 1:
            tally.failed += 1
            logger.exception("unit not evaluated", extra={"unit": f"{model.__name__} {ids[0]}"})
            return
        middle = len(ids) // 2
        _judge_each(model, ids[:middle], tally)
        _judge_each(model, ids[middle:], tally)


def _judge_ended(model: Model, ids: Sequence[UUID], tally: Tally) -> None:
    with transaction.atomic():
        mine = _to_evaluate(model).filter(pk__in=ids).order_by("pk")
        locked = mine.select_for_update(no_key=True, skip_locked=True, of=("self",))
        units = Units(model=model, ids=list(locked.values_list("pk", flat=True)))
        found = _findings(units)
        waiting = {key for key, findings in found.items() if _is_too_early(findings)}
        ready = [key for key in units.ids if key not in waiting]
        rows = _judge(model, ready, [_verdict(found[key]) for key in ready if key in found])
    tally.waiting += len(waiting)
    tally.add(rows)


def _findings(units: Units) -> dict[UUID, list[Finding]]:
    """What all rules say of these units; those that none speaks of are complete."""
    found: dict[UUID, list[Finding]] = defaultdict(list)
    for rule in rules:
        for finding in rule(units):
            found[finding.unit_id].append(finding)
    return found


def verdicts_of(units: Units) -> list[dict[str, Any]]:
    """What all rules say of these units, as rows of judge_*.sql: nothing of those that are complete or to wait."""
    found = _findings(units).values()
    return [_verdict(findings) for findings in found if not _is_too_early(findings)]


def _is_too_early(findings: Iterable[Finding]) -> bool:
    """Whether to wait: something is still to be seen, and nothing has been that no waiting would mend."""
    problems = {finding.problem_type for finding in findings}
    return TOO_EARLY in problems and all(
        problem == TOO_EARLY or CATEGORIES[ProblemType(problem)] == StatusCategory.FILED
        for problem in problems
    )


def _verdict(findings: Iterable[Finding]) -> dict[str, Any]:
    """The weightiest of a unit's problems as a row of judge_*.sql; the others are named in its details."""
    problems = [finding for finding in findings if finding.problem_type != TOO_EARLY]
    first, *others = sorted(problems, key=lambda finding: _WEIGHT[ProblemType(finding.problem_type)])
    also = list(dict.fromkeys(other.problem_type for other in others))
    return {
        "id": first.unit_id,
        "category": CATEGORIES[ProblemType(first.problem_type)],
        "problem_type": first.problem_type,
        "details": first.details | ({"also": also} if also else {}),
    }


def _judge(
    model: Model, ids: Sequence[UUID], verdicts: Sequence[dict[str, Any]], *, known: Collection[UUID] = ()
) -> list[Any]:
    """Store what is said of these units, which are locked, and whom to tell of their problems (but of those `known`)."""
    if not ids:
        return []
    name = "judge_jobs" if model is Job else "judge_workflows"
    rows = run(name, {"ids": list(ids), "verdicts": batch(verdicts)})
    new = [row for row in rows if row.id not in known]
    _note_problems(model, [row for row in new if row.problem_type])
    write_counts(
        Count(
            scope=row.tenant_id or PLATFORM,
            measure=Measure.EVALUATED,
            name=row.status_category,
            key=row.problem_type,
        )
        for row in new
    )
    return rows


def _note_problems(model: Model, rows: Sequence[Any]) -> None:
    names: dict[tuple[UUID | None, str], list[str]] = defaultdict(list)
    for row in rows:
        names[row.tenant_id, row.problem_type].append(row.name)
    column, other = ("job_ids", "workflow_ids") if model is Job else ("workflow_ids", "job_ids")
    problems = [
        {
            "tenant_id": tenant,
            "problem_type": problem,
            "count": len(named),
            column: named[:NAMED_MAX],
            other: [],
        }
        for (tenant, problem), named in names.items()
    ]
    if problems:
        run("note_problems", {"problems": batch(problems)})


def _judge_overdue(model: Model, tally: Tally) -> None:
    """Judge live units that are overdue; those that were and have gone on since are judged when they end."""
    servers, after = Servers(), FIRST
    while rows := find_overdue(model, servers, after=after, limit=OVERDUE_PAGE):
        for some in _slices(rows, OVERDUE_CHUNK):
            _judge_live(model, some, tally)
        after = rows[-1].id


def _judge_live(model: Model, rows: Sequence[Any], tally: Tally) -> None:
    """Judge those of these units that are still as they were found, and that nobody is at: claims wait for nobody."""
    with transaction.atomic():
        same = {row.id: (row.status, row.attempt) if model is Job else ("running", row.run) for row in rows}
        live = (
            model.objects.filter(pk__in=same).order_by("pk").select_for_update(no_key=True, skip_locked=True)
        )
        states = {
            key: (status, attempt) for key, status, attempt in live.values_list("pk", "status", "attempt")
        }
        mine = [row for row in rows if states.get(row.id) == same[row.id]]
        overdue = [row for row in mine if row.is_overdue]
        # One that is only seen in another light is nothing new.
        known = {row.id for row in overdue if row.is_cleanup_evaluated}
        verdicts = [_verdict([describe_overdue(row)]) for row in overdue]
        tally.add(_judge(model, [row.id for row in overdue], verdicts, known=known))
        if gone_on := [row.id for row in mine if not row.is_overdue]:
            model.objects.filter(pk__in=gone_on).update(**NOT_EVALUATED)


def _slices(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (rows[first : first + size] for first in range(0, len(rows), size))
