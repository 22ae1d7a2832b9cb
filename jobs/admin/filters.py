"""Filters that never look through a table for their choices."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import QuerySet, UUIDField
from django.http import HttpRequest
from django.utils import timezone

from jobs.ids import first_id_of
from jobs.models import Collection, Queue, Tenant, Worker
from jobs.queue.handlers import registered_kinds

CHOICES_MAX = 100
ROWS_MAX = 500  # of workers and of collections that are asked for their services

Choices = Iterable[tuple[str, str]]


class CreatedFilter(SimpleListFilter):
    title = "created"
    parameter_name = "created"
    windows = {
        "hour": ("In the last hour", timedelta(hours=1)),
        "day": ("In the last 24 hours", timedelta(days=1)),
        "week": ("In the last 7 days", timedelta(days=7)),
    }

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [(word, label) for word, (label, _) in self.windows.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        _, window = self.windows.get(self.value() or "", ("", None))
        if window is None:
            return queryset
        since = timezone.now() - window
        if isinstance(queryset.model._meta.pk, UUIDField):
            return queryset.filter(pk__gte=first_id_of(since))
        return queryset.filter(created_at__gte=since)


class TenantFilter(SimpleListFilter):
    title = "tenant"
    parameter_name = "tenant"
    platform = "-"  # no slug can be this

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        slugs = Tenant.objects.values_list("slug", flat=True)[:CHOICES_MAX]
        tenants = [(slug, slug) for slug in slugs]
        is_optional = model_admin.model._meta.get_field("tenant").null
        return [*tenants, (self.platform, "the platform itself")] if is_optional else tenants

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        slug = self.value()
        if not slug:
            return queryset
        if slug == self.platform:
            return queryset.filter(tenant=None)
        # By the tenant's key, which the indexes begin with, and not by a join.
        return queryset.filter(tenant=Tenant.objects.filter(slug=slug).values("pk")[:1])


class KindFilter(SimpleListFilter):
    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [(kind, kind) for kind in registered_kinds()[:CHOICES_MAX]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(kind=self.value()) if self.value() else queryset


class QueueFilter(SimpleListFilter):
    """The queues of the clusters; a remote job's is its service."""

    title = "queue"
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [(queue, queue) for queue in settings.QUEUES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(queue=self.value(), service_required="") if self.value() else queryset


class ServiceFilter(SimpleListFilter):
    """Services that a worker offers, a collection asks for or a record is kept of."""

    title = "service"
    parameter_name = "service"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        offered = Worker.objects.values_list("services", flat=True)[:ROWS_MAX]
        recipes = Collection.objects.values_list("steps", flat=True)[:ROWS_MAX]
        services = {service for worker in offered for service in worker}
        services |= {str(step["service_required"]) for steps in recipes for step in steps}
        # A filter without choices filters nothing, and a service's page leads here.
        services |= set(Queue.objects.filter(is_remote=True).values_list("name", flat=True)[:ROWS_MAX])
        return [(service, service) for service in sorted(services)[:CHOICES_MAX]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(service_required=self.value()) if self.value() else queryset
