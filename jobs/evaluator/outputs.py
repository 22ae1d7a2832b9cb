"""Outputs whose name does not prove their type: looks at them, keeps what was seen, and says which are mistyped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

from django.conf import settings
from psycopg.types.json import Jsonb

from jobs.content_types import ALIASES, BY_NAME, extension_of_url, plain_type
from jobs.evaluator.looks import Failures, Look, Wanted, look_at
from jobs.evaluator.output_types import Claims, Verdict, judge
from jobs.evaluator.rules import TOO_EARLY, Finding, Units
from jobs.models import ProblemType, Workflow
from jobs.models.evaluations import OutputCheck
from jobs.statements import batch, run

TRIES_MAX = 3  # each in another run
WAITS_MAX_SECONDS = 3_600  # from its end on; then a workflow is judged by what is known of its outputs
# The first of one workflow. What comes after them is trusted: a result may name thousands.
LOOKED_AT_MAX = 20
# Types are not looked for in larger results, and longer addresses are nobody's.
RESULT_BYTES_MAX = 32 * 1024
URL_CHARS_MAX = 4_096
URL_CHARS_SHOWN = 300
DETAIL_CHARS = 500

Status = OutputCheck.Status
# Names that are trusted. `.bin` says nothing: it is what files are called whose type nobody knew.
TRUSTED = {extension: type_ for extension, type_ in BY_NAME.items() if extension != ".bin"}


def check_outputs(
    workflow_ids: Sequence[UUID], *, budget_seconds: float, failures: Failures | None = None
) -> None:
    """Look at the suspect outputs of completed workflows, and note each of them for find_mistyped().

    Takes `budget_seconds` for looking; what it did not get to is noted as that, and left for the next run. `failures`
    of hosts are kept from one call of a run to the next. Speaks to the network: not to be called inside a transaction.
    """
    checks = _retried_checks(workflow_ids)  # before the outputs are: what is completed now is completed then
    suspects = [row for row in _find_suspects(workflow_ids) if row.status != Status.MATCHES]
    in_turn = sorted(suspects, key=lambda row: (row.tries, row.nth))
    looks = look_at(
        [Wanted(row.tenant_id, row.url) for row in in_turn],
        seconds=budget_seconds,
        failures=Counter() if failures is None else failures,
    )
    for row in suspects:
        look = looks.get(Wanted(row.tenant_id, row.url))
        check = _unseen_check(row) if look is None else _check(row, look)
        checks += [check] if check else []
    if checks:
        run("note_output_checks", {"checks": batch(checks)})


def find_mistyped(units: Units) -> Iterable[Finding]:
    """Workflows with an output that is not what it is said to be, or is not there any more."""
    if units.model is not Workflow:
        return
    params = {"tries_max": TRIES_MAX, "waits_max": WAITS_MAX_SECONDS, "url_chars": URL_CHARS_SHOWN}
    rows = run("find_mistyped", {"ids": list(units.ids), **params})
    for _, of_one in groupby(rows, key=attrgetter("id")):
        yield from _findings({row.finding: row for row in of_one})


def _find_suspects(workflow_ids: Sequence[UUID]) -> list[Any]:
    """Rows of find_suspect_outputs.sql, those of one workflow together."""
    return run(
        "find_suspect_outputs",
        {
            "ids": list(workflow_ids),
            "trusted": Jsonb(TRUSTED),
            "aliases": Jsonb(ALIASES),
            "places": Jsonb({"last": LOOKED_AT_MAX - 1}),
            "result_bytes": RESULT_BYTES_MAX,
            "url_chars": URL_CHARS_MAX,
            "waits_max": WAITS_MAX_SECONDS,
        },
    )


def _retried_checks(workflow_ids: Sequence[UUID]) -> list[dict[str, Any]]:
    """That these were seen, suspect outputs or not: one that failed may complete before it is judged, unseen."""
    return [
        _row(row.id, row.run, "", Verdict(status=Status.MATCHES), tries=0)
        for row in run("find_retried", {"ids": list(workflow_ids)})
    ]


def _unseen_check(row: Any) -> dict[str, Any] | None:
    """What to note of an output that was not looked at; None where what was noted before stays."""
    is_undecided = row.status is None or (row.status == Status.UNREACHABLE and row.tries < TRIES_MAX)
    if row.is_old and is_undecided:
        return _row(row.id, row.run, row.url, _judge(row, Look(obstacle="no_time")), tries=TRIES_MAX)
    if row.status is None:
        verdict = Verdict(status=Status.UNREACHABLE, detail="was not looked at yet")
        return _row(row.id, row.run, row.url, verdict, tries=0)
    return None


def _check(row: Any, look: Look) -> dict[str, Any] | None:
    """What to note of an output that was looked at; None where what was noted before stays."""
    tries = min(row.tries + 1, TRIES_MAX)
    is_last = row.is_old or tries == TRIES_MAX or not look.is_passing
    if look.obstacle and _is_problem(row):
        return None  # seen then, not now: its workflow has been reopened
    if look.absence:
        verdict = Verdict(status=Status.ABSENT, detail=look.absence)
    elif look.is_passing and not is_last:
        verdict = Verdict(status=Status.UNREACHABLE, detail=f"could not be looked at: {look.obstacle}")
    else:
        verdict = _judge(row, look)
    return _row(row.id, row.run, row.url, verdict, tries=TRIES_MAX if is_last else tries)


def _is_problem(row: Any) -> bool:
    """Whether a row of find_suspect_outputs.sql is one that a workflow has been judged by."""
    is_settled: bool = row.is_old or row.tries >= TRIES_MAX
    return is_settled if row.status == Status.ABSENT else bool(row.status == Status.MISMATCH)


def _judge(row: Any, look: Look) -> Verdict:
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


def _row(workflow_id: UUID, workflow_run: int, url: str, verdict: Verdict, *, tries: int) -> dict[str, Any]:
    """A row of note_output_checks.sql."""
    return {
        "workflow_id": workflow_id,
        "workflow_run": workflow_run,
        "url": url,
        "status": verdict.status,
        "content_type": verdict.content_type,
        "source": verdict.source,
        "declared_type": verdict.declared_type,
        "detail": verdict.detail[:DETAIL_CHARS],
        "tries": tries,
    }


def _findings(rows: dict[str, Any]) -> list[Finding]:
    """What the checks of one workflow come to: rows of find_mistyped.sql by their finding."""
    found = []
    if row := rows.get("mismatch"):
        found.append(_finding(ProblemType.CONTENT_TYPE_MISMATCH, row, _advice_on_type(row)))
    if row := rows.get("absent"):
        found.append(_finding(ProblemType.MISSING_OUTPUT, row, _advice_on_absence(row)))
    if not found:
        found.append(Finding(unit_id=rows["open"].id, problem_type=TOO_EARLY))
    return found


def _finding(problem: ProblemType, row: Any, what_to_do: Sequence[str]) -> Finding:
    url = row.url if len(row.url) <= URL_CHARS_SHOWN else row.url[:URL_CHARS_SHOWN] + "…"
    where = {
        "workflow_id": row.workflow_id,
        "run": row.run,
        "url": url,
        "found": row.content_type,
        "found_by": row.source,
        "declared": row.declared_type,
        "others": row.others,
    }
    more = f" So it is with {row.others} more of its outputs." if row.others else ""
    return Finding(
        unit_id=row.id,
        problem_type=problem,
        missing=f"{url} {row.detail}.{more}",
        where={name: value for name, value in where.items() if value},
        since=row.ended_at,
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
        "Put the file back at its address; an operator then has it looked at anew by"
        " manage.py evaluate_jobs --again missing_output.",
        f"If it never was there, mend the worker of {row.service!r}: it is to answer when its file is stored.",
        "Then submit the request again: a completed workflow is not run again.",
    ]
