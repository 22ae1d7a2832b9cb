"""Clusters: who runs the in-house jobs, and who has fallen silent."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from config.admin import monitor_page
from jobs.admin.displays import badge, moment, noted, page_url, span, titled
from jobs.admin.queue_page import SHOWN_MAX, held_jobs
from jobs.admin.records import RecordAdmin
from jobs.models import Cluster, Job, Worker

EVERY_SECONDS = 5


@admin.register(Cluster)
class ClusterAdmin(RecordAdmin):
    tenant_path = ""
    list_display = ["what", "host", "state", "started", "last_beat", "trouble"]
    list_display_links = ["what"]
    list_empty = "Start one: `manage.py qcluster` runs the jobs of a queue."
    search_fields = ["hostname"]
    search_help_text = "Host or queue"

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Of a cluster that is gone; one that is not has its record back at its next beat.
        return not self.is_out_of_reach(request) and request.user.has_perm("jobs.delete_cluster")

    def find(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        # The table is small: a cluster that ends takes its record along.
        return rows.filter(Q(hostname__icontains=term) | Q(queue=term))

    @admin.display(description="Queue")
    def what(self, cluster: Cluster) -> SafeString:
        return titled(cluster.queue, f"process {cluster.pid}")

    @admin.display(description="Host")
    def host(self, cluster: Cluster) -> str:
        return cluster.hostname

    @admin.display(description="State")
    def state(self, cluster: Cluster) -> SafeString:
        return noted(badge(state_of(cluster)), "" if cluster.is_beating else _silent_for(cluster))

    @admin.display(description="Started")
    def started(self, cluster: Cluster) -> SafeString | None:
        return moment(cluster.started_at)

    @admin.display(description="Last beat")
    def last_beat(self, cluster: Cluster) -> SafeString | None:
        return moment(cluster.beat_at)

    @admin.display(description="Problem", empty_value="–")
    def trouble(self, cluster: Cluster) -> str | None:
        return cluster.problem or None

    def page(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        cluster: Cluster = record
        return {
            **live_part(request, cluster),
            "may_delete": self.has_delete_permission(request, cluster),
            "live_url": reverse("admin:cluster_figures", args=[cluster.pk]),
            "live_every": EVERY_SECONDS,
        }


@monitor_page("clusters/<int:key>/figures/", name="cluster_figures")
def cluster_figures(request: HttpRequest, key: int) -> HttpResponse:
    """The part of a cluster's page that changes by itself."""
    model_admin = admin.site.get_model_admin(Cluster)
    if not model_admin.has_view_or_change_permission(request):
        raise PermissionDenied
    cluster = get_object_or_404(model_admin.get_queryset(request), pk=key)
    shown = live_part(request, cluster)
    return HttpResponse(render_to_string("admin/jobs/cluster/figures.html", shown, request))


def live_part(request: HttpRequest, cluster: Cluster) -> dict[str, Any]:
    """What templates/admin/jobs/cluster/figures.html shows."""
    facts = [
        ("Queue", cluster.queue),
        ("Host", cluster.hostname),
        ("Process", cluster.pid),
        ("Started", moment(cluster.started_at)),
        ("Last beat", moment(cluster.beat_at)),
    ]
    return {
        "heading": str(cluster),
        "badges": [badge(state_of(cluster))],
        "facts": facts,
        "problem": cluster.problem,
        "workers": _workers_of(cluster) if _may_see(request, Worker) else None,
        "held": held_jobs(Job.objects.running_at(place_of(cluster))) if _may_see(request, Job) else None,
    }


def place_of(cluster: Cluster) -> str:
    """How the names of its processes begin, and of those of others of its queue on its host."""
    return f"{cluster.queue}@{cluster.hostname}:"


def _workers_of(cluster: Cluster) -> list[dict[str, Any]]:
    processes = Worker.objects.filter(tenant=None, worker_id__startswith=place_of(cluster))
    return [
        {
            "url": page_url(worker),
            "title": titled(
                worker.worker_id, f"known for {span(worker.last_seen_at - worker.first_seen_at)}"
            ),
            "badge": badge("online" if worker.is_online else "offline"),
            "at": moment(worker.last_seen_at),
        }
        for worker in processes.order_by("-last_seen_at")[:SHOWN_MAX]
    ]


def _may_see(request: HttpRequest, model: Any) -> bool:
    return admin.site.get_model_admin(model).has_view_or_change_permission(request)


def state_of(cluster: Cluster) -> str:
    return "beating" if cluster.is_beating else "silent"


def _silent_for(cluster: Cluster) -> str:
    return f"for {span(max(timezone.now() - cluster.beat_at, timedelta(0)))}"
