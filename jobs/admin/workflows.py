"""Workflows: their list, their page, and the operator's verbs."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from jobs.admin.displays import badge, moment, span, titled
from jobs.admin.lists.jobs import WORKFLOW_FILTERS, find_workflows
from jobs.admin.lists.scans import Scan
from jobs.admin.sections import workflow_verbs
from jobs.admin.verbs import Verb, VerbAdmin
from jobs.admin.workflow_page import page_of
from jobs.models import Workflow
from jobs.services.workflows import cancel_workflow, retry_workflow

RETRY = Verb(
    action="retry_workflows",
    word="retry",
    title="Retry",
    icon="replay",
    question="Of each only what failed runs, for one attempt more; what has completed keeps its results, and what "
    "it was started with stays as it is.",
    is_offered=lambda workflow: workflow.status == Workflow.Status.FAILED,
    run=lambda workflow, by, reason: retry_workflow(workflow, by=by, reason=reason),
    outcome=lambda workflow: "running again",
)
CANCEL = Verb(
    action="cancel_workflows",
    word="cancel",
    title="Cancel",
    icon="cancel",
    question="Steps that have not begun end at once; a running one is asked to stop, and its workflow ends with it. "
    "A cancelled workflow is not tried again.",
    is_grave=True,
    is_offered=lambda workflow: workflow.status == Workflow.Status.RUNNING,
    run=lambda workflow, by, reason: cancel_workflow(workflow, by=by, reason=reason),
    outcome=lambda workflow: "cancelled" if workflow.ended_at else "asked to stop",
)


@admin.register(Workflow)
class WorkflowAdmin(VerbAdmin):
    audited_fields = ("status", "attempt", "notification_status")
    list_display = ["what", "state", "tenant_slug", "user", "steps", "told", "created", "took", "problem"]
    list_display_links = ["what"]
    list_filter = WORKFLOW_FILTERS
    list_empty = "A generation of a collection makes the first."
    export_paths = ("error__code", "error__message")
    list_deferred = (
        "miniapp_req",
        "data",
        "outputs",
        "error",
        "retry_execution_data",
        "problem_details",
        "collection__steps",
    )
    search_fields = ["workflow_id"]
    search_help_text = "Id, workflow, trace, user, session, or status:failed payload.prompt:castle"

    def verbs(self) -> list[Verb]:
        return [RETRY, CANCEL, *workflow_verbs]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Workflow]:
        rows: QuerySet[Workflow] = super().get_queryset(request)
        # The collection too: it may be gone, which only a join forgives.
        return rows.select_related("tenant", "collection")

    def find(self, rows: QuerySet[Any], term: str) -> QuerySet[Any] | Scan:
        return find_workflows(rows, term)

    @admin.display(description="Workflow")
    def what(self, workflow: Workflow) -> SafeString:
        made_with = f" · {workflow.collection}" if workflow.collection else ""
        return titled(workflow.workflow_id, f"{workflow.kind}{made_with}")

    @admin.display(description="Status")
    def state(self, workflow: Workflow) -> SafeString:
        return badge(workflow.status)

    @admin.display(description="Tenant")
    def tenant_slug(self, workflow: Workflow) -> str:
        return workflow.tenant.slug

    @admin.display(description="User", empty_value="–")
    def user(self, workflow: Workflow) -> str | None:
        return workflow.user_id or None

    @admin.display(description="Steps")
    def steps(self, workflow: Workflow) -> int:
        return workflow.total_steps

    @admin.display(description="User told", empty_value="–")
    def told(self, workflow: Workflow) -> SafeString | None:
        is_quiet = workflow.notification_status == Workflow.NotificationStatus.NONE
        return None if is_quiet else badge(workflow.notification_status)

    @admin.display(description="Created")
    def created(self, workflow: Workflow) -> SafeString | None:
        return moment(workflow.created_at)

    @admin.display(description="Took", empty_value="–")
    def took(self, workflow: Workflow) -> str | None:
        return span(workflow.ended_at - workflow.created_at) if workflow.ended_at else None

    @admin.display(description="Problem", empty_value="–")
    def problem(self, workflow: Workflow) -> str | None:
        return workflow.get_problem_type_display() or None

    def page(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        return {**page_of(request, record), **self.offered(request, record)}
