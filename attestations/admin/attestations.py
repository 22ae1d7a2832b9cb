"""Attestations: their list, their page, and what they add to the pages of jobs and workflows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from attestations.admin.attempts import attempt_rows
from attestations.admin.lists import ATTESTATION_FILTERS
from attestations.forensics import TYPES
from attestations.models import Attestation
from jobs.admin.access.revealing import shown
from jobs.admin.displays import badge, copyable, link, moment, page_url, titled
from jobs.admin.documents import document
from jobs.admin.lists.scans import Scan
from jobs.admin.outputs import outputs
from jobs.admin.records import RecordAdmin
from jobs.admin.searches import NAMESAKES_MAX, as_uuid, named_workflows
from jobs.admin.sections import job_sections, trace_parts, workflow_sections
from jobs.admin.timelines import timeline_permissions
from jobs.admin.units.traces import ROWS_MAX as TRACE_ROWS_MAX
from jobs.admin.units.traces import Trace, TracePart
from jobs.models import Job, Tenant, Workflow
from jobs.workflows.advance import outputs_of

SECTION_MAX = 200


@admin.register(Attestation)
class AttestationAdmin(RecordAdmin):
    list_display = ["what", "state", "entity", "tenant_slug", "made_by", "created", "expires"]
    list_display_links = ["what"]
    list_filter = ATTESTATION_FILTERS
    list_empty = "Every attempt of a job, and every run of a workflow, leaves one."
    list_deferred = ("attestation_data", "digest")
    search_fields = ["attestation_key"]
    search_help_text = "Key, job, workflow, worker"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Attestation]:
        rows: QuerySet[Attestation] = super().get_queryset(request)
        return rows.select_related("tenant")

    def find(self, rows: QuerySet[Any], term: str) -> QuerySet[Any] | Scan:
        if key := as_uuid(term):
            return rows.filter(Q(job=key) | Q(workflow=key))
        if workflows := named_workflows(term):
            return rows.filter(workflow__in=workflows)
        if keyed := keyed_attestations(term):
            return rows.filter(pk__in=keyed)
        return Scan(Q(worker_id__startswith=term) | Q(workflow_key__startswith=term))

    @admin.display(description="Attestation")
    def what(self, attestation: Attestation) -> SafeString:
        return titled(attestation.get_attestation_type_display(), attestation.attestation_key)

    @admin.display(description="Outcome")
    def state(self, attestation: Attestation) -> SafeString:
        return badge(attestation.status)

    @admin.display(description="Of")
    def entity(self, attestation: Attestation) -> str:
        return f"{attestation.entity_type}, attempt {attestation.retry_attempt + 1}"

    @admin.display(description="Tenant", empty_value="platform")
    def tenant_slug(self, attestation: Attestation) -> str | None:
        return attestation.tenant.slug if attestation.tenant else None

    @admin.display(description="Worker", empty_value="–")
    def made_by(self, attestation: Attestation) -> str | None:
        return attestation.worker_id or None

    @admin.display(description="Created")
    def created(self, attestation: Attestation) -> SafeString | None:
        return moment(attestation.created_at)

    @admin.display(description="Kept until")
    def expires(self, attestation: Attestation) -> SafeString | None:
        return moment(attestation.expires_at)

    def page(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        attestation: Attestation = record
        # Looked for, not followed: what an attestation speaks of may be gone.
        job = Job.objects.only("kind", "service_required").filter(pk__in=[attestation.job_id]).first()
        workflow = Workflow.objects.only("workflow_id").filter(pk__in=[attestation.workflow_id]).first()
        data = attestation.attestation_data if isinstance(attestation.attestation_data, dict) else {}
        facts = [
            ("Key", copyable(attestation.attestation_key)),
            ("SHA-256", copyable(attestation.digest)),
            ("SHA-256 with its base64", attestation.original_digest),
            ("Job", link(job) or attestation.job_id),
            ("Workflow", link(workflow) or attestation.workflow_key),
            ("Tenant", link(attestation.tenant) or "platform"),
            ("Worker", attestation.worker_id),
            ("Attempt", attestation.retry_attempt + 1),
            ("Begun", moment(attestation.started_at)),
            ("Created", moment(attestation.created_at)),
            ("Kept until", moment(attestation.expires_at)),
        ]
        return {
            "heading": attestation.get_attestation_type_display(),
            "badges": [badge(attestation.status), badge("intact" if attestation.is_intact else "altered")],
            "is_intact": attestation.is_intact,
            "found_digest": attestation.compute_digest(),
            "facts": [(name, value) for name, value in facts if value not in (None, "")],
            "documents": [document("Document", shown(request, attestation.as_document()))],
            "outputs": outputs(outputs_of(data.get("result") or data.get("workflow_outputs"))),
        }


def keyed_attestations(key: str) -> list[int]:
    """The attestations of this key: one per tenant, by the index that begins with the tenant."""
    tenants = Tenant.objects.values("pk")
    keyed = Attestation.objects.filter(attestation_key=key)
    found = [keyed.filter(tenant__in=tenants), keyed.filter(tenant=None)]
    return [pk for rows in found for pk in rows.order_by().values_list("pk", flat=True)[:NAMESAKES_MAX]]


def attempts_of_job(request: HttpRequest, job: Job) -> str:
    """The attempts of a job, each with what its attestation says of it; the last first."""
    if not admin.site.get_model_admin(Attestation).has_view_or_change_permission(request):
        return ""
    rows = attempt_rows(job)
    context = {"rows": rows, "more": max(job.attempt - len(rows), 0)}
    return render_to_string("admin/attestations/attestation/attempts.html", context)


def attestations_of_workflow(request: HttpRequest, workflow: Workflow) -> str:
    return _section(request, Attestation.objects.of_workflow(workflow))


def attestations_of_runs(request: HttpRequest, runs: Sequence[Workflow]) -> str:
    return _section(request, Attestation.objects.filter(workflow__in=runs).order_by("id"))


def _section(request: HttpRequest, attestations: QuerySet[Attestation]) -> str:
    model_admin = admin.site.get_model_admin(Attestation)
    if not model_admin.has_view_or_change_permission(request):
        return ""
    rows = [_row(each) for each in attestations.defer("attestation_data", "digest")[:SECTION_MAX]]
    return render_to_string("admin/attestations/attestation/section.html", {"rows": rows})


def _row(attestation: Attestation) -> dict[str, Any]:
    return {
        "url": page_url(attestation),
        "title": titled(attestation.get_attestation_type_display(), attestation.attestation_key),
        "badge": badge(attestation.status),
        "at": moment(attestation.created_at),
    }


def attestations_of_trace(request: HttpRequest, trace: Trace) -> TracePart | None:
    """The attestations of a trace's jobs and of the runs of its workflows."""
    model_admin = admin.site.get_model_admin(Attestation)
    if not model_admin.has_view_or_change_permission(request):
        return None
    mine = model_admin.get_queryset(request).defer("attestation_data", "digest").order_by("id")
    of_jobs = mine.filter(job__in=trace.jobs)[: TRACE_ROWS_MAX + 1]
    of_runs = mine.filter(workflow__in=trace.workflows, job=None)[: TRACE_ROWS_MAX + 1]
    found = sorted([*of_jobs, *of_runs], key=lambda attestation: attestation.pk)
    return TracePart(title="Attestations", rows=[_row(attestation) for attestation in found])


job_sections.append(attempts_of_job)
workflow_sections.append(attestations_of_workflow)
trace_parts.append(attestations_of_trace)
timeline_permissions |= dict.fromkeys(TYPES, "attestations.view_attestation")
