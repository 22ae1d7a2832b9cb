"""The page of a trace: all that came of one request, wherever it went."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from config.admin import monitor_page
from jobs.admin.access.scoping import scoped
from jobs.admin.displays import badge, copyable, moment, page_url, titled
from jobs.admin.sections import trace_parts
from jobs.admin.units.traces import ROWS_MAX, SEARCHED_ROWS, TRACE_ID, Trace, TracePart, lately
from jobs.models import Job, Workflow

FINAL = (Job.Status.COMPLETED, Job.Status.FAILED, Job.Status.CANCELLED)


@monitor_page("trace/<str:trace_id>/", name="trace")
def trace_page(request: HttpRequest, trace_id: str) -> HttpResponse:
    """Everything of a trace that this account may see, each kind bounded."""
    if not TRACE_ID.fullmatch(trace_id):
        raise Http404
    if not (_may_see(request, Workflow) or _may_see(request, Job)):
        raise PermissionDenied
    workflows = _workflows_of(request, trace_id)
    jobs = _jobs_of(request, trace_id, workflows)
    trace = Trace(
        trace_id=trace_id,
        workflows=[workflow.pk for workflow in workflows],
        jobs=[job.pk for job in jobs],
    )
    own = [
        TracePart(title="Workflows", rows=[_row_of_workflow(workflow) for workflow in workflows]),
        TracePart(title="Jobs", rows=[_row_of_job(job) for job in jobs]),
    ]
    others = [part(request, trace) for part in trace_parts]
    context = {
        **admin.site.each_context(request),
        "title": "Trace",
        "trace_id": copyable(trace_id),
        "parts": [part for part in [*own, *others] if part and part.rows],
        "rows_max": ROWS_MAX,
        "searched": f"{SEARCHED_ROWS:,}",
    }
    return TemplateResponse(request, "admin/jobs/trace.html", context)


def _may_see(request: HttpRequest, model: type[Model]) -> bool:
    may: bool = admin.site.get_model_admin(model).has_view_or_change_permission(request)
    return may


def _workflows_of(request: HttpRequest, trace_id: str) -> list[Workflow]:
    if not _may_see(request, Workflow):
        return []
    rows = scoped(Workflow.objects.filter(trace_id=trace_id), request.user)
    known = rows.only("workflow_id", "kind", "status", "created_at", "tenant_id")
    return list(known.order_by("pk")[: ROWS_MAX + 1])


def _jobs_of(request: HttpRequest, trace_id: str, workflows: list[Workflow]) -> list[Job]:
    """Those that have ended, by their index; those that live by their workflow, or among the newest."""
    if not _may_see(request, Job):
        return []
    ended = Job.objects.filter(trace_id=trace_id, status__in=FINAL)
    steps = Job.objects.filter(workflow__in=workflows, status__in=Job.LIVE)
    others = lately(Job.objects.filter(trace_id=trace_id, status__in=Job.LIVE, workflow=None))
    found = {job.pk: job for rows in (ended, steps, others) for job in _first(request, rows)}
    return sorted(found.values(), key=lambda job: job.pk)[: ROWS_MAX + 1]


def _first(request: HttpRequest, rows: QuerySet[Job]) -> QuerySet[Job]:
    known = scoped(rows, request.user).only(
        "kind", "service_required", "step_name", "status", "created_at", "tenant_id"
    )
    return known.order_by("pk")[: ROWS_MAX + 1]


def _row_of_workflow(workflow: Workflow) -> dict[str, Any]:
    return {
        "url": page_url(workflow),
        "title": titled(workflow.workflow_id, workflow.kind),
        "badge": badge(workflow.status),
        "at": moment(workflow.created_at),
    }


def _row_of_job(job: Job) -> dict[str, Any]:
    name = f"{job.name} · {job.step_name}" if job.step_name else job.name
    return {
        "url": page_url(job),
        "title": titled(name, str(job.pk)),
        "badge": badge(job.status),
        "at": moment(job.created_at),
    }
