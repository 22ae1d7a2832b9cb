"""What came of work over time, the newest workflows, and whether there is any work yet."""

from __future__ import annotations

from typing import Any

from jobs.admin.access.scoping import scoped
from jobs.admin.charts import bars
from jobs.admin.displays import badge, moment, page_url, titled
from jobs.admin.overview.sight import Card, Sight
from jobs.models import Job, Measure, Workflow
from jobs.rollups.reading import series

ROWS = 6
ENDED = (("completed", "good"), ("retried", "warn"), ("failed", "bad"), ("cancelled", "off"))
FAILED = (("retried", "warn"), ("failed", "bad"))


def charts_card(sight: Sight) -> Card:
    """Attempts as they ended, and once more those alone that failed, which the others dwarf."""
    if not sight.may_see(Job):
        return None
    points = series(sight.scope, Measure.ENDED, sight.window, now=sight.now)
    return {
        "ended": bars(points, keys=ENDED, title="Attempts ended"),
        "failed": bars(points, keys=FAILED, title="Attempts failed"),
    }


def workflows_card(sight: Sight) -> list[dict[str, Any]] | None:
    """The newest workflows."""
    if not sight.may_see(Workflow):
        return None
    newest = scoped(Workflow.objects.select_related("tenant"), sight.user).only(
        "workflow_id", "kind", "status", "created_at", "tenant__slug"
    )
    return [
        {
            "url": page_url(workflow),
            "title": titled(workflow.workflow_id, f"{workflow.tenant.slug} · {workflow.kind}"),
            "badge": badge(workflow.status),
            "at": moment(workflow.created_at),
        }
        for workflow in newest[:ROWS]
    ]


def has_work(sight: Sight) -> bool:
    """Whether any tenant has submitted anything; the platform's own jobs begin by themselves."""
    return scoped(Job.objects.filter(tenant__isnull=False), sight.user).order_by().exists()
