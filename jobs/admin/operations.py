"""Bulk operations: how far each is, what came of it, and the button that stops it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.apps import apps
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from jobs.admin.bulk import percent_of
from jobs.admin.displays import anchor, badge, copyable, moment, noted, page_url, span, titled
from jobs.admin.filters import CreatedFilter
from jobs.admin.lists.criteria import by_choice, by_text
from jobs.admin.records import RecordAdmin
from jobs.admin.searches import as_uuid
from jobs.admin.selections import in_words
from jobs.errors import DomainError
from jobs.models import AuditEntry, BulkOperation, Job
from jobs.services.audit import Actor
from jobs.services.operations import abort_operation

SETTLED_SECONDS = 1.0  # before that no rate is told


@admin.register(BulkOperation)
class BulkOperationAdmin(RecordAdmin):
    list_display = ["what", "state", "asked_by", "progressed", "done", "refused", "created", "took"]
    list_display_links = ["what"]
    list_filter = [by_choice("status"), CreatedFilter, by_text("actor", title="by")]
    list_empty = "Select records in a list, or all that match, and choose what is done to them."
    list_deferred = ("keys",)
    search_fields = ["id"]
    search_help_text = "Id, job, account, verb"

    def find(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        if key := as_uuid(term):
            return rows.filter(Q(pk=key) | Q(job_id=key))
        return rows.filter(Q(actor=term) | Q(verb=term) | Q(title__iexact=term))

    def has_view_permission(self, request: HttpRequest, obj: BulkOperation | None = None) -> bool:
        """Who asked for an operation sees it, whatever else he may."""
        is_own = obj is not None and obj.user_id == request.user.pk and not self.is_out_of_reach(request, obj)
        return is_own or bool(super().has_view_permission(request, obj))

    def may_abort(self, request: HttpRequest, operation: BulkOperation) -> bool:
        """Whether this account may stop it: its own, and any other's with the right to."""
        is_own = operation.user_id == request.user.pk
        return is_own or self.has_operate_permission(request, operation)

    @admin.display(description="Operation")
    def what(self, operation: BulkOperation) -> SafeString:
        return titled(str(operation), operation.reason[:80])

    @admin.display(description="Status")
    def state(self, operation: BulkOperation) -> SafeString:
        return badge(word_of(operation))

    @admin.display(description="By")
    def asked_by(self, operation: BulkOperation) -> str:
        return operation.actor

    @admin.display(description="Progress")
    def progressed(self, operation: BulkOperation) -> SafeString:
        of = f"{operation.handled_count:,} of {operation.total_text}"
        return noted(SafeString(f"{percent_of(operation)} %"), of)

    @admin.display(description="Done")
    def done(self, operation: BulkOperation) -> str:
        return f"{operation.done_count:,}"

    @admin.display(description="Refused")
    def refused(self, operation: BulkOperation) -> str:
        return f"{operation.refused_count:,}"

    @admin.display(description="Asked")
    def created(self, operation: BulkOperation) -> SafeString | None:
        return moment(operation.created_at)

    @admin.display(description="Took", empty_value="–")
    def took(self, operation: BulkOperation) -> str | None:
        return span(length_of(operation)) if operation.started_at else None

    def get_urls(self) -> list[Any]:
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        own = [
            path(
                "<uuid:key>/progress/",
                self.admin_site.admin_view(self.progress_view),
                name=f"{name}_progress",
            ),
            path("<uuid:key>/abort/", self.admin_site.admin_view(self.abort_view), name=f"{name}_abort"),
        ]
        return own + list(super().get_urls())

    def progress_view(self, request: HttpRequest, key: Any) -> HttpResponse:
        """The part of an operation's page that changes, by itself."""
        operation = self.get_visible(request, key)
        context = {"opts": self.opts, **self.course(request, operation)}
        return TemplateResponse(request, "admin/jobs/bulkoperation/progress.html", context)

    def abort_view(self, request: HttpRequest, key: Any) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        operation = self.get_visible(request, key)
        if not self.may_abort(request, operation):
            raise PermissionDenied
        try:
            abort_operation(operation, by=Actor.of_request(request))
        except DomainError as error:
            self.message_user(request, error.detail, messages.WARNING)
        return HttpResponseRedirect(page_url(operation))

    def get_visible(self, request: HttpRequest, key: Any) -> BulkOperation:
        """The operation of this key; raises Http404 where the account would not find it, PermissionDenied."""
        operation: BulkOperation | None = self.get_queryset(request).filter(pk=key).first()
        if operation is None:
            raise Http404
        if not self.has_view_permission(request, operation):
            raise PermissionDenied
        return operation

    def page(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        operation: BulkOperation = record
        return {
            "heading": str(operation),
            "facts": facts_of(request, operation),
            "live_url": reverse("admin:jobs_bulkoperation_progress", args=[operation.pk]),
            **self.course(request, operation),
        }

    def course(self, request: HttpRequest, operation: BulkOperation) -> dict[str, Any]:
        """How far it is, as the template that is shown anew each second takes it."""
        return {
            "operation": operation,
            "badge": badge(word_of(operation)),
            "percent": percent_of(operation),
            "total": operation.total_text,
            "done": f"{operation.done_count:,}",
            "refused": f"{operation.refused_count:,}",
            "left_out": left_out_of(operation),
            "length": span(length_of(operation)) if operation.started_at else "",
            **pace_of(operation),
            "outcomes": by_count(operation.outcomes),
            "refusals": by_count(operation.refusals),
            "entries_url": entries_url(request, operation),
            "may_abort": not operation.is_over
            and operation.abort_requested_at is None
            and self.may_abort(request, operation),
        }


def word_of(operation: BulkOperation) -> str:
    """Its status as a badge says it."""
    is_stopping = operation.abort_requested_at is not None and not operation.is_over
    return "aborting" if is_stopping else operation.status


def left_out_of(operation: BulkOperation) -> str:
    """How many it has not met, as another had dealt with them before their turn came; "" where it met all."""
    count = operation.total_count - operation.handled_count
    return f"{count:,}" if operation.status == BulkOperation.Status.COMPLETED and count > 0 else ""


def length_of(operation: BulkOperation) -> timedelta:
    """How long it has taken, or takes so far."""
    assert operation.started_at
    return max((operation.ended_at or timezone.now()) - operation.started_at, timedelta(0))


def pace_of(operation: BulkOperation) -> dict[str, str]:
    """How many records a second, and how long the others will take; nothing before that can be told."""
    seconds = length_of(operation).total_seconds() if operation.started_at else 0.0
    if not operation.handled_count or seconds < SETTLED_SECONDS and not operation.is_over:
        return {}
    rate = operation.handled_count / max(seconds, 0.001)
    left = max(operation.total_count - operation.handled_count, 0)
    is_known = not (operation.is_over or operation.is_total_capped or not left)
    return {
        "rate": f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}",
        "left": span(timedelta(seconds=left / rate)) if is_known else "",
    }


