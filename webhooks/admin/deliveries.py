"""Deliveries: why each is where it is, every attempt at it, and once more."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from jobs.admin.access.revealing import shown, shown_text
from jobs.admin.displays import badge, copyable, link, moment, noted, titled, words
from jobs.admin.documents import DIRECTION_MARKS, SHOWN_CHARS, Document, document
from jobs.admin.searches import as_uuid, named_workflows
from jobs.admin.verbs import Verb, VerbAdmin
from webhooks.admin.lists import DELIVERY_FILTERS
from webhooks.models import Attempt, Delivery, Endpoint, Message
from webhooks.services.deliveries import redeliver
from webhooks.services.explanations import explain, is_sending_paused

ATTEMPTS_MAX = 50
MESSAGES_MAX = 1_000  # of the workflows that a search names
PHASES = {"dns": "DNS", "connect": "Connect", "tls": "TLS", "first_byte": "First byte", "total": "Total"}


REDELIVER = Verb(
    action="redeliver",
    word="redeliver",
    title="Redeliver",
    icon="replay",
    question="Each message goes to its endpoint once more, at once and once, under the same webhook-id, whatever "
    "the state of the endpoint.",
    is_offered=lambda delivery: delivery.endpoint.deleted_at is None,
    run=lambda delivery, by, reason: redeliver(delivery),
    outcome=lambda again: "sent once more, as a delivery of its own",
)


@admin.register(Delivery)
class DeliveryAdmin(VerbAdmin):
    list_display = ["what", "state", "endpoint_name", "tenant_slug", "attempts", "when", "why"]
    list_display_links = ["what"]
    list_filter = DELIVERY_FILTERS
    list_empty = "The first is made when an endpoint takes an event."
    list_deferred = ("message__body", "endpoint__sealed_headers")
    search_fields = ["id"]
    search_help_text = "Delivery, message, endpoint, job, workflow"

    def verbs(self) -> list[Verb]:
        return [REDELIVER]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        rows: QuerySet[Delivery] = super().get_queryset(request)
        return rows.select_related("tenant", "message", "endpoint").defer("endpoint__sealed_headers")

    def find(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        if key := as_uuid(term) or as_message_id(term):
            if Endpoint.objects.filter(pk=key).exists():
                return rows.filter(endpoint=key)
            return rows.filter(Q(pk=key) | Q(message__in=[key, *messages_about(key)]))
        told = Message.objects.filter(workflow__in=named_workflows(term))
        return rows.filter(message__in=_keys(told))

    @admin.display(description="Delivery")
    def what(self, delivery: Delivery) -> SafeString:
        return titled(delivery.message.type, delivery.message.webhook_id)

    @admin.display(description="Status")
    def state(self, delivery: Delivery) -> SafeString:
        return noted(badge(delivery.status), "by hand" if delivery.is_manual else "")

    @admin.display(description="Endpoint")
    def endpoint_name(self, delivery: Delivery) -> SafeString | None:
        return link(delivery.endpoint)

    @admin.display(description="Tenant")
    def tenant_slug(self, delivery: Delivery) -> str:
        return delivery.tenant.slug

    @admin.display(description="Attempts")
    def attempts(self, delivery: Delivery) -> int:
        return delivery.attempt_count

    @admin.display(description="Next or ended", empty_value="–")
    def when(self, delivery: Delivery) -> SafeString | None:
        return moment(
            delivery.next_attempt_at or delivery.delivered_at or delivery.failed_at or delivery.held_at
        )

    @admin.display(description="Reason", empty_value="–")
    def why(self, delivery: Delivery) -> SafeString | None:
        status = f" {delivery.status_code}" if delivery.status_code and delivery.reason else ""
        return words([f"{delivery.reason}{status}"]) if delivery.reason else None

    def page(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        delivery: Delivery = record
        may_operate = self.has_operate_permission(request)
        may_read = admin.site.get_model_admin(Message).has_view_or_change_permission(request)
        body = [document("Message", shown(request, delivery.message.content))] if may_read else []
        newest_first = delivery.attempts.order_by("-id")[:ATTEMPTS_MAX]
        attempts = [card_of(request, attempt, for_operator=may_operate) for attempt in newest_first]
        if attempts:
            # Beside what the endpoint answered last, and once: it is the same each time.
            attempts[0]["documents"][:0] = body
        return {
            "heading": delivery.message.type,
            "badges": [badge(delivery.status), *([badge("by hand")] if delivery.is_manual else [])],
            "explanation": explain(delivery, is_paused=is_sending_paused()),
            "facts": facts_of(delivery),
            "attempts": attempts,
            "documents": [] if attempts else body,
            **self.offered(request, delivery),
        }


def facts_of(delivery: Delivery) -> list[tuple[str, Any]]:
    """What stands at the top of a delivery's page; what is not known is left out."""
    facts: list[tuple[str, Any]] = [
        ("Delivery", copyable(str(delivery.pk))),
        ("Message", link(delivery.message)),
        ("Endpoint", link(delivery.endpoint)),
        ("Tenant", link(delivery.tenant)),
        ("Attempts", delivery.attempt_count),
        ("Last answer", delivery.status_code),
        ("Reason", words([delivery.reason]) if delivery.reason else None),
        ("Due", moment(delivery.next_attempt_at)),
        ("Lease ends", moment(delivery.lease_expires_at)),
        ("Sent by", delivery.worker),
        ("Delivered", moment(delivery.delivered_at)),
        ("Failed", moment(delivery.failed_at)),
        ("Held", moment(delivery.held_at)),
        ("Created", moment(delivery.created_at)),
    ]
    return [(name, value) for name, value in facts if value not in (None, "")]


