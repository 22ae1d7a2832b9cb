"""Which rows an account of the monitor may look at: all of them, or those of one tenant."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar
from uuid import UUID

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from jobs.models import StaffTenant
from jobs.models.rollups import EVERYONE

Row = TypeVar("Row", bound=Model)


def restriction_of(user: User | AnonymousUser) -> UUID | None:
    """The key of the one tenant that this account sees; None where it sees all. Asked once per request."""
    if not hasattr(user, "_restriction"):
        restricted = StaffTenant.objects.filter(user=user.pk).values_list("tenant", flat=True)
        user._restriction = restricted.first() if user.pk else None  # type: ignore[union-attr]
    restriction: UUID | None = user._restriction  # type: ignore[union-attr]
    return restriction


def scope_of(user: User | AnonymousUser) -> UUID:
    """The scope whose rollups and gauges this account sees."""
    return restriction_of(user) or EVERYONE


def scoped(rows: QuerySet[Row], user: User | AnonymousUser, *, path: str = "tenant") -> QuerySet[Row]:
    """Those of `rows` that this account may see; `path` leads to their tenant."""
    tenant = restriction_of(user)
    return rows if tenant is None else rows.filter(**{path: tenant})


class ScopedAdmin(ModelAdmin):  # type: ignore[misc]
    """Pages of rows of tenants. Where `tenant_path` is empty, they are the platform's own.

    An account that is restricted to a tenant reaches that tenant's rows alone, by whatever address, and has no
    permission at all for what is the platform's own.
    """

    tenant_path: ClassVar[str] = "tenant"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        return scoped(rows, request.user, path=self.tenant_path) if self.tenant_path else rows

    def is_out_of_reach(self, request: HttpRequest) -> bool:
        """Whether all of this is the platform's own, and the account is restricted to a tenant."""
        return not self.tenant_path and restriction_of(request.user) is not None

    def has_module_permission(self, request: HttpRequest) -> bool:
        return not self.is_out_of_reach(request) and bool(super().has_module_permission(request))

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return not self.is_out_of_reach(request) and bool(super().has_view_permission(request, obj))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return not self.is_out_of_reach(request) and bool(super().has_add_permission(request))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return not self.is_out_of_reach(request) and bool(super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return not self.is_out_of_reach(request) and bool(super().has_delete_permission(request, obj))
