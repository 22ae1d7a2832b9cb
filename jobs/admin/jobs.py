"""Jobs: their list, their page, and the operator's verbs."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from jobs.admin.displays import badge, copyable, duration_of, link, moment, span, titled, words
from jobs.admin.documents import document
from jobs.admin.evaluations import verdict_of
from jobs.admin.events import story_of
from jobs.admin.filters import CreatedFilter, KindFilter, QueueFilter, ServiceFilter, TenantFilter
from jobs.admin.outputs import outputs
from jobs.admin.searches import as_uuid, named_workflows, newest
from jobs.admin.sections import job_sections, job_verbs
from jobs.admin.verbs import Verb, VerbAdmin
from jobs.models import Job, Queue
from jobs.services.jobs import cancel_job, retry_job
from jobs.workflows.advance import outputs_of

SHOWN_ELSEWHERE = {"miniapp_req", "workflow_id"}  # of a job's ctx


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
        job: Job = record
        documents = [
            document("Request", _as_dict(job.ctx).get("miniapp_req")),
            document("Payload", job.payload),
            document("Result", job.result),
        ]
        others = {key: value for key, value in _as_dict(job.ctx).items() if key not in SHOWN_ELSEWHERE}
        more = [
            document("Payload before it was edited", job.original_payload),
            document("Other context", others),
            document("Problem", job.problem_details),
        ]
        return {
            "job": job,
            "badges": [badge(word) for word in [state_of(job), *remarks_on(job)]],
            "facts": facts_of(job),
            "verdict": verdict_of(job),
            "documents": documents + [extra for extra in more if not extra.is_empty],
            "outputs": outputs(outputs_of(job.result)),
            "story": story_of(job.events.order_by("-id")),
            "sections": [section(request, job) for section in job_sections],
            **self.offered(request, job),
        }


def state_of(job: Job) -> str:
    """A job's status; a running one that is asked to stop is shown so."""
    is_stopping = job.status == Job.Status.RUNNING and job.cancel_requested_at is not None
    return "cancelling" if is_stopping else job.status


def remarks_on(job: Job) -> list[str]:
    """What else is worth a badge: why it does not begin, and what the evaluator made of it."""
    its_queue = Queue.objects.filter(name=job.queue, is_remote=job.is_remote, paused_at__isnull=False)
    remarks = ["queue paused"] if job.status == Job.Status.QUEUED and its_queue.exists() else []
    return remarks + ([job.status_category] if job.status_category else [])


def facts_of(job: Job) -> list[tuple[str, Any]]:
    """What stands at the top of a job's page; what is not known is left out."""
    took = duration_of(job)
    is_running = job.status == Job.Status.RUNNING
    is_queued = job.status == Job.Status.QUEUED
    facts: list[tuple[str, Any]] = [
        ("Job", copyable(str(job.pk))),
        ("Trace", copyable(job.trace_id)),
        ("Tenant", link(job.tenant) or "platform"),
        ("Workflow", link(job.workflow)),
        ("Step", f"{(job.step_index or 0) + 1}: {job.step_name}" if job.step_name else None),
        ("User", job.workflow.user_id if job.workflow else None),
        ("Attempt", f"{job.attempt} of {job.max_attempts}"),
        ("Own retry policy", words(_policy_of(job)) if job.retry_policy else None),
        ("Worker", job.worker),
        ("Queue", job.queue),
        ("Priority", job.priority),
        ("Created", moment(job.created_at)),
        ("Due", moment(job.run_at) if is_queued else None),
        ("Expires", moment(job.expires_at) if not job.is_final else None),
        ("Started", moment(job.started_at)),
        ("Lease ends", moment(job.lease_expires_at) if is_running else None),
        ("Asked to stop", moment(job.cancel_requested_at)),
        ("Ended", moment(job.ended_at)),
        ("Took", span(took) if took is not None else None),
        ("May take", f"{job.timeout_seconds} s an attempt"),
        ("Singleton key", job.singleton_key),
        ("Request", job.request_id),
        ("Actor", job.actor_id),
        ("Problem", job.get_problem_type_display()),
        ("Evaluated", moment(job.evaluated_at)),
    ]
    return [(name, value) for name, value in facts if value not in (None, "")]


def _policy_of(job: Job) -> list[str]:
    return [f"{name} {value}" for name, value in _as_dict(job.retry_policy).items()]


def _as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
