"""Tenants: added and renamed, switched off, never deleted."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.safestring import SafeString

from jobs.admin.access.scoping import ScopedAdmin, restriction_of
from jobs.admin.displays import badge, moment, titled
from jobs.models import Tenant
from jobs.tenancy.services import create_tenant


@admin.register(Tenant)
class TenantAdmin(ScopedAdmin):
    tenant_path = "pk"
    list_display = ["what", "state", "created"]
    list_display_links = ["what"]
    list_filter = ["is_active"]
    search_fields = ["slug__startswith", "name__icontains"]
    search_help_text = "Slug or name"
    show_facets = admin.ShowFacets.NEVER
    actions = None

    def get_fields(self, request: HttpRequest, obj: Tenant | None = None) -> list[str]:
        return ["slug", "name", "is_active", "created"] if obj else ["slug", "name"]

    def get_readonly_fields(self, request: HttpRequest, obj: Tenant | None = None) -> list[str]:
        # The slug stands in addresses of artifacts and in clients' settings.
        return ["slug", "created"] if obj else []

    def has_add_permission(self, request: HttpRequest) -> bool:
        return restriction_of(request.user) is None and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Who is restricted to a tenant does not decide whether there is one.
        return restriction_of(request.user) is None and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Tenant, form: ModelForm[Tenant], change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
        else:
            obj.pk = create_tenant(obj.slug, name=obj.name).pk

    @admin.display(description="Tenant")
    def what(self, tenant: Tenant) -> SafeString:
        return titled(tenant.slug, tenant.name)

    @admin.display(description="State")
    def state(self, tenant: Tenant) -> SafeString:
        return badge("active" if tenant.is_active else "inactive")

    @admin.display(description="Created")
    def created(self, tenant: Tenant) -> SafeString | None:
        return moment(tenant.created_at)
