"""Runs of the evaluator, and what it says of a unit in words."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from jobs.admin.displays import badge, moment, span, titled
from jobs.admin.records import RecordAdmin
from jobs.models import EvaluationRun, Job, StatusCategory, Workflow


@admin.register(EvaluationRun)
class EvaluationRunAdmin(RecordAdmin):
    tenant_path = ""
    list_display = ["what", "started", "took", "evaluated", "complete", "filed", "incomplete", "waiting"]
    list_display_links = ["what"]
    search_fields = ["id"]
    search_help_text = "Number of a run"

    def find(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        # No longer than a bigint can be; anything else names no run.
        return rows.filter(pk=int(term)) if term.isdecimal() and len(term) < 19 else rows.none()

    @admin.display(description="Run")
    def what(self, run: EvaluationRun) -> SafeString:
        return titled(f"Run {run.pk}", ", ".join(run.problems) or "no new problems")

    @admin.display(description="Started")
    def started(self, run: EvaluationRun) -> SafeString | None:
        return moment(run.started_at)

    @admin.display(description="Took", empty_value="not finished")
    def took(self, run: EvaluationRun) -> str | None:
        return span(timedelta(milliseconds=run.duration_ms)) if run.duration_ms is not None else None

    @admin.display(description="Evaluated")
    def evaluated(self, run: EvaluationRun) -> str:
        return f"{run.evaluated_count:,}"

    @admin.display(description="Complete")
    def complete(self, run: EvaluationRun) -> str:
        return f"{run.categories.get(StatusCategory.COMPLETE, 0):,}"

    @admin.display(description="Filed")
    def filed(self, run: EvaluationRun) -> str:
        return f"{run.categories.get(StatusCategory.FILED, 0):,}"

    @admin.display(description="Incomplete")
    def incomplete(self, run: EvaluationRun) -> str:
        return f"{run.categories.get(StatusCategory.INCOMPLETE, 0):,}"

    @admin.display(description="Too early")
    def waiting(self, run: EvaluationRun) -> str:
        return f"{run.waiting_count:,}"

    def page(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        run: EvaluationRun = record
        facts = [
            ("Started", moment(run.started_at)),
            ("Finished", moment(run.finished_at) or "not finished: it runs, or was cut off"),
            ("Took", self.took(run) or "–"),
            ("Evaluated", self.evaluated(run)),
            ("Too early to say", self.waiting(run)),
        ]
        return {
            "heading": f"Run {run.pk}",
            "facts": facts,
            "categories": [(badge(name), f"{count:,}") for name, count in sorted(run.categories.items())],
            "problems": [_problem_row(name, count) for name, count in sorted(run.problems.items())],
        }


def _problem_row(problem: str, count: int) -> dict[str, Any]:
    """A problem type with where its units are listed."""
    asked = urlencode({"problem_type": problem})
    return {
        "name": problem.replace("_", " "),
        "count": f"{count:,}",
        "workflows": f"{reverse('admin:jobs_workflow_changelist')}?{asked}",
        "jobs": f"{reverse('admin:jobs_job_changelist')}?{asked}",
    }


def verdict_of(unit: Workflow | Job) -> dict[str, Any] | None:
    """What is wrong with a unit, for templates/admin/parts/verdict.html; None where nothing is."""
    details = unit.problem_details
    if not unit.problem_type or not isinstance(details, dict):
        return None
    known = [
        ("since", _time_in(details.get("since"))),
        ("evaluated", unit.evaluated_at),
    ]
    return {
        "badge": badge(unit.status_category),
        "problem": unit.problem_type.replace("_", " ").capitalize(),
        "missing": details.get("missing", ""),
        "times": format_html_join(" · ", "{} {}", [(name, moment(at)) for name, at in known if at]),
        "what_to_do": _texts_in(details.get("what_to_do")),
        "also": [word.replace("_", " ") for word in _texts_in(details.get("also"))],
    }


def _time_in(value: Any) -> datetime | None:
    """A time as it is stored; None where it is none, or nobody says of which zone."""
    try:
        at = parse_datetime(value) if isinstance(value, str) else None
    except ValueError:  # of the right shape, but there is no such day
        return None
    return at if at and at.tzinfo else None


def _texts_in(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
