"""The queues on the overview: what each has to do, and the buttons that pause them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.urls import reverse

from jobs.admin.displays import badge, moment, page_url, span
from jobs.admin.overview.sight import Card, Sight
from jobs.admin.overview.tiles import Measured
from jobs.models import Job, Queue
from jobs.rollups.reading import Gauge

ROWS = 30


def queues_card(sight: Sight, measured: Measured) -> Card:
    """Every queue that has a record or something to do; without records for who sees one tenant alone."""
    if not sight.may_see(Queue if sight.tenant is None else Job):
        return None
    records = {(queue.name, queue.is_remote): queue for queue in sight.queues}
    gauges = {(gauge.name, gauge.is_remote): gauge for gauge in measured.gauges}
    names = sorted({*records, *gauges}, key=lambda name: _weight(name, gauges.get(name), records.get(name)))
    return {
        "rows": [_row(sight, name, gauges.get(name), records.get(name)) for name in names[:ROWS]],
        "left_out": max(len(names) - ROWS, 0),
        "sampled": moment(min((gauge.sampled_at for gauge in measured.gauges), default=None)),
        "may_act": sight.may_change(Queue),
        "may_see_jobs": sight.may_see(Job),
        "action": reverse("admin:jobs_queue_changelist"),
        "window": sight.window.name,
    }


def _weight(name: tuple[str, bool], gauge: Gauge | None, queue: Queue | None) -> tuple[bool, bool, str]:
    """The clusters' first, each by name: rows stay where they are while somebody reaches for a button.

    Of more services than are shown, those that nothing is known of come last.
    """
    text, is_remote = name
    return is_remote and gauge is None and (queue is None or not queue.is_paused), is_remote, text


def _row(sight: Sight, name: tuple[str, bool], gauge: Gauge | None, queue: Queue | None) -> dict[str, Any]:
    text, is_remote = name
    oldest = gauge.oldest_due_at if gauge else None
    query = f"{'service' if is_remote else 'queue'}={text}"
    return {
        "key": f"{'service' if is_remote else 'queue'}-{text}",
        "name": text,
        "side": "service" if is_remote else "queue",
        "url": page_url(queue) if queue else "",
        "pk": queue.pk if queue else None,
        "badge": badge("paused") if queue and queue.is_paused else "",
        "is_paused": bool(queue and queue.is_paused),
        "running": f"{gauge.running_count if gauge else 0:,}",
        "limit": f"{queue.max_running:,}" if queue and queue.max_running else "",
        "due": f"{gauge.due_count if gauge else 0:,}",
        "later": f"{gauge.later_count if gauge else 0:,}",
        "oldest": span(max(sight.now - oldest, timedelta(0))) if oldest else "–",
        "oldest_at": oldest,
        "jobs": f"{reverse('admin:jobs_job_changelist')}?{query}",
    }
