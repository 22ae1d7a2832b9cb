"""What needs attention: queues that nobody works off, clusters and evaluators that have fallen silent."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Exists, F, OuterRef
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.http import urlencode

from jobs.admin.displays import badge, moment, page_url, titled
from jobs.admin.overview.sight import Sight
from jobs.admin.overview.tiles import Measured
from jobs.admin.overview.verdicts import LATE_AFTER, is_late
from jobs.admin.sections import overview_warnings
from jobs.models import Cluster, Job, QueueGauge, Tenant, Worker
from jobs.models.workers import ONLINE_WITHIN

ROWS = 8
STALE_AFTER = timedelta(seconds=60)  # the clusters look at the queues every few seconds

Rows = list[dict[str, Any]]


def warnings(sight: Sight, measured: Measured) -> Rows:
    """Rows for templates/admin/parts/rows.html, of all floors, as far as the account may see."""
    return [
        *_paused_queues(sight),
        *_silent_clusters(sight),
        *(_unserved_queues(sight, measured) if sight.may_see(Cluster) else []),
        *(_unserved_services(sight) if sight.may_see(Worker) else []),
        *_late_evaluator(sight),
        *(_stale_figures(sight, measured) if sight.may_see(Job) else []),
        *(row for warn in overview_warnings for row in warn(sight.request)),
    ]


def _paused_queues(sight: Sight) -> Rows:
    paused = [(queue.paused_at, queue) for queue in sight.queues if queue.paused_at]
    return [
        {
            "url": page_url(queue),
            "title": titled(
                queue.name, f"None of its jobs starts: paused by {queue.paused_by or 'somebody'}."
            ),
            "badge": badge("paused"),
            "at": moment(at),
        }
        for at, queue in sorted(paused, key=lambda pair: pair[0])[:ROWS]
    ]


def _silent_clusters(sight: Sight) -> Rows:
    silent = [cluster for cluster in sight.clusters if not cluster.is_beating]
    return [
        {
            "url": page_url(cluster),
            "title": titled(str(cluster), cluster.problem[:120] or "It has stopped beating."),
            "badge": badge("silent"),
            "at": moment(cluster.beat_at),
        }
        for cluster in sorted(silent, key=lambda cluster: cluster.beat_at)[:ROWS]
    ]


def _unserved_queues(sight: Sight, measured: Measured) -> Rows:
    """Queues of the clusters with due jobs, and no cluster that beats."""
    served = {cluster.queue for cluster in sight.clusters if cluster.is_beating}
    due = [gauge for gauge in measured.gauges if not gauge.is_remote and gauge.due_count]
    return [
        {
            "url": f"{reverse('admin:jobs_cluster_changelist')}?{urlencode({'q': gauge.name})}",
            "title": titled(f"No cluster for this queue: {gauge.name}", _due_since(gauge.due_count)),
            "badge": badge("unserved"),
            "at": moment(gauge.oldest_due_at),
        }
        for gauge in due
        if gauge.name not in served
    ][:ROWS]


def _unserved_services(sight: Sight) -> Rows:
    """Services with due jobs of a tenant that has no worker online which offers them."""
    online = Worker.objects.filter(
        tenant=OuterRef("scope"),
        services__contains=[OuterRef("name")],
        last_seen_at__gt=Now() - ONLINE_WITHIN,
    )
    due = QueueGauge.objects.filter(~Exists(online), is_remote=True, due_count__gt=0)
    if sight.tenant:
        due = due.filter(scope=sight.tenant)
    slug = Tenant.objects.filter(pk=OuterRef("scope")).values("slug")[:1]
    rows = due.annotate(slug=slug).order_by(F("oldest_due_at").asc(nulls_last=True))[:ROWS]
    return [
        {
            "url": f"{reverse('admin:jobs_worker_changelist')}?{urlencode({'q': gauge.name})}",
            "title": titled(
                f"No worker for this service: {gauge.name}", f"{gauge.slug} · {_due_since(gauge.due_count)}"
            ),
            "badge": badge("unserved"),
            "at": moment(gauge.oldest_due_at),
        }
        for gauge in rows
    ]


def _late_evaluator(sight: Sight) -> Rows:
    last = sight.last_run
    if last is None or not is_late(last, sight.now):
        return []
    note = f"It runs every 10 minutes, and has not for more than {LATE_AFTER.seconds // 60}."
    return [
        {
            "url": page_url(last),
            "title": titled("The evaluator is late", note),
            "badge": badge("late"),
            "at": moment(last.started_at),
        }
    ]


def _stale_figures(sight: Sight, measured: Measured) -> Rows:
    """Where the clusters have stopped to look, what is shown of the queues is old."""
    sampled_at = max((gauge.sampled_at for gauge in measured.gauges), default=None)
    if sampled_at is None or sight.now - sampled_at <= STALE_AFTER:
        return []
    note = "No cluster has looked at the queues for a while: what runs and what is due is from then."
    return [
        {
            "url": reverse("admin:jobs_job_changelist"),
            "title": titled("These figures are old", note),
            "badge": badge("late"),
            "at": moment(sampled_at),
        }
    ]


def _due_since(count: int) -> str:
    return f"{count:,} {'job is' if count == 1 else 'jobs are'} due, the oldest:"
