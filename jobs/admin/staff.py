"""Admin pages of the people who use the monitor: users, their groups, and the tenant they are restricted to."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from unfold.admin import StackedInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from jobs.admin.access.roles import ROLES
from jobs.admin.access.scoping import ScopedAdmin
from jobs.hygiene.masking import MASK
from jobs.models import StaffTenant
from jobs.services.audit import Actor, record_audit

admin.site.unregister([User, Group])


class RestrictionInline(StackedInline):  # type: ignore[misc]
    """The one tenant an account sees. Whoever gives it is restricted to none, for else there is no page of users."""

    model = StaffTenant
    autocomplete_fields = ["tenant"]
    verbose_name_plural = "Restriction to a tenant"
    extra = 0


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ScopedAdmin):  # type: ignore[misc, type-arg]
    """Operators. Only a superuser gives rights away, or touches another superuser."""

    tenant_path = ""
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["username", "email", "is_active", "is_staff", "is_superuser", "last_login"]
    list_filter = ["is_active", "is_staff", "is_superuser"]
    show_facets = admin.ShowFacets.NEVER

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return [RestrictionInline] if obj else []

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        fields = [*super().get_readonly_fields(request, obj), "last_login", "date_joined"]
        rights = ["is_staff", "is_superuser", "groups", "user_permissions"]
        return fields if _is_superuser(request.user) else [*fields, *rights]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and _may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Without an account at hand, as in the bulk action, whom it would hit is not known.
        return super().has_delete_permission(request, obj) and (
            _is_superuser(request.user) or (obj is not None and _may_touch(request, obj))
        )

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        # No form of Django's pages: it saves by itself, and says so by leading elsewhere.
        with transaction.atomic():
            response: HttpResponse = super().user_change_password(request, id, form_url)
            if request.method == "POST" and response.status_code == 302:
                account = self.get_object(request, id)
                record_audit(Actor.of_request(request), "change", account, after={"password": MASK})
        return response


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ScopedAdmin):  # type: ignore[misc]
    """Named sets of permissions; changing one is giving rights away. The roles are kept by `migrate`, not here."""

    tenant_path = ""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and _is_superuser(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        may_change = super().has_change_permission(request, obj) and _is_superuser(request.user)
        return may_change and not _is_role(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        may_delete = super().has_delete_permission(request, obj) and _is_superuser(request.user)
        return may_delete and not _is_role(obj)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        # Groups are deleted from their pages, where it shows which of them may be.
        actions: dict[str, Any] = super().get_actions(request)
        return {name: action for name, action in actions.items() if name != "delete_selected"}


def _is_superuser(user: Any) -> bool:
    return bool(user.is_active and user.is_superuser)


def _may_touch(request: HttpRequest, account: Any) -> bool:
    return account is None or not account.is_superuser or _is_superuser(request.user)


def _is_role(group: Any) -> bool:
    return group is not None and group.name in ROLES
