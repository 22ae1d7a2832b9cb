"""What the streams of jobs and workflows tell.

Their story is told as it is stored: each event by its type, with its id. Their state is told as it is: `job` and
`workflow` snapshots without an id, in full at first and then when something of them has changed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet

from config.streaming import Cursor, Frame, News
from jobs.hygiene.masking import mask
from jobs.models import Event, Job, Workflow
from jobs.queue.outcomes import code_and_message
from jobs.statements import batch, run

PAGE_ROWS = 500
PAGE_BYTES = 262_144
# What the pages that are read together weigh, shared by them; each has enough to get on.
TOGETHER_BYTES = 4_194_304
SHARE_BYTES = 16_384
_WORDS = ("lines", "message", "reason", "progress")
# What becomes of something before it is told.
Veil = Callable[[dict[str, Any]], dict[str, Any]]
# By the id of a job or workflow: what was told of it.
Shown = dict[UUID, dict[str, Any]]


def masked(data: dict[str, Any]) -> dict[str, Any]:
    """What people at the monitor are told: with masks; what a worker says in words stays."""
    veiled: dict[str, Any] = mask(data, settings.MASKED_FIELDS)
    return {**veiled, **{name: data[name] for name in _WORDS if name in data}}


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    return data


class JobSource:
    """A job's story and state: events by type, and `job`."""

    def __init__(self, name: str = "job", veil: Veil = _plain) -> None:
        self.name = name
        self._veil = veil

    def start(self, key: UUID, position: int) -> Cursor | None:
        return _start(Event.objects.filter(job=key), position)

    def read(self, cursors: Mapping[UUID, Cursor]) -> dict[UUID, News]:
        # The state comes first: the story that is read after it is whole up to the end that it may tell of.
        jobs = {job.pk: job for job in _jobs().filter(pk__in=list(cursors))}
        stories = _stories("read_job_stories", cursors, jobs)
        return {
            key: _news(
                cursors[key],
                stories[key],
                {key: self._veil(_shown_job(job))},
                job.status,
                veil=self._veil,
                is_final=job.is_final,
                has_more=is_full(stories[key], page_bytes(len(cursors))),
            )
            for key, job in jobs.items()
        }


class WorkflowSource:
    """A workflow's story with that of its jobs, and their states: events by type, `workflow` and `job`."""

    def __init__(self, name: str = "workflow", veil: Veil = _plain) -> None:
        self.name = name
        self._veil = veil

    def start(self, key: UUID, position: int) -> Cursor | None:
        return _start(Event.objects.filter(workflow=key), position)

    def read(self, cursors: Mapping[UUID, Cursor]) -> dict[UUID, News]:
        workflows = {workflow.pk: workflow for workflow in _workflows().filter(pk__in=list(cursors))}
        shown: dict[UUID, Shown] = {
            key: {key: self._veil(_shown_workflow(found))} for key, found in workflows.items()
        }
        for job in _jobs().filter(workflow__in=list(workflows)).order_by("workflow", "step_index"):
            shown[job.workflow_id][job.pk] = self._veil(_shown_job(job))  # type: ignore[index]
        stories = _stories("read_workflow_stories", cursors, workflows)
        return {
            key: _news(
                cursors[key],
                stories[key],
                shown[key],
                workflow.status,
                veil=self._veil,
                is_final=workflow.status != Workflow.Status.RUNNING,
                has_more=is_full(stories[key], page_bytes(len(cursors))),
            )
            for key, workflow in workflows.items()
        }


def _start(events: QuerySet[Event], position: int) -> Cursor | None:
    if position and not events.filter(pk=position).exists():
        return None
    return Cursor(position, position)


def _jobs() -> QuerySet[Job]:
    return Job.objects.only(
        "kind",
        "service_required",
        "workflow_id",
        "step_name",
        "status",
        "attempt",
        "max_attempts",
        "progress",
        "error",
        "completed_at",
        "failed_at",
        "cancelled_at",
    )


def _workflows() -> QuerySet[Workflow]:
    return Workflow.objects.only(
        "workflow_id",
        "status",
        "attempt",
        "total_steps",
        "outputs",
        "error",
        "completed_at",
        "failed_at",
        "cancelled_at",
    )


def _shown_job(job: Job) -> dict[str, Any]:
    return {
        "id": str(job.pk),
        "name": job.name,
        "step_name": job.step_name,
        "status": job.status,
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "progress": job.progress,
        "error": code_and_message(job.error),
        "ended_at": job.ended_at and job.ended_at.isoformat(),
    }


def _shown_workflow(workflow: Workflow) -> dict[str, Any]:
    return {
        "workflow_id": workflow.workflow_id,
        "status": workflow.status,
        "attempt": workflow.attempt,
        "total_steps": workflow.total_steps,
        "outputs": workflow.outputs,
        "error": code_and_message(workflow.error),
        "ended_at": workflow.ended_at and workflow.ended_at.isoformat(),
    }


def page_bytes(streams: int) -> int:
    """What a page may weigh where so many are read together, up to the event that fills it."""
    return min(PAGE_BYTES, max(TOGETHER_BYTES // max(streams, 1), SHARE_BYTES))


def is_full(rows: list[Any], limit: int) -> bool:
    """Whether a page that was read within `limit` bytes has ended before its story has."""
    return len(rows) >= PAGE_ROWS or sum(row.bytes for row in rows) >= limit


def _stories(
    statement: str, cursors: Mapping[UUID, Cursor], wanted: Iterable[UUID]
) -> defaultdict[UUID, list[Any]]:
    """The next page of each story, by its key."""
    stories: defaultdict[UUID, list[Any]] = defaultdict(list)
    streams = [{"key": key, "after": cursors[key].after} for key in wanted]
    limit = page_bytes(len(cursors))
    for row in run(statement, {"streams": batch(streams), "rows": PAGE_ROWS, "bytes": limit}):
        stories[row.key].append(row)
    return stories


def _news(
    cursor: Cursor,
    rows: list[Any],
    now: Shown,
    status: str,
    *,
    veil: Veil,
    is_final: bool,
    has_more: bool,
) -> News:
    """A page of a story, the snapshots that have changed, and the end where it has been reached."""
    known: Shown = cursor.shown or {}
    snapshots = [
        Frame("job" if "step_name" in what else "workflow", what)
        for key, what in now.items()
        if known.get(key) != what
    ]
    events = [_told(row, veil) for row in rows]
    # A client begins with what is; later on, what has happened comes before what has come of it.
    frames = events + snapshots if cursor.shown else snapshots + events
    last = rows[-1].id if rows else cursor.position
    is_over = is_final and not has_more
    if is_over:
        frames.append(Frame("end", {"status": status}, last, is_last=True))
    return News(frames, Cursor(last, last, now), is_over, has_more)


def _told(row: Any, veil: Veil) -> Frame:
    """An event with what is stored of it, when that was, and the job it is of."""
    data = {**veil(row.data), "at": row.created_at.isoformat()}
    if row.job_id:
        data["job_id"] = str(row.job_id)
    return Frame(row.type, data, row.id)
