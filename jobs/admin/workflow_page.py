"""What the page of a workflow shows."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from jobs.admin.access.revealing import shown
from jobs.admin.displays import badge, copyable, duration_of, link, moment, page_url, span
from jobs.admin.documents import document
from jobs.admin.evaluations import verdict_of
from jobs.admin.events import story_of
from jobs.admin.outputs import outputs
from jobs.admin.sections import workflow_sections
from jobs.admin.timelines import timeline_of
from jobs.admin.units.live import live_stream
from jobs.admin.units.traces import traced
from jobs.models import Collection, Job, Workflow

STEPS_MAX = 100  # as many as a workflow may have


def page_of(request: HttpRequest, workflow: Workflow) -> dict[str, Any]:
    """What templates/admin/jobs/workflow/change_form.html shows besides the verbs."""
    rows = workflow.jobs.order_by("step_index").defer("payload", "original_payload", "ctx", "result")
    steps = list(rows[:STEPS_MAX])
    names = {job.pk: job.step_name or job.name for job in steps}
    story = story_of(workflow.events.order_by("-id"), steps=names)
    documents = [
        document("Request", shown(request, workflow.miniapp_req)),
        document("Started with", shown(request, workflow.data)),
        document("Outputs", shown(request, workflow.outputs)),
    ]
    more = [
        document("Problem", shown(request, workflow.problem_details)),
        document("Retried with", shown(request, workflow.retry_execution_data)),
    ]
    categories = [workflow.status_category] if workflow.status_category else []
    return {
        "workflow": workflow,
        "badges": [badge(word) for word in [workflow.status, *categories]],
        "facts": facts_of(workflow),
        "verdict": verdict_of(workflow),
        "steps": [_step(request, job) for job in steps],
        "error": shown(request, workflow.error),
        "documents": documents,
        "others": [each for each in more if not each.is_empty],
        "outputs": outputs(workflow.outputs),
        "timeline": timeline_of(request, workflow),
        "story": story.lines,
        "live": live_stream(workflow, story.last_id),
        "sections": [section(request, workflow) for section in workflow_sections],
    }


def facts_of(workflow: Workflow) -> list[tuple[str, Any]]:
    """What stands at the top of a workflow's page; what is not known is left out."""
    facts: list[tuple[str, Any]] = [
        ("Workflow", copyable(workflow.workflow_id)),
        ("Trace", traced(workflow.trace_id)),
        ("Tenant", link(workflow.tenant)),
        ("Kind", workflow.kind),
        ("Collection", _collection(workflow)),
        ("User", workflow.user_id),
        ("Session", workflow.session_id),
        ("User told", badge(workflow.notification_status)),
        ("Run", workflow.attempt),
        ("Priority", workflow.priority),
        ("Created", moment(workflow.created_at)),
        ("Ended", moment(workflow.ended_at)),
        ("Took", span(workflow.ended_at - workflow.created_at) if workflow.ended_at else None),
        ("Last retry", workflow.last_retry_attempt),
        ("Retry completed", moment(workflow.retry_completed_at)),
        ("Request", workflow.request_id),
        ("Actor", workflow.actor_id),
        ("Key", copyable(str(workflow.pk))),
        ("Problem", workflow.get_problem_type_display()),
        ("Evaluated", moment(workflow.evaluated_at)),
    ]
    return [(name, value) for name, value in facts if value not in (None, "")]


def _collection(workflow: Workflow) -> Any:
    """A link to the collection; its name as it was when the collection is gone."""
    collection: Collection | None = workflow.collection
    if collection is not None:
        return link(collection)
    data = workflow.data if isinstance(workflow.data, dict) else {}
    return (
        f"{data.get('collection_name', workflow.collection_id)} (deleted)" if workflow.collection_id else None
    )


def _step(request: HttpRequest, job: Job) -> dict[str, Any]:
    took = duration_of(job)
    return {
        "job": job,
        "url": page_url(job),
        "badge": badge(job.status),
        "took": span(took) if took is not None else "",
        "error": shown(request, job.error) if job.status != Job.Status.COMPLETED else None,
    }
