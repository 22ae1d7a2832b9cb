"""What the page of a job shows."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from jobs.admin.displays import badge, copyable, duration_of, link, moment, span, words
from jobs.admin.documents import document
from jobs.admin.evaluations import verdict_of
from jobs.admin.events import story_of
from jobs.admin.outputs import outputs
from jobs.admin.sections import job_sections
from jobs.models import Job, Queue
from jobs.workflows.advance import outputs_of

SHOWN_ELSEWHERE = {"miniapp_req", "workflow_id"}  # of a job's ctx


def page_of(request: HttpRequest, job: Job) -> dict[str, Any]:
    """What templates/admin/jobs/job/change_form.html shows besides the verbs."""
    documents = [
        document("Request", _as_dict(job.ctx).get("miniapp_req")),
        document("Payload", job.payload),
        document("Result", job.result),
    ]
    others = {key: value for key, value in _as_dict(job.ctx).items() if key not in SHOWN_ELSEWHERE}
    more = [
        document("Payload before it was edited", job.original_payload),
        document("Other context", others),
        document("Problem", job.problem_details),
    ]
    return {
        "job": job,
        "badges": [badge(word) for word in [state_of(job), *remarks_on(job)]],
        "facts": facts_of(job),
        "verdict": verdict_of(job),
        "documents": documents + [extra for extra in more if not extra.is_empty],
        "outputs": outputs(outputs_of(job.result)),
        "story": story_of(job.events.order_by("-id")),
        "sections": [section(request, job) for section in job_sections],
    }


def state_of(job: Job) -> str:
    """A job's status; a running one that is asked to stop is shown so."""
    is_stopping = job.status == Job.Status.RUNNING and job.cancel_requested_at is not None
    return "cancelling" if is_stopping else job.status


def remarks_on(job: Job) -> list[str]:
    """What else is worth a badge: why it does not begin, and what the evaluator made of it."""
    its_queue = Queue.objects.filter(name=job.queue, is_remote=job.is_remote, paused_at__isnull=False)
    remarks = ["queue paused"] if job.status == Job.Status.QUEUED and its_queue.exists() else []
    return remarks + ([job.status_category] if job.status_category else [])


def facts_of(job: Job) -> list[tuple[str, Any]]:
    """What stands at the top of a job's page; what is not known is left out."""
    took = duration_of(job)
    is_running = job.status == Job.Status.RUNNING
    is_queued = job.status == Job.Status.QUEUED
    facts: list[tuple[str, Any]] = [
        ("Job", copyable(str(job.pk))),
        ("Trace", copyable(job.trace_id)),
        ("Tenant", link(job.tenant) or "platform"),
        ("Workflow", link(job.workflow)),
        ("Step", f"{(job.step_index or 0) + 1}: {job.step_name}" if job.step_name else None),
        ("User", job.workflow.user_id if job.workflow else None),
        ("Attempt", f"{job.attempt} of {job.max_attempts}"),
        ("Own retry policy", words(_policy_of(job)) if job.retry_policy else None),
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


def _policy_of(job: Job) -> list[str]:
    return [f"{name} {value}" for name, value in _as_dict(job.retry_policy).items()]


def _as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
