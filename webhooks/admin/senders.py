"""Senders: added, renamed, switched off, given new secrets; never deleted."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from unfold.widgets import UnfoldAdminPasswordWidget

from jobs.admin.api_keys import ShownOnce
from jobs.admin.displays import badge, copyable, link, moment, titled
from jobs.admin.filters import TenantFilter
from jobs.admin.forms import ServiceForm
from jobs.admin.searches import as_uuid, newest
from jobs.admin.verbs import Verb
from webhooks.admin.secrets import secret_lines
from webhooks.admin.sections import rows_of_receipts
from webhooks.admin.verbs import SecretsAdmin, SecretVerb, no_word_of_it
from webhooks.models import Receipt, Sender, SenderSecret
from webhooks.services.secrets import revoke_earlier_secrets
from webhooks.services.senders import create_sender, rotate_sender_secret

RECENT = 10
PATHS = ("workflow-completed", "user-notified", "miniapp")


ROTATE = SecretVerb(
    action="rotate_secrets",
    word="rotate secret",
    title="Give a new secret to",
    label="New secret",
    icon="key",
    question="The new secret is shown once. What is signed with the one before is taken for 24 hours more.",
    run=lambda sender, by, reason: rotate_sender_secret(sender),
    outcome=no_word_of_it,
)
REVOKE = Verb(
    action="revoke_secrets",
    word="revoke secrets",
    title="Revoke the earlier secrets of",
    label="Revoke earlier secrets",
    icon="key_off",
    question="What is still signed with an earlier secret is refused from now on.",
    is_grave=True,
    is_offered=lambda sender: sender.secrets.live().count() > 1,
    run=lambda sender, by, reason: revoke_earlier_secrets(sender),
    outcome=lambda count: f"rid of {count} earlier {'secret' if count == 1 else 'secrets'}",
)


class SenderForm(ServiceForm):
    secret = forms.CharField(
        required=False,
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="As the upstream gives it. Empty: one is made, and shown once.",
    )

    class Meta:
        model = Sender
        fields = ["tenant", "name", "is_active"]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if "tenant" in self.fields and not self.instance._state.adding:
            # Shown and not to be changed, yet part of the form: names are unique within it.
            self.fields["tenant"].disabled = True

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if not name.isprintable():
            raise forms.ValidationError("A name has printable characters only.")
        return name

    @sensitive_variables("text", "given")
    def serve(self) -> None:
        if not self.instance._state.adding:
            return
        given = self.cleaned_data["secret"]
        self.sender, text = create_sender(
            self.cleaned_data["tenant"], name=self.cleaned_data["name"], secret=given
        )
        # Who gave it has it.
        self.secret_text = None if given else ShownOnce(text)


@admin.register(Sender)
class SenderAdmin(SecretsAdmin):
    form = SenderForm
    autocomplete_fields = ["tenant"]
    list_display = ["what", "state", "tenant_slug", "secret_made", "created"]
    list_display_links = ["what"]
    list_filter = ["is_active", TenantFilter]
    search_fields = ["id"]
    search_help_text = "Id or name"
    audited_fields = ("is_active",)

    def verbs(self) -> list[Verb]:
        return [ROTATE, REVOKE]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Sender] = super().get_queryset(request)
        current = SenderSecret.objects.filter(sender=OuterRef("pk"), expires_at=None).values("created_at")
        return rows.select_related("tenant").annotate(made=ArraySubquery(current[:1]))

    def get_fields(self, request: HttpRequest, obj: Sender | None = None) -> list[str]:
        if obj is None:
            return ["tenant", "name", "secret"]
        # Who may not change it sees the page's facts alone.
        return ["tenant", "name", "is_active"] if self.has_change_permission(request, obj) else ["name"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("webhooks.add_sender")

    def has_change_permission(self, request: HttpRequest, obj: Sender | None = None) -> bool:
        return self.has_operate_permission(request)

    def find(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        key = as_uuid(term)
        return rows.filter(pk=key) if key else rows.filter(Q(name__icontains=term))

    @method_decorator(sensitive_post_parameters("secret"))
    def changeform_view(self, *args: Any, **options: Any) -> HttpResponse:
        response: HttpResponse = super().changeform_view(*args, **options)
        return response

    def save_model(self, request: HttpRequest, obj: Sender, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        obj.pk = form.sender.pk
        # On the request, which ends with the answer: no session ever holds it.
        request.secret = form.secret_text  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: Sender, post_url_continue: str | None = None
    ) -> HttpResponse:
        secret = request.secret  # type: ignore[attr-defined]
        if secret is not None:
            return self.show_secrets(request, [(obj, secret)])
        response: HttpResponse = super().response_add(request, obj, post_url_continue)
        return response

    @admin.display(description="Sender")
    def what(self, sender: Sender) -> SafeString:
        return titled(sender.name, str(sender.pk))

    @admin.display(description="State")
    def state(self, sender: Sender) -> SafeString:
        return badge("active" if sender.is_active else "inactive")

    @admin.display(description="Tenant")
    def tenant_slug(self, sender: Sender) -> str:
        return sender.tenant.slug

    @admin.display(description="Secret made", empty_value="–")
    def secret_made(self, sender: Any) -> SafeString | None:
        return moment(sender.made[0]) if sender.made else None

    @admin.display(description="Created")
    def created(self, sender: Sender) -> SafeString | None:
        return moment(sender.created_at)

    def page(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        sender: Sender | None = record
        buttons = {"show_save_and_continue": False, "show_save_and_add_another": False}
        if sender is None:
            return buttons
        may_see = self.admin_site.get_model_admin(Receipt).has_view_or_change_permission(request)
        live = list(sender.secrets.live().defer("sealed"))
        may_change = self.has_change_permission(request, sender)
        return {
            **buttons,
            "badges": [badge("active" if sender.is_active else "inactive")],
            "facts": [
                ("Sender", copyable(str(sender.pk))),
                ("Tenant", link(sender.tenant)),
                ("Created", moment(sender.created_at)),
            ],
            "secrets": secret_lines(live),
            "addresses": [copyable(address) for address in addresses_of(sender)],
            "rows": recent_receipts(sender) if may_see else None,
            "may_change": may_change,
            **self.offered(request, sender),
        }


def addresses_of(sender: Sender) -> list[str]:
    """Where a sender may call; its id makes that its secrets alone are tried."""
    return [f"{settings.PUBLIC_URL}{reverse(path)}?sender={sender.pk}" for path in PATHS]


def recent_receipts(sender: Sender) -> list[dict[str, Any]]:
    mine = newest(Receipt.objects.filter(tenant=sender.tenant_id, sender=sender))
    return rows_of_receipts(mine.order_by("-id")[:RECENT])
