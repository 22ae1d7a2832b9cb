"""Jobs: their list, their page, and the operator's verbs."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.safestring import SafeString

from jobs.admin.displays import badge, duration_of, moment, span, titled
from jobs.admin.job_page import page_of, state_of
from jobs.admin.lists.jobs import JOB_FILTERS, find_jobs
from jobs.admin.lists.scans import Scan
from jobs.admin.sections import job_verbs
from jobs.admin.units.editing import EDITABLE, edit_and_retry
from jobs.admin.verbs import Verb, VerbAdmin
from jobs.models import Job
from jobs.queue.handlers import find_handler
from jobs.services.jobs import cancel_job, retry_job
from jobs.services.operations import KIND


def outcome_of_cancel(job: Job) -> str:
    if job.is_final:
        return "cancelled"
    return "asked to stop" if job.is_remote else "asked to stop at its next checkpoint"


def own_work_of(job: Job) -> str:
    """Why a job that the platform has given itself is not cancelled with others; "" for all others."""
    handler = find_handler(job.kind)
    if handler is None or not handler.is_internal:
        return ""
    if job.kind == KIND:
        return "It is the platform's own: abort its operation instead."
    return "It is the platform's own: cancel it on its page."


CANCEL = Verb(
    action="cancel_jobs",
    word="cancel",
    title="Cancel",
    icon="cancel",
    question="What has not begun ends at once, with its workflow. What runs is asked to stop: a remote worker "
    "hears it with its next word, an in-house handler at its next checkpoint; one without runs to its end. "
    "From a list the platform's own jobs are left alone.",
    is_grave=True,
    is_offered=lambda job: not job.is_final,
    spared=own_work_of,
    run=lambda job, by, reason: cancel_job(job, by=by),
    outcome=outcome_of_cancel,
)
RETRY = Verb(
    action="retry_jobs",
    word="retry",
    title="Retry",
    icon="replay",
    question="Each is queued again for one attempt more; the count of attempts goes on.",
    is_offered=lambda job: job.status in (Job.Status.FAILED, Job.Status.CANCELLED),
    run=lambda job, by, reason: retry_job(job, by=by, reason=reason),
    outcome=lambda job: "queued again",
)


@admin.register(Job)
class JobAdmin(VerbAdmin):
    audited_fields = ("status", "attempt", "max_attempts", "cancel_requested_at")
    list_display = ["what", "state", "tenant_slug", "attempts", "held_by", "created", "took", "problem"]
    list_display_links = ["what"]
    list_filter = JOB_FILTERS
    list_empty = "The first comes with the first request to the API, or a schedule."
    export_paths = ("error__code", "error__message")
    list_deferred = (
        "payload",
        "original_payload",
        "ctx",
        "result",
        "error",
        "problem_details",
        "workflow__miniapp_req",
        "workflow__data",
        "workflow__outputs",
        "workflow__error",
        "workflow__retry_execution_data",
        "workflow__problem_details",
    )
    search_fields = ["id"]
    search_help_text = "Id, workflow, trace, user, worker, kind, or status:failed payload.prompt:castle"

    def verbs(self) -> list[Verb]:
        return [RETRY, CANCEL, *job_verbs]

    def get_urls(self) -> list[Any]:
        edit = path("<path:object_id>/edit/", self.admin_site.admin_view(self.edit), name="jobs_job_edit")
        return [edit, *super().get_urls()]

    def edit(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The page on which a job's payload is edited for its retry."""
        return edit_and_retry(self, request, object_id)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        rows: QuerySet[Job] = super().get_queryset(request)
        return rows.select_related("tenant", "workflow")

    def find(self, rows: QuerySet[Any], term: str) -> QuerySet[Any] | Scan:
        return find_jobs(rows, term)

    @admin.display(description="Job")
    def what(self, job: Job) -> SafeString:
        return titled(f"{job.name} · {job.step_name}" if job.step_name else job.name, str(job.pk))

    @admin.display(description="Status")
    def state(self, job: Job) -> SafeString:
        return badge(state_of(job))

    @admin.display(description="Tenant", empty_value="platform")
    def tenant_slug(self, job: Job) -> str | None:
        return job.tenant.slug if job.tenant else None

    @admin.display(description="Attempt")
    def attempts(self, job: Job) -> str:
        return f"{job.attempt} of {job.max_attempts}"

    @admin.display(description="Worker", empty_value="–")
    def held_by(self, job: Job) -> str | None:
        return job.worker or None

    @admin.display(description="Created")
    def created(self, job: Job) -> SafeString | None:
        return moment(job.created_at)

    @admin.display(description="Took", empty_value="–")
    def took(self, job: Job) -> str | None:
        length = duration_of(job)
        return span(length) if length is not None else None

    @admin.display(description="Problem", empty_value="–")
    def problem(self, job: Job) -> str | None:
        return job.get_problem_type_display() or None

    def page(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        may_edit = record.status in EDITABLE and self.has_operate_permission(request, record)
        return {**page_of(request, record), **self.offered(request, record), "may_edit": may_edit}
