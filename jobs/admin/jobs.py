"""Jobs: their list, their page, and the operator's verbs."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from jobs.admin.displays import badge, duration_of, moment, span, titled
from jobs.admin.filters import CreatedFilter, KindFilter, QueueFilter, ServiceFilter, TenantFilter
from jobs.admin.job_page import page_of, state_of
from jobs.admin.searches import as_uuid, named_workflows, newest
from jobs.admin.sections import job_verbs
from jobs.admin.verbs import Verb, VerbAdmin
from jobs.models import Job
from jobs.services.jobs import cancel_job, retry_job


def outcome_of_cancel(job: Job) -> str:
    if job.is_final:
        return "cancelled"
    return "asked to stop" if job.is_remote else "asked to stop at its next checkpoint"


CANCEL = Verb(
    action="cancel_jobs",
    title="Cancel",
    icon="cancel",
    question="What has not begun ends at once, with its workflow. What runs is asked to stop: a remote worker "
    "hears it with its next word, an in-house handler at its next checkpoint; one without runs to its end.",
    is_grave=True,
    takes_reason=False,
    is_offered=lambda job: not job.is_final,
    run=lambda job, by, reason: cancel_job(job, by=by),
    outcome=outcome_of_cancel,
)
RETRY = Verb(
    action="retry_jobs",
    title="Retry",
    icon="replay",
    question="Each is queued again for one attempt more; the count of attempts goes on.",
    is_offered=lambda job: job.status in (Job.Status.FAILED, Job.Status.CANCELLED),
    run=lambda job, by, reason: retry_job(job, by=by, reason=reason),
    outcome=lambda job: "queued again",
)


@admin.register(Job)
class JobAdmin(VerbAdmin):
    list_display = ["what", "state", "tenant_slug", "attempts", "held_by", "created", "took", "problem"]
    list_display_links = ["what"]
    list_filter = [
        "status",
        CreatedFilter,
        TenantFilter,
        KindFilter,
        QueueFilter,
        ServiceFilter,
        "status_category",
        "problem_type",
    ]
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
    search_help_text = "Id, workflow, trace, user, worker, kind"

    def verbs(self) -> list[Verb]:
        return [RETRY, CANCEL, *job_verbs]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        rows: QuerySet[Job] = super().get_queryset(request)
        return rows.select_related("tenant", "workflow")

    def find(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        if key := as_uuid(term):
            return rows.filter(Q(pk=key) | Q(workflow=key))
        if workflows := named_workflows(term):
            return rows.filter(workflow__in=workflows)
        return newest(rows).filter(
            Q(trace_id=term)
            | Q(request_id=term)
            | Q(actor_id=term)
            | Q(workflow__user_id=term)
            | Q(worker__startswith=term)
            | Q(kind=term)
            | Q(service_required=term)
        )

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
        return {**page_of(request, record), **self.offered(request, record)}
