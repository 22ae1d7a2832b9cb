"""What the evaluator says of finished work, what grew against the window before, and when it last ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.urls import reverse

from jobs.admin.displays import badge, moment, page_url
from jobs.admin.overview.sight import Card, Sight
from jobs.models import EvaluationRun, Job, Measure, StatusCategory, Workflow
from jobs.rollups.reading import totals

LATE_AFTER = timedelta(minutes=15)  # it runs every 10 minutes
ROWS = 8


def verdicts_card(sight: Sight) -> Card:
    """Units by category, and problem types by how many more there are than before."""
    if not (sight.may_see(Workflow) and sight.may_see(Job)):
        return None
    before = sight.now - timedelta(seconds=sight.window.seconds)
    now_by, before_by = (
        totals(sight.scope, Measure.EVALUATED, sight.window, now=at) for at in (sight.now, before)
    )
    return {
        "categories": [
            {
                "badge": badge(category),
                "count": f"{_of_category(now_by, category):,}",
                "change": _change(_of_category(now_by, category), _of_category(before_by, category)),
            }
            for category in StatusCategory
        ],
        "problems": _problems(now_by, before_by),
    }


def _problems(
    now_by: Mapping[tuple[str, str], int], before_by: Mapping[tuple[str, str], int]
) -> list[dict[str, Any]]:
    """The types that there are, those that grew most first."""
    counts, earlier = _by_problem(now_by), _by_problem(before_by)
    grown_most = sorted(
        {*counts, *earlier}, key=lambda name: (earlier[name] - counts[name], -counts[name], name)
    )
    return [
        {
            "name": name.replace("_", " "),
            "count": f"{counts[name]:,}",
            "change": _change(counts[name], earlier[name]),
            "has_grown": counts[name] > earlier[name],
            "workflows": f"{reverse('admin:jobs_workflow_changelist')}?problem_type__exact={name}",
            "jobs": f"{reverse('admin:jobs_job_changelist')}?problem_type__exact={name}",
        }
        for name in grown_most[:ROWS]
    ]


def _by_problem(counts: Mapping[tuple[str, str], int]) -> Counter[str]:
    found: Counter[str] = Counter()
    for (_, problem), count in counts.items():
        if problem:
            found[problem] += count
    return found


def _of_category(counts: Mapping[tuple[str, str], int], category: str) -> int:
    return sum(count for (name, _), count in counts.items() if name == category)


def _change(count: int, before: int) -> str:
    """How many more or fewer than before, with the sign a reader looks for."""
    if count == before:
        return "as before"
    return f"+{count - before:,}" if count > before else f"−{before - count:,}"


def last_run(sight: Sight) -> dict[str, Any] | None:
    """The evaluator's last run; nothing for who may not see its runs."""
    if not sight.may_see(EvaluationRun):
        return None
    run = sight.last_run
    if run is None:
        return {"text": "The evaluator has not run yet.", "is_late": False}
    return {
        "url": page_url(run),
        "text": f"Run {run.pk}",
        "at": moment(run.started_at),
        "evaluated": f"{run.evaluated_count:,}",
        "is_finished": run.finished_at is not None,
        "is_late": is_late(run, sight.now),
    }


def is_late(run: EvaluationRun, now: datetime) -> bool:
    return now - run.started_at > LATE_AFTER
