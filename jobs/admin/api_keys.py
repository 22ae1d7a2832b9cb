"""API keys: made here, shown once, revoked; never changed, never deleted."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_variables
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from jobs.admin.displays import badge, link, moment, titled, words
from jobs.admin.filters import TenantFilter
from jobs.admin.records import RecordAdmin
from jobs.models import ApiKey, Scope
from jobs.services.audit import Actor, record_audit
from jobs.tenancy.services import create_api_key, revoke_api_key

SCOPE_LABELS = {
    Scope.SUBMIT: "submit: hand in jobs, generations and submissions",
    Scope.WORK: "work: claim jobs and report on them",
    Scope.READ: "read: look at everything of the tenant",
    Scope.MANAGE: "manage: cancel, retry, change collections and endpoints",
}


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]
    scopes = forms.MultipleChoiceField(
        choices=list(SCOPE_LABELS.items()), widget=UnfoldAdminCheckboxSelectMultipleWidget
    )

    class Meta:
        model = ApiKey
        fields = ["tenant", "name", "scopes", "expires_at"]

    def clean_expires_at(self) -> datetime | None:
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= timezone.now():
            raise forms.ValidationError("This is past: the key would open nothing.")
        return expires_at


class ShownOnce:
    """A secret that a page prints, while a log or error report, which takes the repr, does not."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "<a secret>"


@admin.register(ApiKey)
class ApiKeyAdmin(RecordAdmin):
    form = ApiKeyForm
    fields = ("tenant", "name", "scopes", "expires_at")
    autocomplete_fields = ["tenant"]
    list_display = ["what", "state", "tenant_slug", "may", "last_used", "expires", "created"]
    list_display_links = ["what"]
    list_filter = [TenantFilter]
    search_fields = ["id"]
    search_help_text = "Prefix or name"
    actions = ["revoke_keys"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        rows: QuerySet[ApiKey] = super().get_queryset(request)
        return rows.select_related("tenant").defer("digest")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.add_apikey")

    def find(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        # Only the id part: a whole key that someone pastes here is not looked for, and need not be.
        return rows.filter(Q(pk=term.removeprefix("afd_").split("_")[0]) | Q(name__icontains=term))

    @sensitive_variables("text")
    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        key, text = create_api_key(obj.tenant, name=obj.name, scopes=obj.scopes, expires_at=obj.expires_at)
        obj.pk = key.pk
        # On the request, which ends with the answer: no session ever holds it.
        request.key_text = ShownOnce(text.text)  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the key in the answer itself: this is the only page that ever has it."""
        context = {
            **self.admin_site.each_context(request),
            "title": "The new key",
            "opts": self.opts,
            "key": obj,
            "key_text": request.key_text,  # type: ignore[attr-defined]
        }
        return TemplateResponse(request, "admin/jobs/apikey/made.html", context)

    @admin.display(description="Key")
    def what(self, key: ApiKey) -> SafeString:
        return titled(key.name, prefix_of(key))

    @admin.display(description="State")
    def state(self, key: ApiKey) -> SafeString:
        return badge(state_of(key))

    @admin.display(description="Tenant")
    def tenant_slug(self, key: ApiKey) -> str:
        return key.tenant.slug

    @admin.display(description="May")
    def may(self, key: ApiKey) -> SafeString:
        return words(key.scopes)

    @admin.display(description="Last used", empty_value="never")
    def last_used(self, key: ApiKey) -> SafeString | None:
        return moment(key.last_used_at)

    @admin.display(description="Expires", empty_value="never")
    def expires(self, key: ApiKey) -> SafeString | None:
        return moment(key.expires_at)

    @admin.display(description="Made")
    def created(self, key: ApiKey) -> SafeString | None:
        return moment(key.created_at)

    @admin.action(permissions=["operate"], description="Revoke selected keys")
    def revoke_keys(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        keys = list(queryset)
        if "confirmed" not in request.POST:
            context = {
                **self.admin_site.each_context(request),
                "title": f"Revoke {_keys(len(keys))}?",
                "opts": self.opts,
                "rows": [(key, self.what(key), badge(state_of(key))) for key in keys],
                "checkbox_name": ACTION_CHECKBOX_NAME,
                "back": request.get_full_path(),
            }
            return TemplateResponse(request, "admin/jobs/apikey/confirm.html", context)
        revoked = [key for key in keys if self.revoke(request, key)]
        if revoked:
            self.message_user(request, f"{_keys(len(revoked))} revoked.", messages.SUCCESS)
        if refused := len(keys) - len(revoked):
            self.message_user(request, f"{_keys(refused)} refused: revoked before.", messages.WARNING)
        return None

    def revoke(self, request: HttpRequest, key: ApiKey) -> bool:
        """Revoke one key and note it; False when it was revoked already."""
        with transaction.atomic():
            was_open = revoke_api_key(key)
            if was_open:
                self.log_change(request, key, "Revoked.")
                record_audit(Actor.of_request(request), "revoke", key)
        return was_open

    def page(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        key: ApiKey | None = record
        if key is None:
            return {"show_save_and_continue": False, "show_save_and_add_another": False}
        facts = [
            ("Prefix", prefix_of(key)),
            ("Tenant", link(key.tenant)),
            ("May", words(key.scopes)),
            ("Made", moment(key.created_at)),
            ("Last used", moment(key.last_used_at) or "never"),
            ("Expires", moment(key.expires_at) or "never"),
            ("Revoked", moment(key.revoked_at)),
        ]
        return {
            "heading": key.name,
            "badges": [badge(state_of(key))],
            "facts": [(name, value) for name, value in facts if value],
            "may_revoke": self.has_operate_permission(request) and key.revoked_at is None,
            "checkbox_name": ACTION_CHECKBOX_NAME,
        }


def prefix_of(key: ApiKey) -> str:
    """As much of a key's text as anyone may see."""
    return f"afd_{key.pk}_…"


def state_of(key: ApiKey) -> str:
    """Whether the key opens anything, and if not, why."""
    if key.is_usable:
        return "usable"
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.tenant.is_active else "tenant inactive"


def _keys(count: int) -> str:
    return f"{count} key" if count == 1 else f"{count} keys"
