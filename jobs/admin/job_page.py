"""What the page of a job shows."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from jobs.admin.access.revealing import is_revealed, shown
from jobs.admin.displays import badge, copyable, duration_of, link, moment, span, words
from jobs.admin.documents import Document, document
from jobs.admin.evaluations import verdict_of
from jobs.admin.events import story_of
from jobs.admin.outputs import outputs
from jobs.admin.sections import job_sections
from jobs.admin.timelines import timeline_of
from jobs.admin.units.diffs import DiffLine, diff_of, mask_changes
from jobs.admin.units.live import live_stream
from jobs.admin.units.traces import traced
from jobs.models import Event, Job, Queue
from jobs.workflows.advance import outputs_of

EDITS_MAX = 10
SHOWN_ELSEWHERE = {"miniapp_req", "workflow_id"}  # of a job's ctx


def page_of(request: HttpRequest, job: Job) -> dict[str, Any]:
    """What templates/admin/jobs/job/change_form.html shows besides the verbs."""
    story = story_of(job.events.order_by("-id"))
    return {
        "job": job,
        "badges": [badge(word) for word in [state_of(job), *remarks_on(job)]],
        "facts": facts_of(request, job),
        "error": shown(request, job.error),
        "verdict": verdict_of(job),
        "documents": documents_of(request, job),
        "others": others_of(request, job),
        "outputs": outputs(outputs_of(job.result)),
        "story": story.lines,
        "edits": edits_of(request, job),
        "timeline": timeline_of(request, job),
        "live": live_stream(job, story.last_id),
        "sections": [section(request, job) for section in job_sections],
    }


def documents_of(request: HttpRequest, job: Job) -> list[Document]:
    """What was asked for, where somebody asked, what went in and what came out."""
    asked = document("Request", shown(request, _as_dict(job.ctx).get("miniapp_req")))
    return [
        *([] if asked.is_empty else [asked]),
        document("Payload", shown(request, job.payload)),
        document("Result", shown(request, job.result)),
    ]


def others_of(request: HttpRequest, job: Job) -> list[Document]:
    """What else there is to a job."""
    ctx = _as_dict(job.ctx)
    others = {key: value for key, value in ctx.items() if key not in SHOWN_ELSEWHERE}
    more = [
        document("Payload before it was edited", shown(request, job.original_payload)),
        document("Other context", shown(request, others)),
        document("Problem", shown(request, job.problem_details)),
    ]
    return [each for each in more if not each.is_empty]


def edits_of(request: HttpRequest, job: Job) -> list[dict[str, Any]]:
    """Who has retried it with another payload, why, and what was different; the last first."""
    if job.original_payload is None:
        return []  # without looking through its events, of which there may be many
    edited = job.events.filter(type=Event.Type.RETRIED, data__has_key="after").order_by("-id")
    return [
        {
            "by": event.data.get("by", "somebody"),
            "reason": event.data.get("reason", ""),
            "at": moment(event.created_at),
            "diff": _diff_of(request, event.data.get("before"), event.data.get("after")),
        }
        for event in edited[:EDITS_MAX]
    ]


def _diff_of(request: HttpRequest, before: Any, after: Any) -> list[DiffLine]:
    if is_revealed(request):
        return diff_of(before, after)
    shown(request, after)  # says that there is something to reveal
    return diff_of(*mask_changes(before, after, settings.MASKED_FIELDS))


def state_of(job: Job) -> str:
    """A job's status; a running one that is asked to stop is shown so."""
    is_stopping = job.status == Job.Status.RUNNING and job.cancel_requested_at is not None
    return "cancelling" if is_stopping else job.status


def remarks_on(job: Job) -> list[str]:
    """What else is worth a badge: why it does not begin, and what the evaluator made of it."""
    its_queue = Queue.objects.filter(name=job.queue, is_remote=job.is_remote, paused_at__isnull=False)
    remarks = ["queue paused"] if job.status == Job.Status.QUEUED and its_queue.exists() else []
    return remarks + ([job.status_category] if job.status_category else [])


def facts_of(request: HttpRequest, job: Job) -> list[tuple[str, Any]]:
    """What stands at the top of a job's page; what is not known is left out."""
    took = duration_of(job)
    is_running = job.status == Job.Status.RUNNING
    is_queued = job.status == Job.Status.QUEUED
    facts: list[tuple[str, Any]] = [
        ("Job", copyable(str(job.pk))),
        ("Trace", traced(job.trace_id)),
        ("Tenant", link(job.tenant) or "platform"),
        ("Workflow", link(job.workflow)),
        ("Step", f"{(job.step_index or 0) + 1}: {job.step_name}" if job.step_name else None),
        ("User", job.workflow.user_id if job.workflow else None),
        ("Attempt", f"{job.attempt} of {job.max_attempts}"),
        ("Own retry policy", words(_policy_of(request, job)) if job.retry_policy else None),
        ("Worker", job.worker),
        ("Queue", job.queue),
        ("Priority", job.priority),
        ("Created", moment(job.created_at)),
        ("Due", moment(job.run_at) if is_queued else None),
        ("Expires", moment(job.expires_at) if not job.is_final else None),
        ("Started", moment(job.started_at)),
        ("Lease ends", moment(job.lease_expires_at) if is_running else None),
        ("Asked to stop", moment(job.cancel_requested_at)),
        ("Ended", moment(job.ended_at)),
        ("Took", span(took) if took is not None else None),
        ("May take", f"{job.timeout_seconds} s an attempt"),
        ("Singleton key", job.singleton_key),
        ("Request", job.request_id),
        ("Actor", job.actor_id),
        ("Problem", job.get_problem_type_display()),
        ("Evaluated", moment(job.evaluated_at)),
    ]
    return [(name, value) for name, value in facts if value not in (None, "")]


def _policy_of(request: HttpRequest, job: Job) -> list[str]:
    return [f"{name} {value}" for name, value in _as_dict(shown(request, job.retry_policy)).items()]


def _as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
