"""What the page of a queue shows: what runs and how fresh its leases are, who serves it, what ended."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from jobs.admin.access.scoping import scope_of
from jobs.admin.charts import bars
from jobs.admin.displays import badge, moment, page_url, span, titled
from jobs.models import Cluster, Job, Measure, Queue, Worker
from jobs.queue.handlers import find_handler, registered_kinds
from jobs.rollups.reading import WINDOWS, Series, series

SHOWN_MAX = 20
ENDED = (("completed", "good"), ("retried", "warn"), ("failed", "bad"), ("cancelled", "off"))
HELD_FIELDS = (
    "kind",
    "service_required",
    "status",
    "worker",
    "attempt",
    "max_attempts",
    "progress",
    "started_at",
    "lease_expires_at",
)


def figures(request: HttpRequest, queue: Queue) -> dict[str, Any]:
    """Everything on the page that changes by itself; what an account may not see is None."""
    may_see_jobs = _may_see(request, Job)
    held = held_jobs(running_of(queue)) if may_see_jobs else None
    return {
        "held": held,
        "oldest_lease": oldest_lease(queue) if may_see_jobs else None,
        "chart": ended_chart(request, queue) if may_see_jobs else None,
        "servers": _servers(request, queue),
    }


def running_of(queue: Queue) -> QuerySet[Job]:
    """The jobs of a queue, or of a service, that run."""
    running = Job.objects.filter(status=Job.Status.RUNNING)
    if queue.is_remote:
        return running.filter(service_required=queue.name)
    return running.filter(service_required="", queue=queue.name)


def held_jobs(running: QuerySet[Job]) -> list[dict[str, Any]]:
    """Jobs under leases, those that end first on top: a lease that is not renewed is about to be lost."""
    jobs = running.only(*HELD_FIELDS).order_by("lease_expires_at")[:SHOWN_MAX]
    now = timezone.now()
    return [
        {
            "key": str(job.pk),
            "url": page_url(job),
            "title": titled(job.name, str(job.pk)),
            "worker": job.worker,
            "attempt": f"{job.attempt} of {job.max_attempts}",
            "progress": job.progress,
            "runs_for": span(max(now - job.started_at, timedelta(0))) if job.started_at else "",
            "lease": lease_text(job.lease_expires_at, now),
            "is_lapsed": bool(job.lease_expires_at and job.lease_expires_at <= now),
        }
        for job in jobs
    ]


def lease_text(expires_at: datetime | None, now: datetime) -> str:
    """How long a lease lasts yet, and when it was renewed; what renews it does so three times per lease."""
    if expires_at is None:
        return ""
    if expires_at <= now:
        return f"lapsed {span(now - expires_at)} ago"
    renewed = max(now - (expires_at - timedelta(seconds=settings.LEASE_SECONDS)), timedelta(0))
    return f"ends in {span(expires_at - now)}, renewed {span(renewed)} ago"


def oldest_lease(queue: Queue) -> SafeString | None:
    """Since when that one of its jobs has been running which began first."""
    return moment(running_of(queue).order_by("started_at").values_list("started_at", flat=True).first())


def ended_chart(request: HttpRequest, queue: Queue) -> SafeString:
    """The attempts of the last day as they ended. Of the clusters' queues: of the kinds that run there."""
    names = [queue.name] if queue.is_remote else kinds_of(queue)
    window, scope = WINDOWS["day"], scope_of(request.user)
    parts = [series(scope, Measure.ENDED, window, name=name) for name in names]
    return bars(_added(parts), keys=ENDED, title="Attempts ended per 10 minutes")


def kinds_of(queue: Queue) -> list[str]:
    """The kinds whose handlers run in a queue unless a job says otherwise."""
    handlers = ((kind, find_handler(kind)) for kind in registered_kinds())
    return [kind for kind, handler in handlers if handler and handler.queue == queue.name]


def _added(parts: list[Series]) -> Series:
    """Several series over the same steps as one."""
    added: Series = []
    for steps in zip(*parts, strict=False):
        counts: dict[str, int] = {}
        for _, each in steps:
            for key, count in each.items():
                counts[key] = counts.get(key, 0) + count
        added.append((steps[0][0], counts))
    return added


def _servers(request: HttpRequest, queue: Queue) -> list[dict[str, Any]] | None:
    """Who takes jobs from it, those heard of last first."""
    if not _may_see(request, Worker):
        return None
    workers = _workers_of(queue).select_related("tenant").order_by("-last_seen_at")[:SHOWN_MAX]
    rows = [
        {
            "key": f"worker-{worker.pk}",
            "url": page_url(worker),
            "title": titled(worker.worker_id, worker.tenant.slug if worker.tenant else "in-house"),
            "badge": badge("online" if worker.is_online else "offline"),
            "at": moment(worker.last_seen_at),
        }
        for worker in workers
    ]
    return [*(_clusters_of(request, queue)), *rows]


def _workers_of(queue: Queue) -> QuerySet[Worker]:
    if queue.is_remote:
        return Worker.objects.filter(services__contains=[queue.name])
    return Worker.objects.filter(tenant=None, queue=queue.name)


def _clusters_of(request: HttpRequest, queue: Queue) -> list[dict[str, Any]]:
    if queue.is_remote or not _may_see(request, Cluster):
        return []
    return [
        {
            "key": f"cluster-{cluster.pk}",
            "url": page_url(cluster),
            "title": titled(str(cluster), "cluster"),
            "badge": badge("beating" if cluster.is_beating else "silent"),
            "at": moment(cluster.beat_at),
        }
        for cluster in Cluster.objects.filter(queue=queue.name)[:SHOWN_MAX]
    ]


def _may_see(request: HttpRequest, model: Any) -> bool:
    return admin.site.get_model_admin(model).has_view_or_change_permission(request)
