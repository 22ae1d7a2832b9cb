"""Endpoints: added, changed, paused, tested, recovered here; their secrets shown once."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters

from jobs.admin.displays import anchor, badge, copyable, link, moment, noted, page_url, titled, words
from jobs.admin.records import RecordList
from jobs.admin.searches import as_uuid
from jobs.admin.verbs import Verb
from jobs.tenancy.sealing import Unreadable
from webhooks.admin.endpoint_form import FIELDS, EndpointForm
from webhooks.admin.health import capped, health_of, share_of, waiting_count, with_health
from webhooks.admin.lists import ENDPOINT_FILTERS
from webhooks.admin.secrets import secret_lines
from webhooks.admin.verbs import SecretsAdmin, SecretVerb, no_word_of_it
from webhooks.events import CATALOGUE, CHOOSABLE
from webhooks.models import Delivery, Endpoint
from webhooks.services.deliveries import AT_ONCE, recover_some, send_test
from webhooks.services.endpoints import delete_endpoint, headers_of, pause_endpoint, resume_endpoint
from webhooks.services.secrets import revoke_earlier_secrets, rotate_secret

RECENT = 20


def is_kept(endpoint: Endpoint) -> bool:
    return endpoint.deleted_at is None


def is_stopped(endpoint: Endpoint) -> bool:
    return endpoint.state in (Endpoint.State.PAUSED, Endpoint.State.DISABLED)


def has_earlier_secrets(endpoint: Endpoint) -> bool:
    return is_kept(endpoint) and endpoint.secrets.live().count() > 1


def outcome_of_revoke(count: int) -> str:
    return f"rid of {count} earlier {'secret' if count == 1 else 'secrets'}"


def outcome_of_recover(count: int) -> str:
    return f"recovered: {count:,} {'delivery begins' if count == 1 else 'deliveries begin'} anew"


RESUME = Verb(
    action="resume_endpoints",
    word="resume",
    title="Resume",
    icon="play_arrow",
    question="What was held while it was paused is sent; what was held since it was disabled waits to be recovered.",
    is_asked_on_page=False,
    is_offered=lambda endpoint: is_kept(endpoint) and is_stopped(endpoint),
    run=lambda endpoint, by, reason: resume_endpoint(endpoint),
    outcome=lambda endpoint: "resumed",
)
TEST = Verb(
    action="test_endpoints",
    word="test",
    title="Send a test to",
    label="Test",
    icon="science",
    question="Each is sent an event of type webhook.test, once, whatever its state.",
    is_asked_on_page=False,
    is_offered=is_kept,
    run=lambda endpoint, by, reason: send_test(endpoint),
    outcome=lambda delivery: "sent a test",
)
PAUSE = Verb(
    action="pause_endpoints",
    word="pause",
    title="Pause",
    icon="pause",
    question="What is meant for it is held until it is resumed.",
    is_asked_on_page=False,
    is_offered=lambda endpoint: is_kept(endpoint) and endpoint.paused_at is None,
    run=lambda endpoint, by, reason: pause_endpoint(endpoint, by=by),
    outcome=lambda endpoint: "paused; what is meant for it is held until it is resumed",
)
RECOVER = Verb(
    action="recover_endpoints",
    word="recover",
    title="Recover the deliveries of",
    label="Recover",
    icon="restart_alt",
    question="What is held or has failed is sent again, the schedule begun anew.",
    remark=lambda endpoints: _recoverable(endpoints),
    lot_size=AT_ONCE,
    is_offered=lambda endpoint: is_kept(endpoint) and not is_stopped(endpoint),
    run=lambda endpoint, by, reason: recover_some(endpoint),
    outcome=outcome_of_recover,
)
ROTATE = SecretVerb(
    action="rotate_secrets",
    word="rotate secret",
    title="Give a new secret to",
    label="New secret",
    icon="key",
    permission="guard",
    question="The new secret is shown once. The one before signs beside it for 24 hours, so that who receives can "
    "change over.",
    is_offered=is_kept,
    run=lambda endpoint, by, reason: rotate_secret(endpoint),
    outcome=no_word_of_it,
)
REVOKE = Verb(
    action="revoke_secrets",
    word="revoke secrets",
    title="Revoke the earlier secrets of",
    label="Revoke earlier secrets",
    icon="key_off",
    question="Only the current secret signs from now on: who still checks with an earlier one takes messages for "
    "forged.",
    is_grave=True,
    permission="guard",
    is_offered=has_earlier_secrets,
    run=lambda endpoint, by, reason: revoke_earlier_secrets(endpoint),
    outcome=outcome_of_revoke,
)
DELETE = Verb(
    action="delete_endpoints",
    word="delete",
    title="Delete",
    icon="delete",
    question="Nothing more is sent there and what waits is given up. Its history stays. This can't be undone.",
    is_grave=True,
    permission="remove",
    is_offered=is_kept,
    run=lambda endpoint, by, reason: delete_endpoint(endpoint),
    outcome=lambda nothing: "deleted",
)


class KeptEndpoints(RecordList):
    """The list shows what is not deleted, each with its health."""

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        return rows.filter(deleted_at=None)

    def dress(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return with_health(rows)


@admin.register(Endpoint)
class EndpointAdmin(SecretsAdmin):
    form = EndpointForm
    autocomplete_fields = ["tenant"]
    list_display = [
        "what",
        "state",
        "tenant_slug",
        "takes",
        "fares",
        "delivered",
        "failed",
        "waits",
        "created",
    ]
    list_display_links = ["what"]
    list_filter = ENDPOINT_FILTERS
    list_empty = "Add one, to have events delivered to it."
    list_deferred = ("sealed_headers",)
    search_fields = ["id"]
    search_help_text = "Id, part of the URL or of the description"
    audited_fields = ("state", "paused_by", "disabled_reason")

    def verbs(self) -> list[Verb]:
        return [RESUME, TEST, PAUSE, RECOVER, ROTATE, REVOKE, DELETE]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Endpoint]:
        rows: QuerySet[Endpoint] = super().get_queryset(request)
        return rows.select_related("tenant")

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[RecordList]:
        return KeptEndpoints

    def get_fields(self, request: HttpRequest, obj: Endpoint | None = None) -> list[str]:
        if obj is None:
            return ["tenant", *FIELDS, "headers"]
        # Who may not change it sees the page's facts alone.
        return [*FIELDS, "headers", "remove_headers"] if self.has_change_permission(request, obj) else ["url"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("webhooks.add_endpoint")

    def has_change_permission(self, request: HttpRequest, obj: Endpoint | None = None) -> bool:
        may_change = self.has_operate_permission(request, obj) and self.has_guard_permission(request)
        return may_change and (obj is None or obj.deleted_at is None)

    def has_guard_permission(self, request: HttpRequest) -> bool:
        """Whether this account may say where messages go and with which secret: as whoever may add endpoints."""
        return self.has_add_permission(request)

    def has_remove_permission(self, request: HttpRequest) -> bool:
        """Whether this account may delete endpoints; Django's own delete, which takes the row away, nobody may."""
        return request.user.has_perm("webhooks.delete_endpoint")

    def find(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        if key := as_uuid(term):
            return rows.filter(pk=key)
        return rows.filter(Q(url__icontains=term) | Q(description__icontains=term))

    @method_decorator(sensitive_post_parameters("headers"))
    def changeform_view(self, *args: Any, **options: Any) -> HttpResponse:
        response: HttpResponse = super().changeform_view(*args, **options)
        return response

    def save_model(self, request: HttpRequest, obj: Endpoint, form: Any, change: bool) -> None:
        # The form's service has done it already.
        if not change:
            obj.pk = form.endpoint.pk
            # On the request, which ends with the answer: no session ever holds it.
            request.secret = form.secret_text  # type: ignore[attr-defined]

    def response_add(
        self, request: HttpRequest, obj: Endpoint, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self.show_secrets(request, [(obj, request.secret)])  # type: ignore[attr-defined]

    @admin.display(description="Endpoint")
    def what(self, endpoint: Endpoint) -> SafeString:
        return titled(str(endpoint), str(endpoint.pk))

    @admin.display(description="State")
    def state(self, endpoint: Endpoint) -> SafeString:
        return badge(endpoint.state)

    @admin.display(description="Tenant")
    def tenant_slug(self, endpoint: Endpoint) -> str:
        return endpoint.tenant.slug

    @admin.display(description="Takes")
    def takes(self, endpoint: Endpoint) -> SafeString:
        return words(endpoint.event_types or ["every type"])

    @admin.display(description="Delivered", empty_value="–")
    def fares(self, endpoint: Any) -> SafeString | None:
        share = share_of(endpoint.outcomes)
        return titled(share, f"of {len(endpoint.outcomes)}") if share else None

    @admin.display(description="Last success", empty_value="never")
    def delivered(self, endpoint: Endpoint) -> SafeString | None:
        return moment(endpoint.last_success_at)

    @admin.display(description="Last failure", empty_value="never")
    def failed(self, endpoint: Endpoint) -> SafeString | None:
        return moment(endpoint.last_failure_at)

    @admin.display(description="Waiting")
    def waits(self, endpoint: Any) -> str:
        return capped(endpoint.waiting_count)

    @admin.display(description="Created")
    def created(self, endpoint: Endpoint) -> SafeString | None:
        return moment(endpoint.created_at)

    def page(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        endpoint: Endpoint | None = record
        buttons = {"show_save_and_continue": False, "show_save_and_add_another": False}
        if endpoint is None:
            return buttons
        may_see = self.admin_site.get_model_admin(Delivery).has_view_or_change_permission(request)
        live = list(endpoint.secrets.live().defer("sealed"))
        types = endpoint.event_types or CHOOSABLE
        return {
            **buttons,
            "badges": [badge(endpoint.state)],
            "facts": facts_of(endpoint, may_see_deliveries=may_see),
            "health": health_of(endpoint),
            "secrets": secret_lines(live),
            "deliveries": recent_deliveries(endpoint) if may_see else None,
            "deliveries_url": deliveries_url(endpoint),
            "events": [CATALOGUE[name] for name in types if name in CATALOGUE],
            "may_change": self.has_change_permission(request, endpoint),
            **self.offered(request, endpoint),
        }


def facts_of(endpoint: Endpoint, *, may_see_deliveries: bool) -> list[tuple[str, Any]]:
    """What stands at the top of an endpoint's page; what is not known is left out."""
    waiting = capped(Endpoint.objects.values_list(waiting_count(endpoint.pk), flat=True).get(pk=endpoint.pk))
    paused = moment(endpoint.paused_at)
    disabled = moment(endpoint.disabled_at)
    is_resting = endpoint.state == Endpoint.State.RESTING
    facts: list[tuple[str, Any]] = [
        ("URL", copyable(endpoint.url)),
        ("Endpoint", copyable(str(endpoint.pk))),
        ("Tenant", link(endpoint.tenant)),
        ("Waiting", anchor(deliveries_url(endpoint), waiting) if may_see_deliveries else waiting),
        ("Failures in a row", endpoint.failures),
        ("Failing since", moment(endpoint.failing_since)),
        ("Rests until", moment(endpoint.breaker_until) if is_resting else None),
        ("Paused", noted(paused, f"by {endpoint.paused_by or 'somebody'}") if paused else None),
        ("Disabled", noted(disabled, DISABLED_BECAUSE[endpoint.disabled_reason]) if disabled else None),
        ("Deleted", moment(endpoint.deleted_at)),
        ("Last success", moment(endpoint.last_success_at) or "never"),
        ("Last failure", moment(endpoint.last_failure_at) or "never"),
        ("Sent along", _header_names(endpoint)),
        ("In flight at most", endpoint.max_in_flight),
        ("A minute at most", endpoint.max_per_minute or "as many as it takes"),
        ("Created", moment(endpoint.created_at)),
        ("Changed", moment(endpoint.updated_at)),
    ]
    return [(name, value) for name, value in facts if value not in (None, "")]


DISABLED_BECAUSE: dict[str, str] = {
    Endpoint.DisabledReason.FAILING: "every attempt has failed for days",
    Endpoint.DisabledReason.GONE: "it answered 410: it wants no more",
}


def _header_names(endpoint: Endpoint) -> SafeString | str:
    try:
        return words(names) if (names := headers_of(endpoint)) else "no headers of its own"
    except Unreadable:
        return "headers that no key here opens"


def recent_deliveries(endpoint: Endpoint) -> list[dict[str, Any]]:
    fields = ("status", "reason", "status_code", "created_at", "endpoint", "message__type")
    newest = endpoint.deliveries.select_related("message").only(*fields).order_by("-id")
    return [
        {
            "url": page_url(delivery),
            "title": titled(delivery.message.type, delivery.message.webhook_id),
            "badge": badge(delivery.status),
            "at": moment(delivery.created_at),
        }
        for delivery in newest[:RECENT]
    ]


def deliveries_url(endpoint: Endpoint) -> str:
    return f"{reverse('admin:webhooks_delivery_changelist')}?endpoint={endpoint.pk}"


def _recoverable(endpoints: list[Endpoint]) -> str:
    """How many deliveries a recovery would begin anew, as far as they are counted."""
    mine = Delivery.objects.filter(endpoint__in=endpoints, is_manual=False).order_by()
    statuses = (Delivery.Status.HELD, Delivery.Status.FAILED)
    counts = [mine.filter(status=status)[:1_001].count() for status in statuses]
    held, failed = map(capped, counts)
    return f"{held} held and {failed} failed."
