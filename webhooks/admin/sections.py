"""What webhooks add to the pages of jobs and workflows, and to the overview."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from jobs.admin.access.scoping import scoped
from jobs.admin.displays import badge, moment, page_url, titled
from jobs.admin.sections import job_sections, overview_warnings, trace_parts, workflow_sections
from jobs.admin.timelines import timeline_permissions
from jobs.admin.units.traces import ROWS_MAX as TRACE_ROWS_MAX
from jobs.admin.units.traces import Trace, TracePart, lately
from jobs.models import Job, Workflow
from webhooks.admin.health import COUNTED_MAX, capped
from webhooks.forensics import DELIVERY_TYPES, RECEIPT_TYPES
from webhooks.models import Delivery, Endpoint, Message, Receipt
from webhooks.services.explanations import explain, is_sending_paused

SECTION_MAX = 200
WARNINGS_MAX = 8
FAILING_FOR = timedelta(hours=1)  # shorter is what the schedule of attempts is for


def deliveries_of_job(request: HttpRequest, job: Job) -> str:
    return _deliveries(request, Delivery.objects.filter(message__job=job))


def deliveries_of_workflow(request: HttpRequest, workflow: Workflow) -> str:
    return _deliveries(request, Delivery.objects.filter(message__workflow=workflow))


def _deliveries(request: HttpRequest, deliveries: QuerySet[Delivery]) -> str:
    if not _may_see(request, Delivery):
        return ""
    rows = rows_of_deliveries(deliveries)
    return render_to_string("admin/webhooks/delivery/section.html", {"rows": rows})


def rows_of_deliveries(deliveries: QuerySet[Delivery]) -> list[dict[str, Any]]:
    """What was told to whom, the oldest first, and why it is not there yet."""
    fields = ("message__body", "endpoint__sealed_headers")
    told = list(deliveries.select_related("message", "endpoint").defer(*fields).order_by("id")[:SECTION_MAX])
    is_paused = bool(told) and is_sending_paused()
    return [
        {
            "url": page_url(delivery),
            "title": titled(delivery.message.type, str(delivery.endpoint)),
            "badge": badge(delivery.status),
            "at": moment(delivery.created_at),
            "why": explain(delivery, is_paused=is_paused),
        }
        for delivery in told
    ]


def receipts_of_workflow(request: HttpRequest, workflow: Workflow) -> str:
    """The calls that spoke of a workflow."""
    if not _may_see(request, Receipt):
        return ""
    rows = rows_of_receipts(Receipt.objects.filter(workflow=workflow).order_by("id")[:SECTION_MAX])
    return render_to_string("admin/webhooks/receipt/section.html", {"rows": rows})


def rows_of_receipts(receipts: QuerySet[Receipt]) -> list[dict[str, Any]]:
    known = receipts.select_related("sender").defer("headers", "body")
    return [
        {
            "url": page_url(receipt),
            "title": titled(receipt.path, " · ".join(_speaks_of(receipt))),
            "badge": badge(receipt.state),
            "at": moment(receipt.created_at),
            "why": receipt.reason,
        }
        for receipt in known
    ]


def _speaks_of(receipt: Receipt) -> list[str]:
    sender = receipt.sender.name if receipt.sender else ""
    return [word for word in (sender, receipt.workflow_name, receipt.user_id) if word]


def deliveries_of_trace(request: HttpRequest, trace: Trace) -> TracePart | None:
    """What was told of a trace's jobs and workflows, and to whom."""
    if not _may_see(request, Delivery):
        return None
    mine = scoped(Message.objects.all(), request.user).order_by("id").values_list("pk", flat=True)
    of_jobs = mine.filter(job__in=trace.jobs)[: TRACE_ROWS_MAX + 1]
    of_workflows = mine.filter(workflow__in=trace.workflows)[: TRACE_ROWS_MAX + 1]
    told = Delivery.objects.filter(message__in=[*of_jobs, *of_workflows])
    return TracePart(title="Deliveries", rows=rows_of_deliveries(told))


def receipts_of_trace(request: HttpRequest, trace: Trace) -> TracePart | None:
    """The calls that came with this trace, or spoke of its workflows."""
    if not _may_see(request, Receipt):
        return None
    mine = scoped(Receipt.objects.all(), request.user).order_by("id")
    of_workflows = mine.filter(workflow__in=trace.workflows)[: TRACE_ROWS_MAX + 1]
    by_trace = lately(mine.filter(trace_id=trace.trace_id))[: TRACE_ROWS_MAX + 1]
    keys = [receipt.pk for rows in (of_workflows, by_trace) for receipt in rows.only("pk")]
    return TracePart(title="Receipts", rows=rows_of_receipts(mine.filter(pk__in=keys)))


def stopped_endpoints(request: HttpRequest) -> list[dict[str, Any]]:
    """Endpoints that are sent nothing, for now or for good, or have failed for a while."""
    if not _may_see(request, Endpoint):
        return []
    now = timezone.now()
    stopped = scoped(Endpoint.objects.kept(), request.user).filter(
        Q(disabled_at__isnull=False) | Q(breaker_until__gt=now) | Q(failing_since__lt=now - FAILING_FOR)
    )
    worst_first = (
        stopped.select_related("tenant").defer("sealed_headers").order_by("disabled_at", "failing_since")
    )
    return [
        {
            "url": page_url(endpoint),
            "title": titled(f"{endpoint.tenant.slug}: {endpoint}", _trouble(endpoint)),
            "badge": badge("failing" if endpoint.state == Endpoint.State.ACTIVE else endpoint.state),
            "at": moment(endpoint.disabled_at or endpoint.failing_since),
        }
        for endpoint in worst_first[:WARNINGS_MAX]
    ]


def _trouble(endpoint: Endpoint) -> str:
    if endpoint.disabled_reason == Endpoint.DisabledReason.GONE:
        return "It answered 410. What is meant for it is held."
    if endpoint.disabled_at:
        return "It failed for days. What is meant for it is held."
    return f"It has failed {endpoint.failures} times in a row."


def held_deliveries(request: HttpRequest) -> list[dict[str, Any]]:
    """How much is kept back, as far as it is counted."""
    if not _may_see(request, Delivery):
        return []
    held = scoped(Delivery.objects.filter(status=Delivery.Status.HELD), request.user).order_by()
    since = [at for at in held.values_list("held_at", flat=True)[: COUNTED_MAX + 1] if at]
    if not since:
        return []
    noun = "delivery is held" if len(since) == 1 else "deliveries are held"
    note = "Resume the endpoints, then recover what a disabled one has missed."
    return [
        {
            "url": f"{reverse('admin:webhooks_delivery_changelist')}?status={Delivery.Status.HELD}",
            "title": titled(f"{capped(len(since))} {noun}", note),
            "badge": badge("held"),
            "at": moment(min(since)),
        }
    ]


def _may_see(request: HttpRequest, model: type[Model]) -> bool:
    return admin.site.get_model_admin(model).has_view_or_change_permission(request)


job_sections.append(deliveries_of_job)
trace_parts += [deliveries_of_trace, receipts_of_trace]
workflow_sections += [deliveries_of_workflow, receipts_of_workflow]
overview_warnings += [stopped_endpoints, held_deliveries]
timeline_permissions |= dict.fromkeys(DELIVERY_TYPES, "webhooks.view_delivery")
timeline_permissions |= dict.fromkeys(RECEIPT_TYPES, "webhooks.view_receipt")
