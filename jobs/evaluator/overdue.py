"""Finds work that should have begun or ended long ago: stuck, or without anybody who could do it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from psycopg.types.json import Jsonb

from jobs.evaluator.places import Place
from jobs.evaluator.rules import Finding
from jobs.models import Job, ProblemType, Workflow
from jobs.models.clusters import SILENT_AFTER
from jobs.models.workers import ONLINE_WITHIN
from jobs.statements import run


class Servers:
    """Who could begin work: the queues that a cluster serves, and the services that a tenant's workers offer."""

    def __init__(self) -> None:
        within = {
            "online_within": ONLINE_WITHIN.total_seconds(),
            "beats_within": SILENT_AFTER.total_seconds(),
        }
        rows = run("find_servers", within)
        self.offered = Jsonb([row.name for row in rows if row.is_remote])
        self.served = Jsonb([row.name for row in rows if not row.is_remote])


def find_overdue(
    model: type[Job] | type[Workflow], servers: Servers, *, after: UUID, limit: int
) -> list[Any]:
    """Up to `limit` live units whose verdict is to change, by id: rows of find_overdue_*.sql, not locked."""
    return run(
        "find_overdue_jobs" if model is Job else "find_overdue_workflows",
        {
            "after": after,
            "limit": limit,
            "stuck_after": settings.STUCK_AFTER_SECONDS,
            "offered": servers.offered,
            "served": servers.served,
        },
    )


def describe_overdue(row: Any) -> Finding:
    """What is to be said of an overdue unit."""
    missing, what_to_do = _no_worker(row) if row.problem == ProblemType.NO_WORKER else _stuck(row)
    paused = {"paused_at": row.paused_at.isoformat()} if row.paused_at else {}
    return Finding(
        unit_id=row.id,
        problem_type=ProblemType(row.problem),
        missing=missing,
        where=Place(row).facts | {"status": row.status} | paused,
        since=row.since,
        what_to_do=what_to_do,
    )


def _no_worker(row: Any) -> tuple[str, list[str]]:
    place = Place(row)
    paused = f", which is paused besides since {_moment(row.paused_at)}" if row.paused_at else ""
    return f"{place.what} has been due since {_moment(row.since)}, and there is no {_nobody(row)}{paused}.", [
        f"Start {place.who_runs_it}; it is begun by itself then.",
        *([_resume(row)] if row.paused_at else []),
    ]


def _nobody(row: Any) -> str:
    if row.service_required:
        return f"worker that offers {row.service_required!r}"
    return f"cluster of the queue {row.queue!r}"


def _stuck(row: Any) -> tuple[str, list[str]]:
    place = Place(row)
    if row.status == Job.Status.QUEUED and row.paused_at:
        return (
            f"{place.what} waits for {row.queue!r}, which has been paused since {_moment(row.paused_at)}.",
            [f"Resume it: manage.py queue resume {row.queue}{' --service' if row.service_required else ''}"],
        )
    if row.status == Job.Status.QUEUED:
        return f"{place.what} has been due since {_moment(row.since)}, and nobody has begun it.", [
            f"See on the Queues page how much stands before it; add {_more(row)} if that does not shrink."
        ]
    if row.status == Job.Status.RUNNING:
        return f"{place.what} still runs {place.in_attempt}; it should have ended by {_moment(row.since)}.", [
            "Attempts that overrun are ended by the clusters: see on the Clusters page whether any beats.",
            f"Else look at {place.worker}, cancel it, and {_again(row)}.",
        ]
    return (
        f"Nothing has moved the workflow on since {_moment(row.since)}: {place.what_small} is {row.status}.",
        [
            "Cancel it, and submit the request again.",
        ],
    )


def _resume(row: Any) -> str:
    return f"Resume it: manage.py queue resume {row.queue}{' --service' if row.service_required else ''}"


def _again(row: Any) -> str:
    return "submit the request again" if row.workflow_id else "retry it"


def _more(row: Any) -> str:
    return "workers of that service" if row.service_required else "processes to its cluster (CLUSTER_WORKERS)"


def _moment(moment: Any) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
