"""The audit log: who did what at the monitor, to what, when, why, and what it was before and after."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlencode

from django.apps import apps
from django.contrib import admin
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from jobs.admin.displays import anchor, badge, copyable, link, moment, noted, titled
from jobs.admin.documents import document
from jobs.admin.filters import CHOICES_MAX, Choices, TenantFilter
from jobs.admin.records import RecordAdmin
from jobs.admin.searches import as_uuid, newest
from jobs.models import AuditEntry

LOOKED_AT_MAX = 1_000  # entries whose words a filter offers


class WordFilter(admin.SimpleListFilter):
    """Entries with one word in one column; offers those of the newest entries, and takes any."""

    column = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        seen = model_admin.get_queryset(request).order_by("-id").values_list(self.column, flat=True)
        words = {str(word) for word in seen[:LOOKED_AT_MAX] if word}
        # A filter without choices filters nothing, and other pages lead here.
        asked = request.GET.get(self.parameter_name or "", "")
        return [(word, word) for word in sorted({*words, *filter(None, [asked])})[:CHOICES_MAX]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{self.column: self.value()}) if self.value() else queryset


class ActorFilter(WordFilter):
    title = "who"
    parameter_name = column = "actor"


class ActionFilter(WordFilter):
    """Among the newest: actions have no index."""

    title = "action"
    parameter_name = column = "action"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return super().queryset(request, newest(queryset)) if self.value() else queryset


class ModelFilter(admin.SimpleListFilter):
    title = "of what"
    parameter_name = "model"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        models = sorted(admin.site._registry, key=lambda model: str(model._meta.verbose_name_plural))
        return [
            (model._meta.label, str(model._meta.verbose_name_plural).capitalize())
            for model in models
            if admin.site.get_model_admin(model).has_view_or_change_permission(request)
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(model=self.value()) if self.value() else queryset


class AddressFilter(admin.SimpleListFilter):
    """A filter that other pages lead to, shown only where it is in use."""

    column = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        asked = request.GET.get(self.parameter_name or "", "")
        return [(asked, asked)] if asked else []

    def has_output(self) -> bool:
        return bool(self.value())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{self.column: self.value()}) if self.value() else queryset


class ObjectFilter(AddressFilter):
    title = "of which"
    parameter_name = "object"
    column = "object_id"


class OperationFilter(AddressFilter):
    title = "bulk operation"
    parameter_name = "operation"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        key = as_uuid(self.value() or "")
        return queryset.filter(operation_id=key) if key else queryset.none()


class RefusedFilter(admin.SimpleListFilter):
    title = "outcome"
    parameter_name = "refused"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [("yes", "Refused"), ("no", "Done")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in ("yes", "no"):
            return queryset
        return newest(queryset).filter(is_refused=self.value() == "yes")


class TimeFilter(admin.SimpleListFilter):
    """Among the newest: entries come in the order of their keys."""

    title = "when"
    parameter_name = "at"
    windows = {
        "hour": ("In the last hour", timedelta(hours=1)),
        "day": ("In the last 24 hours", timedelta(days=1)),
        "week": ("In the last 7 days", timedelta(days=7)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(word, label) for word, (label, _) in self.windows.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        _, window = self.windows.get(self.value() or "", ("", None))
        return newest(queryset).filter(at__gte=timezone.now() - window) if window else queryset


@admin.register(AuditEntry)
class AuditEntryAdmin(RecordAdmin):
    list_display = ["what", "who", "on", "outcome_cell", "why", "tenant_slug", "when"]
    list_display_links = ["what"]
    list_filter = [
        ActorFilter,
        ActionFilter,
        ModelFilter,
        ObjectFilter,
        TimeFilter,
        RefusedFilter,
        TenantFilter,
        OperationFilter,
    ]
    list_deferred = ("before", "after")
    search_fields = ["actor"]
    search_help_text = "Who, id of a record or operation, trace, address"

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEntry]:
        rows: QuerySet[AuditEntry] = super().get_queryset(request)
        return rows.select_related("tenant")

    def find(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        if key := as_uuid(term):
            models = [model._meta.label for model in admin.site._registry]
            # By the model too, which the index begins with.
            return rows.filter(Q(model__in=models, object_id=term) | Q(operation_id=key))
        if rows.filter(actor=term).exists():
            return rows.filter(actor=term)
        named = Q(actor__icontains=term) | Q(object_id=term) | Q(object_text__icontains=term)
        address = Q(address=term) if _is_address(term) else Q()
        return newest(rows).filter(named | Q(trace_id=term) | address)

    @admin.display(description="Action")
    def what(self, entry: AuditEntry) -> SafeString:
        return titled(entry.action, "part of a bulk operation" if entry.operation_id else "")

    @admin.display(description="Who")
    def who(self, entry: AuditEntry) -> SafeString:
        return titled(entry.actor or "nobody", entry.address or "")

    @admin.display(description="On what", empty_value="–")
    def on(self, entry: AuditEntry) -> SafeString | str | None:
        return record_link(entry)

    @admin.display(description="Outcome")
    def outcome_cell(self, entry: AuditEntry) -> SafeString:
        return noted(badge(state_of(entry)), entry.outcome[:120])

    @admin.display(description="Why", empty_value="–")
    def why(self, entry: AuditEntry) -> str | None:
        return entry.reason[:120] or None

    @admin.display(description="Tenant", empty_value="–")
    def tenant_slug(self, entry: AuditEntry) -> str | None:
        return entry.tenant.slug if entry.tenant else None

    @admin.display(description="When")
    def when(self, entry: AuditEntry) -> SafeString | None:
        return moment(entry.at)

    def page(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        entry: AuditEntry = record
        facts: list[tuple[str, Any]] = [
            ("Who", entry.actor or "nobody"),
            ("From", entry.address),
            ("On what", record_link(entry)),
            ("When", moment(entry.at)),
            ("Why", entry.reason),
            ("Outcome", entry.outcome),
            ("Tenant", link(entry.tenant)),
            ("Bulk operation", _operation_link(entry)),
            ("Trace", copyable(entry.trace_id)),
        ]
        return {
            "heading": entry.action,
            "badges": [badge(state_of(entry))],
            "facts": [(name, value) for name, value in facts if value not in (None, "")],
            "changes": list(changes_of(entry)),
        }


def state_of(entry: AuditEntry) -> str:
    return "refused" if entry.is_refused else "done"


def record_link(entry: AuditEntry) -> SafeString | str | None:
    """A link to the page of what it was done to; its name alone where such records have no page."""
    model = _model_of(entry)
    noun = str(model._meta.verbose_name) if model else entry.model
    name = f"{noun}: {entry.object_text}" if entry.object_text else noun
    if model is None or not entry.object_id or model not in admin.site._registry:
        return name or None
    page = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
    try:
        return anchor(reverse(page, args=[entry.object_id]), name)
    except NoReverseMatch:
        return name


def changes_of(entry: AuditEntry) -> Iterable[dict[str, Any]]:
    """Each field that was changed, with what it was and what it is."""
    before, after = entry.before or {}, entry.after or {}
    for name in dict.fromkeys([*before, *after]):
        yield {
            "name": name.replace("_", " "),
            "before": document("Before", before[name]) if name in before else None,
            "after": document("After", after[name]) if name in after else None,
        }


def _model_of(entry: AuditEntry) -> type[Model] | None:
    try:
        return apps.get_model(entry.model) if "." in entry.model else None
    except LookupError:
        return None


def _operation_link(entry: AuditEntry) -> SafeString | None:
    """All that one bulk operation did."""
    if entry.operation_id is None:
        return None
    query = urlencode({"operation": entry.operation_id})
    return anchor(f"{reverse('admin:jobs_auditentry_changelist')}?{query}", str(entry.operation_id))


def _is_address(term: str) -> bool:
    try:
        ip_address(term)
    except ValueError:
        return False
    return True