def card_of(request: HttpRequest, attempt: Attempt, *, for_operator: bool) -> dict[str, Any]:
    """An attempt as its card shows it; where our network was led and what went wrong in it, to operators alone."""
    facts = [
        ("URL", attempt.url),
        ("Connected to", attempt.address if for_operator else None),
        ("On our side", attempt.internal_detail if for_operator else None),
        ("Sent by", attempt.worker),
    ]
    return {
        "number": attempt.number,
        "badge": badge(attempt.outcome),
        "said": attempt.status_code or attempt.reason,
        "detail": attempt.detail,
        "reason": attempt.reason,
        "took": f"{attempt.duration_ms:,} ms" if attempt.duration_ms is not None else "",
        "at": moment(attempt.started_at),
        "facts": [(name, value) for name, value in facts if value],
        "timings": timings_of(attempt),
        "documents": [
            answer(request, attempt),
            document("Request headers", shown(request, attempt.request_headers)),
            document("Answer's headers", shown(request, _by_name(attempt.response_headers))),
        ],
    }


def timings_of(attempt: Attempt) -> list[dict[str, Any]]:
    """Each phase that was measured, in milliseconds, and what it is part of."""
    timings = attempt.timings if isinstance(attempt.timings, dict) else {}
    known = {name: value for name, value in timings.items() if isinstance(value, int)}
    whole = max(known.values(), default=0) or 1
    return [
        {"name": label, "ms": known[phase], "of": whole} for phase, label in PHASES.items() if phase in known
    ]


def answer(request: HttpRequest, attempt: Attempt) -> Document:
    """What came back: laid out where it is JSON, else as the text it is."""
    title = f"Answer, {attempt.status_code}" if attempt.status_code else "Answer"
    text = attempt.response_body
    try:
        laid_out = document(title, shown(request, json.loads(text)))
    except (ValueError, RecursionError):
        laid_out = plain(title, shown_text(request, text))
    return replace(laid_out, is_cut=laid_out.is_cut or attempt.is_response_cut)


def plain(title: str, text: str) -> Document:
    """Text as a document: one token that a template escapes."""
    safe = DIRECTION_MARKS.sub(lambda mark: f"\\u{ord(mark[0]):04x}", text)
    tokens = [("plain", safe[:SHOWN_CHARS])]
    is_cut = len(safe) > SHOWN_CHARS
    return Document(title=title, tokens=tokens, chars=len(safe), is_cut=is_cut, is_empty=not safe)


def _by_name(headers: Any) -> Any:
    """Pairs of headers as an object; as they are where a name comes twice, or they are no pairs."""
    try:
        found = {str(name): value for name, value in headers}
    except (TypeError, ValueError):
        return headers
    return found if len(found) == len(headers) else headers


def as_message_id(term: str) -> UUID | None:
    """The key of the message with this `webhook-id`."""
    digits = term.removeprefix("msg_")
    if digits == term or len(digits) != 32:
        return None
    try:
        return UUID(digits)
    except ValueError:
        return None


def messages_about(key: UUID) -> list[UUID]:
    """The messages that speak of this job or workflow."""
    return _keys(Message.objects.filter(Q(job=key) | Q(workflow=key)))


def _keys(messages: QuerySet[Message]) -> list[UUID]:
    return list(messages.order_by().values_list("pk", flat=True)[:MESSAGES_MAX])
