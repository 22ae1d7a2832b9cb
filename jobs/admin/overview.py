"""The index page: a handful of figures, each from a bounded look at the tables."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from jobs.admin.displays import badge, moment, page_url, titled
from jobs.admin.sections import overview_warnings
from jobs.ids import first_id_of
from jobs.models import Cluster, Job, Queue, Worker, Workflow

COUNTED_MAX = 1_000  # live jobs
LOOKED_AT_MAX = 10_000  # jobs of the last day
ROWS = 8


def add_figures(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Unfold's dashboard callback: what this account may see of the last 24 hours."""
    may_see = {
        noun: request.user.has_perm(f"jobs.view_{noun}") or request.user.has_perm(f"jobs.change_{noun}")
        for noun in ("job", "workflow", "worker", "queue", "cluster")
    }
    return {
        **context,
        "warnings": (_paused_queues() if may_see["queue"] else [])
        + (_silent_clusters() if may_see["cluster"] else [])
        + [row for warn in overview_warnings for row in warn(request)],
        "tiles": (_job_tiles() if may_see["job"] else []) + (_worker_tiles() if may_see["worker"] else []),
        "workflows": _latest_workflows() if may_see["workflow"] else None,
        "failures": _latest_failures() if may_see["job"] else None,
    }


def _paused_queues() -> list[dict[str, Any]]:
    paused = Queue.objects.filter(paused_at__isnull=False).order_by("paused_at")
    return [
        {
            "url": page_url(queue),
            "title": titled(
                queue.name, f"None of its jobs starts: paused by {queue.paused_by or 'somebody'}."
            ),
            "badge": badge("paused"),
            "at": moment(queue.paused_at),
        }
        for queue in paused[:ROWS]
    ]


def _silent_clusters() -> list[dict[str, Any]]:
    return [
        {
            "url": page_url(cluster),
            "title": titled(str(cluster), cluster.problem[:120] or "It has stopped beating."),
            "badge": badge("silent"),
            "at": moment(cluster.beat_at),
        }
        for cluster in Cluster.objects.stuck().order_by("beat_at")[:ROWS]
    ]


def _job_tiles() -> list[dict[str, Any]]:
    # Two looks, because each has its own partial index.
    queued = Job.objects.filter(status=Job.Status.QUEUED)
    waiting_in_line = _counted(queued.filter(service_required="")) + _counted(
        queued.exclude(service_required="")
    )
    ended, is_partial = _ended_today()
    note = f"of the newest {LOOKED_AT_MAX:,} jobs" if is_partial else "of the last 24 hours"
    running = _counted(Job.objects.filter(status=Job.Status.RUNNING))
    return [
        _tile("running", _capped(running), "now", "jobs_job", "status__exact=running"),
        _tile("queued", _capped(waiting_in_line), "now", "jobs_job", "status__exact=queued"),
        _tile(
            "completed", f"{ended['completed']:,}", note, "jobs_job", "status__exact=completed&created=day"
        ),
        _tile("failed", f"{ended['failed']:,}", note, "jobs_job", "status__exact=failed&created=day"),
    ]


def _worker_tiles() -> list[dict[str, Any]]:
    online = _capped(_counted(Worker.objects.online()))
    return [_tile("online", online, "workers", "jobs_worker", "presence=online")]


def _tile(word: str, figure: str, note: str, page: str, query: str) -> dict[str, Any]:
    url = reverse(f"admin:{page}_changelist")
    return {"badge": badge(word), "figure": figure, "note": note, "url": f"{url}?{query}"}


def _counted(rows: QuerySet[Any]) -> int:
    return rows.order_by()[: COUNTED_MAX + 1].count()


def _capped(count: int) -> str:
    return f"{count:,}" if count <= COUNTED_MAX else f"{COUNTED_MAX:,}+"


def _ended_today() -> tuple[Counter[str], bool]:
    """Jobs made in the last 24 hours by status, and whether there were more than were looked at."""
    today = Job.objects.filter(pk__gte=first_id_of(timezone.now() - timedelta(days=1)))
    looked_at = today.order_by("-pk").values("pk")[:LOOKED_AT_MAX]
    grouped = Job.objects.filter(pk__in=looked_at).order_by().values_list("status").annotate(Count("pk"))
    counts = Counter(dict(grouped))
    return counts, counts.total() == LOOKED_AT_MAX


def _latest_workflows() -> list[dict[str, Any]]:
    latest = Workflow.objects.select_related("tenant").only(
        "workflow_id", "kind", "status", "created_at", "tenant__slug"
    )
    return [
        {
            "url": page_url(workflow),
            "title": titled(workflow.workflow_id, f"{workflow.tenant.slug} · {workflow.kind}"),
            "badge": badge(workflow.status),
            "at": moment(workflow.created_at),
        }
        for workflow in latest[:ROWS]
    ]


def _latest_failures() -> list[dict[str, Any]]:
    today = Job.objects.filter(pk__gte=first_id_of(timezone.now() - timedelta(days=1)))
    looked_at = today.order_by("-pk").values("pk")[:LOOKED_AT_MAX]
    failed = Job.objects.failed().filter(pk__in=looked_at).order_by("-pk")
    return [
        {
            "url": page_url(job),
            "title": titled(job.name, _why(job)),
            "badge": badge(job.status),
            "at": moment(job.failed_at),
        }
        for job in failed.only("kind", "service_required", "status", "error", "failed_at")[:ROWS]
    ]


def _why(job: Job) -> str:
    error = job.error if isinstance(job.error, dict) else {}
    return str(error.get("message") or error.get("code") or "")[:120]
