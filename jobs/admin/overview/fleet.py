"""Who is there to work, and which bulk operations go on."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from jobs.admin.access.scoping import scoped
from jobs.admin.displays import badge, moment, page_url, titled
from jobs.admin.overview.sight import Card, Sight
from jobs.admin.overview.verdicts import last_run
from jobs.models import BulkOperation, Cluster, Worker

ROWS = 5


def fleet_card(sight: Sight) -> Card:
    """Workers online, clusters that beat, the evaluator's last run."""
    facts: list[dict[str, Any]] = []
    if sight.may_see(Worker):
        facts.append(_workers(sight))
    if sight.may_see(Cluster):
        facts.append(_clusters(sight))
    run = last_run(sight)
    return {"facts": facts, "run": run} if facts or run else None


def _workers(sight: Sight) -> dict[str, Any]:
    online = scoped(Worker.objects.online(), sight.user).order_by().count()
    return {
        "title": "Workers online",
        "figure": f"{online:,}",
        "url": f"{reverse('admin:jobs_worker_changelist')}?presence=online",
    }


def _clusters(sight: Sight) -> dict[str, Any]:
    beating = sum(cluster.is_beating for cluster in sight.clusters)
    known = len(sight.clusters)
    return {
        "title": "Clusters that beat",
        "figure": f"{beating:,}" if beating == known else f"{beating:,} of {known:,}",
        "url": reverse("admin:jobs_cluster_changelist"),
        "is_bad": beating < known or not beating,
    }


def operations_card(sight: Sight) -> Card:
    """Bulk operations that are not over."""
    if not sight.may_see(BulkOperation):
        return None
    live = [BulkOperation.Status.QUEUED, BulkOperation.Status.RUNNING]
    running = scoped(BulkOperation.objects.filter(status__in=live), sight.user).defer(
        "keys", "outcomes", "refusals"
    )
    return {"rows": [_row(operation) for operation in running[:ROWS]]}


def _row(operation: BulkOperation) -> dict[str, Any]:
    return {
        "key": str(operation.pk),
        "url": page_url(operation),
        "title": titled(str(operation), f"by {operation.actor}"),
        "badge": badge(operation.status),
        "done": operation.handled_count,
        "total": max(operation.total_count, operation.handled_count, 1),
        "text": f"{operation.handled_count:,} of {operation.total_count:,}{'+' if operation.is_total_capped else ''}",
        "at": moment(operation.created_at),
    }
