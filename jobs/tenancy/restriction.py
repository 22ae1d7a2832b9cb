"""Which tenants' rows a person's account may look at: all of them, or those of one."""

from __future__ import annotations

from typing import TypeVar
from uuid import UUID

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Model, QuerySet

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
