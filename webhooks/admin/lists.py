"""What the lists of this floor are filtered by, and which of their indexes lead there."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone

from jobs.admin.access.scoping import scoped
from jobs.admin.filters import CHOICES_MAX, CreatedFilter, TenantFilter, WorkflowFilter
from jobs.admin.lists import scans
from jobs.admin.lists.criteria import (
    ChoiceCriterion,
    Choices,
    ModelChoiceCriterion,
    Reach,
    TraceCriterion,
    by_choice,
    by_key,
    uuid_of,
)
from webhooks.events import CATALOGUE
from webhooks.models import Delivery, Endpoint, Reason, Receipt, Sender

Status = Delivery.Status


class StatusFilter(ModelChoiceCriterion):
    """All but what was delivered has partial indexes, two of them for what is pending."""

    title = "status"
    parameter_name = "status"

    def any_of(self, values: list[str]) -> Q:
        if self.reach() is None or values is not self.wanted:
            return Q(status__in=values)
        found = Q()
        for value in values:
            if value == Status.PENDING:
                found |= Q(status=value, is_manual=False) | Q(status=value, is_manual=True)
            else:
                found |= Q(status=value)
        return found

    def reach(self) -> Reach | None:
        has_indexes = self.wanted and Status.DELIVERED not in self.wanted
        return Reach.SORTED if has_indexes else None


class ReasonFilter(ChoiceCriterion):
    title = "reason"
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [(reason, reason) for reason in Reason.values]


class TypeFilter(ChoiceCriterion):
    """By the type of event; those of old, too."""

    title = "type"
    parameter_name = "type"
    is_open = True

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [(name, name) for name in CATALOGUE]


class DeliveryTypeFilter(TypeFilter):
    """Looks each message up, so that it goes no further at a time than where JSON is looked into."""

    field = "message__type"

    @property
    def window(self) -> int:
        return scans.SEARCHED_DOCUMENTS


class EndpointFilter(ChoiceCriterion):
    title = "endpoint"
    parameter_name = "endpoint"
    is_open = True

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        fields = ("url", "description")
        endpoints = scoped(Endpoint.objects.kept(), request.user).order_by("-id").only(*fields)[:CHOICES_MAX]
        return [(str(endpoint.pk), str(endpoint)[:60]) for endpoint in endpoints]

    def any_of(self, values: list[str]) -> Q:
        return Q(endpoint__in=[uuid_of(value, self.name) for value in values])

    def reach(self) -> Reach | None:
        return Reach.ORDERED if len(self.wanted) == 1 else Reach.SORTED


DELIVERY_FILTERS = [
    StatusFilter,
    CreatedFilter,
    ReasonFilter,
    DeliveryTypeFilter,
    TenantFilter,
    EndpointFilter,
    by_key("message", field="message"),
]
MESSAGE_FILTERS = [
    TypeFilter,
    CreatedFilter,
    TenantFilter,
    WorkflowFilter,
    by_key("job", field="job"),
    TraceCriterion,
]


class ReceiptStateFilter(by_choice("state", ordered=("refused",))):  # type: ignore[misc]
    """What was refused has an index, and so has what waits for its workflow."""

    def reach(self) -> Reach | None:
        return Reach.SORTED if self.wanted == [Receipt.State.WAITING] else super().reach()


class SenderFilter(ChoiceCriterion):
    title = "sender"
    parameter_name = "sender"
    is_open = True

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        senders = scoped(Sender.objects.all(), request.user).order_by("name").values_list("pk", "name")
        return [(str(key), name) for key, name in senders[:CHOICES_MAX]]

    def any_of(self, values: list[str]) -> Q:
        return Q(sender__in=[uuid_of(value, self.name) for value in values])


RECEIPT_FILTERS = [
    by_choice("path"),
    ReceiptStateFilter,
    CreatedFilter,
    TenantFilter,
    SenderFilter,
    WorkflowFilter,
    TraceCriterion,
]


class EndpointStateFilter(ChoiceCriterion):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        listed = [state for state in Endpoint.State if state != Endpoint.State.DELETED]
        return [*((state.value, state.label) for state in listed), ("failing", "Failing")]

    def any_of(self, values: list[str]) -> Q:
        resting = Q(breaker_until__isnull=False, breaker_until__gt=timezone.now())
        states = {
            "disabled": Q(disabled_at__isnull=False),
            "paused": Q(disabled_at=None, paused_at__isnull=False),
            "resting": Q(disabled_at=None, paused_at=None) & resting,
            "active": Q(disabled_at=None, paused_at=None) & ~resting,
            "failing": Q(failing_since__isnull=False),
        }
        found = Q(pk__in=[])
        for value in values:
            found |= states.get(value, Q(pk__in=[]))
        return found


ENDPOINT_FILTERS = [EndpointStateFilter, TenantFilter, CreatedFilter]