def by_count(counts: dict[str, int]) -> list[tuple[str, str]]:
    """What came of how many, the most first."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return [(text, f"{count:,}") for text, count in ordered]


def facts_of(request: HttpRequest, operation: BulkOperation) -> list[tuple[str, Any]]:
    facts: list[tuple[str, Any]] = [
        ("Operation", copyable(str(operation.pk))),
        ("Asked by", operation.actor),
        ("Asked", moment(operation.created_at)),
        ("Over", scope_of(request, operation)),
        ("Why", operation.reason),
        ("Job", job_of(request, operation)),
    ]
    return [(name, value) for name, value in facts if value not in (None, "")]


def scope_of(request: HttpRequest, operation: BulkOperation) -> SafeString | str:
    """Which records: those that were selected, or a link to the list with its filters."""
    model = apps.get_model(operation.model)
    if operation.keys is not None:
        return f"{operation.total_text} that were selected"
    words = ", ".join(in_words(operation.query))
    text = f"all that match: {words}" if words else "all there were"
    if not admin.site.get_model_admin(model).has_view_or_change_permission(request):
        return text
    address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return anchor(f"{address}?{operation.query}" if operation.query else address, text)


def job_of(request: HttpRequest, operation: BulkOperation) -> SafeString | str:
    """The job that does it, for those who may look at that."""
    model_admin = admin.site.get_model_admin(Job)
    if not operation.job_id or not model_admin.has_view_or_change_permission(request):
        return ""
    if not model_admin.get_queryset(request).filter(pk=operation.job_id).exists():
        return ""
    return anchor(reverse("admin:jobs_job_change", args=[operation.job_id]), str(operation.job_id))


def entries_url(request: HttpRequest, operation: BulkOperation) -> str:
    """Where the audit log has the records of an operation; "" for those who may not look there."""
    if not admin.site.get_model_admin(AuditEntry).has_view_or_change_permission(request):
        return ""
    return f"{reverse('admin:jobs_auditentry_changelist')}?{urlencode({'operation': operation.pk})}"
