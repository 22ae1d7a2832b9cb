"""Endpoints: added, changed, paused, tested, recovered here; their secrets shown once."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters

from jobs.admin.displays import anchor, badge, copyable, link, moment, noted, page_url, titled, words
from jobs.admin.filters import Choices, TenantFilter
from jobs.admin.records import RecordList
from jobs.admin.searches import as_uuid
from jobs.tenancy.sealing import Unreadable
from webhooks.admin.endpoint_form import FIELDS, EndpointForm
from webhooks.admin.health import capped, health_of, share_of, waiting_count, with_health
from webhooks.admin.secrets import secret_lines
from webhooks.admin.verbs import Question, Verb, VerbAdmin
from webhooks.events import CATALOGUE, CHOOSABLE
from webhooks.models import Delivery, Endpoint
from webhooks.services.deliveries import recover_deliveries, send_test
from webhooks.services.endpoints import delete_endpoint, headers_of, pause_endpoint, resume_endpoint
from webhooks.services.secrets import revoke_earlier_secrets, rotate_secret

RECENT = 20


def run_pause(endpoint: Endpoint, by: str) -> str:
    pause_endpoint(endpoint, by=by)
    return "paused; what is meant for it is held until it is resumed"


def run_resume(endpoint: Endpoint, by: str) -> str:
    resume_endpoint(endpoint)
    return "resumed"


def run_test(endpoint: Endpoint, by: str) -> str:
    send_test(endpoint)
    return "a test is on its way"


def run_revoke(endpoint: Endpoint, by: str) -> str:
    count = revoke_earlier_secrets(endpoint)
    return f"{count} earlier {'secret' if count == 1 else 'secrets'} revoked"


def run_recover(endpoint: Endpoint, by: str) -> str:
    count = recover_deliveries(endpoint)
    return f"{count:,} {'delivery begins' if count == 1 else 'deliveries begin'} anew"


def run_delete(endpoint: Endpoint, by: str) -> str:
    delete_endpoint(endpoint)
    return "deleted"


PAUSE = Verb(action="pause_endpoints", title="Pause", run=run_pause)
RESUME = Verb(action="resume_endpoints", title="Resume", run=run_resume)
TEST = Verb(action="test_endpoints", title="Send a test to", run=run_test)
ROTATE = Question(
    action="rotate_secrets",
    title="Give a new secret to",
    question="The new secret is shown once. The one before signs beside it for 24 hours, so that who receives can "
    "change over.",
)
REVOKE = Verb(
    action="revoke_secrets",
    title="Revoke the earlier secrets of",
    question="Only the current secret signs from now on: who still checks with an earlier one takes messages for "
    "forged.",
    is_grave=True,
    run=run_revoke,
)
RECOVER = Verb(
    action="recover_endpoints",
    title="Recover the deliveries of",
    question="What is held or has failed is sent again, the schedule begun anew.",
    run=run_recover,
)
DELETE = Verb(
    action="delete_endpoints",
    title="Delete",
    question="Nothing more is sent there and what waits is given up. Its history stays. This can't be undone.",
    is_grave=True,
    run=run_delete,
)


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        listed = [state for state in Endpoint.State if state != Endpoint.State.DELETED]
        return [*((state.value, state.label) for state in listed), ("failing", "Failing")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        resting = Q(breaker_until__gt=timezone.now())
        states = {
            "disabled": Q(disabled_at__isnull=False),
            "paused": Q(disabled_at=None, paused_at__isnull=False),
            "resting": Q(disabled_at=None, paused_at=None) & resting,
            "active": Q(disabled_at=None, paused_at=None) & ~resting,
            "failing": Q(failing_since__isnull=False),
        }
        return queryset.filter(states.get(self.value() or "", Q()))


class KeptEndpoints(RecordList):
    """The list shows what is not deleted, each with its health."""

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[Any]:
        return with_health(super().get_queryset(request, exclude_parameters).filter(deleted_at=None))


@admin.register(Endpoint)
class EndpointAdmin(VerbAdmin):
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
    list_filter = [StateFilter, TenantFilter]
    list_deferred = ("sealed_headers",)
    search_fields = ["id"]
    search_help_text = "Id, part of the URL or of the description"
    actions = [
        "pause_endpoints",
        "resume_endpoints",
        "test_endpoints",
        "rotate_secrets",
        "revoke_secrets",
        "recover_endpoints",
        "delete_endpoints",
    ]

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
        return self.has_operate_permission(request) and (obj is None or obj.deleted_at is None)

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

    @admin.action(permissions=["operate"], description="Pause selected endpoints")
    def pause_endpoints(self, request: HttpRequest, queryset: QuerySet[Endpoint]) -> HttpResponse | None:
        return self.act(request, queryset, PAUSE)

    @admin.action(permissions=["operate"], description="Resume selected endpoints")
    def resume_endpoints(self, request: HttpRequest, queryset: QuerySet[Endpoint]) -> HttpResponse | None:
        return self.act(request, queryset, RESUME)

    @admin.action(permissions=["operate"], description="Send a test to selected endpoints")
    def test_endpoints(self, request: HttpRequest, queryset: QuerySet[Endpoint]) -> HttpResponse | None:
        return self.act(request, queryset, TEST)

    @admin.action(permissions=["operate"], description="Give selected endpoints a new secret")
    def rotate_secrets(self, request: HttpRequest, queryset: QuerySet[Endpoint]) -> HttpResponse:
        return self.act_for_secrets(request, queryset, ROTATE, rotate_secret)

    @admin.action(permissions=["operate"], description="Revoke earlier secrets of selected endpoints")
    def revoke_secrets(self, request: HttpRequest, queryset: QuerySet[Endpoint]) -> HttpResponse | None:
        return self.act(request, queryset, REVOKE)

    @admin.action(permissions=["operate"], description="Recover deliveries of selected endpoints")
    def recover_endpoints(self, request: HttpRequest, queryset: QuerySet[Endpoint]) -> HttpResponse | None:
        return self.act(request, queryset, RECOVER, remark=_recoverable(queryset))

    @admin.action(permissions=["remove"], description="Delete selected endpoints")
    def delete_endpoints(self, request: HttpRequest, queryset: QuerySet[Endpoint]) -> HttpResponse | None:
        return self.act(request, queryset, DELETE)

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
            "verbs": self.verbs_for(request, endpoint, has_earlier_secrets=len(live) > 1),
            "may_change": self.has_change_permission(request, endpoint),
            "checkbox_name": ACTION_CHECKBOX_NAME,
        }

    def verbs_for(
        self, request: HttpRequest, endpoint: Endpoint, *, has_earlier_secrets: bool
    ) -> list[tuple[str, str, str]]:
        """The action, label and icon of each button on an endpoint's page."""
        if endpoint.deleted_at is not None:
            return []
        is_stopped = endpoint.state in (Endpoint.State.PAUSED, Endpoint.State.DISABLED)
        verbs = []
        if self.has_operate_permission(request):
            resume = [(RESUME.action, "Resume", "play_arrow")] if is_stopped else []
            pause = [(PAUSE.action, "Pause", "pause")] if endpoint.paused_at is None else []
            recover = [] if is_stopped else [(RECOVER.action, "Recover", "restart_alt")]
            test = [(TEST.action, "Test", "science")]
            verbs = [*resume, *test, *pause, *recover, (ROTATE.action, "New secret", "key")]
            if has_earlier_secrets:
                verbs.append((REVOKE.action, "Revoke earlier secrets", "key_off"))
        if self.has_remove_permission(request):
            verbs.append((DELETE.action, "Delete", "delete"))
        return verbs


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


def _recoverable(endpoints: QuerySet[Any]) -> str:
    """How many deliveries a recovery would begin anew, as far as they are counted."""
    keys = list(endpoints.order_by().values_list("pk", flat=True))
    mine = Delivery.objects.filter(endpoint__in=keys, is_manual=False).order_by()
    statuses = (Delivery.Status.HELD, Delivery.Status.FAILED)
    counts = [mine.filter(status=status)[:1_001].count() for status in statuses]
    held, failed = map(capped, counts)
    return f"{held} held and {failed} failed."
