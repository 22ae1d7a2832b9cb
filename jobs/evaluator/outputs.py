"""Outputs whose name does not prove their type: looks at them, keeps what was seen, and says which are mistyped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

from django.conf import settings
from psycopg.types.json import Jsonb

from jobs.content_types import ALIASES, BY_NAME, extension_of_url, plain_type
from jobs.evaluator.looks import Look, look_at
from jobs.evaluator.output_types import Claims, Verdict, judge
from jobs.evaluator.rules import TOO_EARLY, Finding, Units
from jobs.models import ProblemType, Workflow
from jobs.models.evaluations import OutputCheck
from jobs.statements import batch, run

TRIES_MAX = 3
# Of one workflow. What comes after them is trusted: a result may name thousands.
LOOKED_AT_MAX = 20
DETAIL_CHARS = 500
OPEN = (None, OutputCheck.Status.UNREACHABLE)  # what the next run looks at (again)

# Names that are trusted. `.bin` says nothing: it is what files are called whose type nobody knew.
TRUSTED = {extension: type_ for extension, type_ in BY_NAME.items() if extension != ".bin"}


def check_outputs(workflow_ids: Sequence[UUID], *, budget_seconds: float) -> None:
    """Look at the suspect outputs of completed workflows and keep what was seen, for find_mistyped().

    Takes `budget_seconds` at most; what it did not get to is left for the next run. Speaks to the network: not to be
    called inside a transaction.
    """
    suspects = [row for row in _find_suspects(workflow_ids) if row.status in OPEN]
    if not suspects:
        return
    # What was tried least comes first, so that hosts that don't answer hold up nobody for long.
    suspects.sort(key=lambda row: (row.tries, row.nth))
    looks = look_at([row.url for row in suspects], seconds=budget_seconds)
    checks = [_check(row, looks[row.url]) for row in suspects if row.url in looks]
    if checks:
        run("note_output_checks", {"checks": batch(checks)})


def find_mistyped(units: Units) -> Iterable[Finding]:
    """Workflows with an output that is not what it is said to be, or is not there any more."""
    if units.model is not Workflow:
        return
    rows = _find_suspects(units.ids)
    for _, outputs in groupby(rows, key=attrgetter("id")):
        yield from _findings(list(outputs))


def _find_suspects(workflow_ids: Sequence[UUID]) -> list[Any]:
    """Rows of find_suspect_outputs.sql, those of one workflow together."""
    return run(
        "find_suspect_outputs",
        {
            "ids": list(workflow_ids),
            "trusted": Jsonb(TRUSTED),
            "aliases": Jsonb(ALIASES),
            "looked_at_max": LOOKED_AT_MAX,
        },
    )


def _check(row: Any, look: Look) -> dict[str, Any]:
    """A row of note_output_checks.sql."""
    verdict = _verdict(row, look)
    return {
        "workflow_id": row.id,
        "workflow_run": row.run,
        "url": row.url,
        "status": verdict.status,
        "content_type": verdict.content_type,
        "source": verdict.source,
        "declared_type": verdict.declared_type,
        "detail": verdict.detail[:DETAIL_CHARS],
        "tries": row.tries + 1,
    }


def _verdict(row: Any, look: Look) -> Verdict:
    if look.is_absent:
        return Verdict(status=OutputCheck.Status.ABSENT, detail="is not there")
    if look.is_passing and row.tries + 1 < TRIES_MAX:
        detail = f"could not be looked at: {look.obstacle}"
        return Verdict(status=OutputCheck.Status.UNREACHABLE, detail=detail)
    extension = extension_of_url(row.url)
    return judge(
        Claims(
            signature=look.signature,
            name=BY_NAME.get(extension, ""),
            has_extension=bool(extension),
            header=look.header,
            result=plain_type(row.declared or ""),
            configured=plain_type(settings.OUTPUT_CONTENT_TYPES.get(row.service, "")),
            obstacle=look.obstacle,
        )
    )


def _findings(outputs: Sequence[Any]) -> list[Finding]:
    """What the checks of one workflow's suspect outputs come to."""
    mistyped = [row for row in outputs if row.status == OutputCheck.Status.MISMATCH]
    absent = [row for row in outputs if row.status == OutputCheck.Status.ABSENT]
    found = []
    if mistyped:
        found.append(_finding(ProblemType.CONTENT_TYPE_MISMATCH, mistyped, _advice_on_type(mistyped[0])))
    if absent:
        found.append(_finding(ProblemType.MISSING_OUTPUT, absent, _advice_on_absence(absent[0])))
    if not found and any(row.status in OPEN for row in outputs):
        found.append(Finding(unit_id=outputs[0].id, problem_type=TOO_EARLY))
    return found


def _finding(problem: ProblemType, rows: Sequence[Any], what_to_do: Sequence[str]) -> Finding:
    first, others = rows[0], len(rows) - 1
    where = {
        "workflow_id": first.workflow_id,
        "run": first.run,
        "url": first.url,
        "found": first.content_type,
        "found_by": first.source,
        "declared": first.declared_type,
        "others": others,
    }
    more = f" So it is with {others} more of its outputs." if others else ""
    return Finding(
        unit_id=first.id,
        problem_type=problem,
        missing=f"{first.url} {first.detail}.{more}",
        where={name: value for name, value in where.items() if value},
        since=first.ended_at,
        what_to_do=what_to_do,
    )


def _advice_on_type(row: Any) -> list[str]:
    worker = f"the worker of {row.service!r}"
    return [
        f"Have {worker} store its files by PUT /api/jobs/ID/artifacts/NAME, which names them by their first bytes; or"
        " give them the right extension and Content-Type where it stores them, and the same in its result.",
        f"If {row.service!r} always makes one type, name it in OUTPUT_CONTENT_TYPES.",
        "Then submit the request again: a completed workflow is not run again.",
    ]


def _advice_on_absence(row: Any) -> list[str]:
    return [
        "Put the file back at its address, or find out who has deleted it.",
        f"If it never was there, mend the worker of {row.service!r}: it is to answer when its file is stored.",
        "Then submit the request again: a completed workflow is not run again.",
    ]
