"""Clusters: who runs the in-house jobs, and who has fallen silent."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from jobs.admin.displays import badge, moment, noted, span, titled
from jobs.admin.records import RecordAdmin
from jobs.models import Cluster


@admin.register(Cluster)
class ClusterAdmin(RecordAdmin):
    list_display = ["what", "host", "state", "started", "last_beat", "trouble"]
    list_display_links = ["what"]
    search_fields = ["hostname"]
    search_help_text = "Host or queue"

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Of a cluster that is gone; one that is not has its record back at its next beat.
        return request.user.has_perm("jobs.delete_cluster")

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
            "may_delete": self.has_delete_permission(request, cluster),
        }


def state_of(cluster: Cluster) -> str:
    return "beating" if cluster.is_beating else "silent"


def _silent_for(cluster: Cluster) -> str:
    return f"for {span(max(timezone.now() - cluster.beat_at, timedelta(0)))}"
