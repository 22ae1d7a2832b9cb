"""Workers: who is there, and what each is at."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from jobs.admin.displays import badge, link, moment, page_url, span, titled, words
from jobs.admin.filters import Choices, TenantFilter
from jobs.admin.records import RecordAdmin
from jobs.models import Job, Worker
from jobs.models.workers import ONLINE_WITHIN

HELD_MAX = 50


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
    list_display = ["what", "presence", "tenant_slug", "serves", "last_seen", "known_for"]
    list_display_links = ["what"]
    list_filter = [OnlineFilter, TenantFilter]
    search_fields = ["worker_id"]
    search_help_text = "Worker or service"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Worker]:
        rows: QuerySet[Worker] = super().get_queryset(request)
        return rows.select_related("tenant")

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

    def page(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        worker: Worker = record
        held = Job.objects.filter(status=Job.Status.RUNNING, worker=worker.worker_id, tenant=worker.tenant_id)
        facts = [
            ("Tenant", link(worker.tenant) or "platform"),
            ("Serves", self.serves(worker)),
            ("First seen", moment(worker.first_seen_at)),
            ("Last seen", moment(worker.last_seen_at)),
        ]
        return {
            "heading": worker.worker_id,
            "badges": [badge(presence_of(worker))],
            "facts": facts,
            "held": [
                {
                    "title": titled(job.name, str(job.pk)),
                    "url": page_url(job),
                    "attempt": f"{job.attempt} of {job.max_attempts}",
                    "progress": job.progress,
                    "lease": moment(job.lease_expires_at),
                }
                for job in held.only(*HELD_FIELDS)[:HELD_MAX]
            ],
        }


HELD_FIELDS = ("kind", "service_required", "attempt", "max_attempts", "progress", "lease_expires_at")


def presence_of(worker: Worker) -> str:
    return "online" if worker.is_online else "offline"
