"""Pages of rows that an account sees all of, or those of one tenant; what is done there by forms is audited."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse
from unfold.admin import ModelAdmin

from jobs.admin.access.changes import change_of, values_of
from jobs.models import AuditEntry
from jobs.services.audit import Actor, record_audit
from jobs.tenancy.restriction import restriction_of, scope_of, scoped

__all__ = ["ScopedAdmin", "restriction_of", "scope_of", "scoped"]


class ScopedAdmin(ModelAdmin):  # type: ignore[misc]
    """Pages of rows of tenants. Where `tenant_path` is empty, they are the platform's own.

    An account that is restricted to a tenant reaches that tenant's rows alone, by whatever address, and has no
    permission at all for what is the platform's own. A form's fields offer and take the rows it may see.
    """

    tenant_path: ClassVar[str] = "tenant"
    object_history_template = "admin/history.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        return self.within(request, rows)

    def within(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Those of `rows` that the account may see: all, its tenant's, or none of the platform's own."""
        if self.tenant_path:
            return scoped(rows, request.user, path=self.tenant_path)
        return rows.none() if restriction_of(request.user) else rows

    def is_out_of_reach(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the account is restricted to a tenant, and this is the platform's own or another tenant's."""
        tenant = restriction_of(request.user)
        if tenant is None:
            return False
        return not self.tenant_path or (obj is not None and self.tenant_of(obj) != tenant)

    def tenant_of(self, obj: Any) -> Any:
        """The key of the tenant whose row this is, as `tenant_path` leads to it."""
        *path, last = self.tenant_path.split("__")
        for name in path:
            obj = getattr(obj, name, None)
        return getattr(obj, "pk" if last == "pk" else f"{last}_id", None)

    def get_field_queryset(self, db: str | None, db_field: Any, request: HttpRequest) -> QuerySet[Any] | None:
        rows: QuerySet[Any] | None = super().get_field_queryset(db, db_field, request)
        related = self.admin_site._registry.get(db_field.remote_field.model)
        if not isinstance(related, ScopedAdmin) or restriction_of(request.user) is None:
            return rows
        everything = db_field.remote_field.model._default_manager.all()
        return related.within(request, everything if rows is None else rows)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """The account's own tenant, where there is no choice."""
        tenant = restriction_of(request.user) if self.tenant_path == "tenant" else None
        only = {"tenant": tenant} if tenant else {}
        return {**only, **super().get_changeform_initial_data(request)}

    def has_module_permission(self, request: HttpRequest) -> bool:
        return not self.is_out_of_reach(request) and bool(super().has_module_permission(request))

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return not self.is_out_of_reach(request, obj) and bool(super().has_view_permission(request, obj))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return not self.is_out_of_reach(request) and bool(super().has_add_permission(request))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return not self.is_out_of_reach(request, obj) and bool(super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return not self.is_out_of_reach(request, obj) and bool(super().has_delete_permission(request, obj))

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        # Django answers an action that this account may not take with the list, as if nothing had been asked.
        asked = set(request.POST.getlist("action")) - {""} if request.method == "POST" else set()
        if not asked <= self.get_actions(request).keys():
            raise PermissionDenied
        response: HttpResponseBase = super().changelist_view(request, extra_context)
        return response

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        # The one place that every form of Django's passes once all of it is saved, in the transaction of the saving.
        super().save_related(request, form, formsets, change)
        before, after = change_of(form, formsets, is_new=not change)
        if after or before or not change:
            action = "change" if change else "add"
            record_audit(Actor.of_request(request), action, form.instance, before=before, after=after)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        with transaction.atomic():
            self.audit_deletion(request, obj)
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        with transaction.atomic():
            for record in queryset:
                self.audit_deletion(request, record)
            super().delete_queryset(request, queryset)

    def audit_deletion(self, request: HttpRequest, record: Any) -> None:
        record_audit(Actor.of_request(request), "delete", record, before=values_of(record))

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied  # before the record is looked for, of which nothing is to be told
        url = audit_url(request, self.opts.label, unquote(object_id))
        context = {"audit_url": url, **(extra_context or {})}
        response: HttpResponse = super().history_view(request, object_id, context)
        return response


def audit_url(request: HttpRequest, model: str, key: str) -> str:
    """Where the audit log speaks of a record; "" for an account that may not read it."""
    if not admin.site.get_model_admin(AuditEntry).has_view_or_change_permission(request):
        return ""
    return f"{reverse('admin:jobs_auditentry_changelist')}?{urlencode({'model': model, 'object': key})}"
