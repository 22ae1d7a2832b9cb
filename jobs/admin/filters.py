"""Filters that lists of several floors have; none looks through a table for its choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.contrib.admin import ModelAdmin
from django.db.models import Q
from django.http import HttpRequest

from jobs.admin.access.scoping import restriction_of, scoped
from jobs.admin.lists.criteria import (
    ChoiceCriterion,
    Choices,
    CreatedFilter,
    Criterion,
    FieldCriterion,
    Reach,
    Unusable,
    uuid_of,
)
from jobs.models import Collection, Queue, Tenant, Worker, Workflow
from jobs.queue.handlers import registered_kinds

__all__ = [
    "CHOICES_MAX",
    "Choices",
    "CollectionFilter",
    "CreatedFilter",
    "KindFilter",
    "QueueFilter",
    "ServiceFilter",
    "TenantFilter",
    "WorkflowFilter",
]

CHOICES_MAX = 100
ROWS_MAX = 500  # of workers and of collections that are asked for their services


class TenantFilter(ChoiceCriterion):
    """By the tenant's key, which the indexes begin with, and not by a join."""

    title = "tenant"
    parameter_name = "tenant"
    platform = "-"  # no slug can be this
    is_open = True

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        slugs = scoped(Tenant.objects.all(), request.user, path="pk").values_list("slug", flat=True)
        tenants = [(slug, slug) for slug in slugs[:CHOICES_MAX]]
        is_optional = (
            model_admin.model._meta.get_field("tenant").null and restriction_of(request.user) is None
        )
        return [*tenants, (self.platform, "the platform itself")] if is_optional else tenants

    def any_of(self, values: list[str]) -> Q:
        slugs = [value for value in values if value != self.platform]
        tenants = scoped(Tenant.objects.filter(slug__in=slugs), self.request.user, path="pk")
        found = dict(tenants.values_list("slug", "pk"))
        if strange := [slug for slug in slugs if slug not in found]:
            raise Unusable(f"There is no tenant {strange[0]!r}.")
        named = Q(tenant__in=list(found.values())) if found else Q(pk__in=[])
        return named | Q(tenant=None) if len(slugs) < len(values) else named

    def reach(self) -> Reach | None:
        is_one = len(self.wanted) == 1 and self.platform not in self.wanted
        indexes = {index.name for index in self.model._meta.indexes}
        return Reach.ORDERED if is_one and any(name.endswith("_tenant_newest") for name in indexes) else None


class KindFilter(ChoiceCriterion):
    """In-house handlers; one that is registered no longer is found too."""

    title = "kind"
    parameter_name = "kind"
    is_open = True

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [(kind, kind) for kind in registered_kinds()[:CHOICES_MAX]]


class QueueFilter(ChoiceCriterion):
    """The queues of the clusters; a remote job's is its service."""

    title = "queue"
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [(queue, queue) for queue in settings.QUEUES]

    def any_of(self, values: list[str]) -> Q:
        return Q(queue__in=values, service_required="")


class ServiceFilter(ChoiceCriterion):
    """Services that a worker offers, a collection asks for or a record is kept of; or any other."""

    title = "service"
    parameter_name = "service"
    field = "service_required"
    is_open = True

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        workers = scoped(Worker.objects.all(), request.user)
        collections = scoped(Collection.objects.all(), request.user)
        services = {
            service
            for offered in workers.values_list("services", flat=True)[:ROWS_MAX]
            for service in offered
        }
        recipes = collections.values_list("steps", flat=True)[:ROWS_MAX]
        services |= {str(step["service_required"]) for steps in recipes for step in steps}
        if restriction_of(request.user) is None:  # whose services they are, queues do not say
            services |= set(Queue.objects.filter(is_remote=True).values_list("name", flat=True)[:ROWS_MAX])
        return [(service, service) for service in sorted(services)[:CHOICES_MAX]]


class WorkflowFilter(FieldCriterion):
    """By the workflow's key, or the client's own name of it."""

    title = "workflow"
    parameter_name = "workflow"
    hint = "its id"
    named_max = 100

    def any_of(self, values: list[str]) -> Q:
        named = scoped(Workflow.objects.filter(tenant__in=Tenant.objects.values("pk")), self.request.user)
        keys = list(named.filter(workflow_id__in=values).values_list("pk", flat=True)[: self.named_max])
        return Q(workflow__in=[*keys, *_keys_among(values)])

    def reach(self) -> Reach | None:
        return Reach.FEW


def _keys_among(values: Sequence[str]) -> list[Any]:
    keys = []
    for value in values:
        try:
            keys.append(uuid_of(value, "Workflow"))
        except Unusable:
            continue  # a name, then
    return keys


class CollectionFilter(Criterion):
    """By a collection's name or key; `path` leads from a row to it."""

    title = "collection"
    parameter_name = "collection"
    hint = "its name or key"
    path = "collection"

    def any_of(self, values: list[str]) -> Q:
        collections = scoped(Collection.objects.all(), self.request.user)
        keys = list(collections.filter(name__in=values).values_list("pk", flat=True)[:CHOICES_MAX])
        return Q(**{f"{self.path}__in": [*keys, *_keys_among(values)]})
