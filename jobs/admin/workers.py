"""Workers: who is there, and what each is at."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Case, Count, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from config.admin import monitor_page
from jobs.admin.displays import badge, link, moment, span, titled, words
from jobs.admin.filters import Choices, TenantFilter
from jobs.admin.queue_page import held_jobs
from jobs.admin.records import RecordAdmin
from jobs.models import Job, Worker
from jobs.models.workers import ONLINE_WITHIN

EVERY_SECONDS = 5


class OnlineFilter(admin.SimpleListFilter):
    title = "presence"
    parameter_name = "presence"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        return [("online", "Online"), ("offline", "Offline")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Worker]) -> QuerySet[Worker]:
        edge = timezone.now() - ONLINE_WITHIN
        if self.value() == "online":
            return queryset.filter(last_seen_at__gt=edge)
        return queryset.filter(last_seen_at__lte=edge) if self.value() == "offline" else queryset


@admin.register(Worker)
class WorkerAdmin(RecordAdmin):
    list_display = ["what", "presence", "tenant_slug", "serves", "runs", "last_seen", "known_for"]
    list_display_links = ["what"]
    list_filter = [OnlineFilter, TenantFilter]
    list_empty = "Start one: docs/workers.md tells how it asks for jobs."
    search_fields = ["worker_id"]
    search_help_text = "Worker or service"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Worker]:
        rows: QuerySet[Worker] = super().get_queryset(request)
        return with_held_count(rows.select_related("tenant"))

    def find(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        # The table is small: who was not heard of for a day is forgotten.
        return rows.filter(Q(worker_id__startswith=term) | Q(services__contains=[term]) | Q(queue=term))

    @admin.display(description="Worker")
    def what(self, worker: Worker) -> SafeString:
        return titled(worker.worker_id, "remote" if worker.tenant_id else "in-house")

    @admin.display(description="Presence")
    def presence(self, worker: Worker) -> SafeString:
        return badge(presence_of(worker))

    @admin.display(description="Tenant", empty_value="platform")
    def tenant_slug(self, worker: Worker) -> str | None:
        return worker.tenant.slug if worker.tenant else None

    @admin.display(description="Serves")
    def serves(self, worker: Worker) -> SafeString:
        return words(worker.services or [f"queue {worker.queue}"])

    @admin.display(description="Last seen")
    def last_seen(self, worker: Worker) -> SafeString | None:
        return moment(worker.last_seen_at)

    @admin.display(description="Known for")
    def known_for(self, worker: Worker) -> str:
        return span(max(worker.last_seen_at - worker.first_seen_at, timedelta(0)))

    @admin.display(description="Runs")
    def runs(self, worker: Any) -> str:
        return (
            "nothing"
            if not worker.held_count
            else f"{worker.held_count:,} {'job' if worker.held_count == 1 else 'jobs'}"
        )

    def page(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        worker: Worker = record
        return {
            **live_part(request, worker),
            "live_url": reverse("admin:worker_figures", args=[worker.pk]),
            "live_every": EVERY_SECONDS,
        }


@monitor_page("workers/<int:key>/figures/", name="worker_figures")
def worker_figures(request: HttpRequest, key: int) -> HttpResponse:
    """The part of a worker's page that changes by itself."""
    model_admin = admin.site.get_model_admin(Worker)
    if not model_admin.has_view_or_change_permission(request):
        raise PermissionDenied
    worker = get_object_or_404(model_admin.get_queryset(request), pk=key)
    return HttpResponse(
        render_to_string("admin/jobs/worker/figures.html", live_part(request, worker), request)
    )


def live_part(request: HttpRequest, worker: Worker) -> dict[str, Any]:
    """What templates/admin/jobs/worker/figures.html shows."""
    facts = [
        ("Tenant", link(worker.tenant) or "platform"),
        ("Serves", words(worker.services or [f"queue {worker.queue}"])),
        ("First seen", moment(worker.first_seen_at)),
        ("Last seen", moment(worker.last_seen_at)),
    ]
    may_see_jobs = admin.site.get_model_admin(Job).has_view_or_change_permission(request)
    return {
        "heading": worker.worker_id,
        "badges": [badge(presence_of(worker))],
        "facts": facts,
        "held": held_jobs(held_by(worker)) if may_see_jobs else None,
    }


def held_by(worker: Worker) -> QuerySet[Job]:
    """What it runs. An in-house process works for all tenants; a remote worker's name is its tenant's own choice."""
    running = Job.objects.filter(status=Job.Status.RUNNING, worker=worker.worker_id)
    if worker.tenant_id:
        return running.filter(tenant=worker.tenant_id).exclude(service_required="")
    return running.filter(service_required="")


def with_held_count(workers: QuerySet[Worker]) -> QuerySet[Any]:
    """Add to each worker how many jobs it runs."""
    running = Job.objects.filter(status=Job.Status.RUNNING, worker=OuterRef("worker_id")).order_by()
    remote = running.filter(tenant=OuterRef("tenant")).exclude(service_required="")
    return workers.annotate(
        held_count=Case(
            When(tenant__isnull=True, then=_counted(running.filter(service_required=""))),
            default=_counted(remote),
        )
    )


def _counted(jobs: QuerySet[Job]) -> Coalesce:
    return Coalesce(Subquery(jobs.values("status").annotate(count=Count("pk")).values("count")), Value(0))


def presence_of(worker: Worker) -> str:
    return "online" if worker.is_online else "offline"
