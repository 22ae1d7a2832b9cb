"""Writes the jobs and workflows of a batch, and what the ground floor keeps beside them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from jobs.demo.seeding import catalogue
from jobs.demo.seeding.batches import Batch, expected_problem
from jobs.demo.seeding.copying import copy_rows, json_or_null, json_text
from jobs.demo.seeding.counting import fingerprint
from jobs.demo.seeding.stories import JobStory, WorkflowStory
from jobs.models import Job

EVENTS_KEPT = timedelta(hours=12)  # older ones are left out: they are many

WORKFLOW_COLUMNS = (
    "id",
    "tenant_id",
    "workflow_id",
    "kind",
    "collection_id",
    "user_id",
    "session_id",
    "priority",
    "miniapp_req",
    "data",
    "outputs",
    "retry_execution_data",
    "last_retry_attempt",
    "retry_completed_at",
    "status",
    "attempt",
    "total_steps",
    "error",
    "notification_status",
    "trace_id",
    "request_id",
    "actor_id",
    "created_at",
    "completed_at",
    "failed_at",
    "cancelled_at",
    "is_cleanup_evaluated",
    "status_category",
    "problem_type",
    "evaluated_at",
)
JOB_COLUMNS = (
    "id",
    "tenant_id",
    "kind",
    "service_required",
    "queue",
    "payload",
    "original_payload",
    "is_filled_in",
    "ctx",
    "priority",
    "singleton_key",
    "status",
    "attempt",
    "max_attempts",
    "run_at",
    "expires_at",
    "timeout_seconds",
    "batch_size",
    "worker",
    "started_at",
    "progress",
    "result",
    "error",
    "error_fingerprint",
    "trace_id",
    "request_id",
    "actor_id",
    "workflow_id",
    "step_index",
    "step_name",
    "created_at",
    "completed_at",
    "failed_at",
    "cancelled_at",
    "is_cleanup_evaluated",
    "status_category",
    "problem_type",
    "evaluated_at",
)
EVENT_COLUMNS = ("tenant_id", "job_id", "workflow_id", "type", "data", "created_at")
CHECK_COLUMNS = (
    "workflow_id",
    "workflow_run",
    "url",
    "status",
    "content_type",
    "source",
    "declared_type",
    "detail",
    "tries",
    "checked_at",
)


def write_units(batch: Batch) -> None:
    """Write workflows, jobs and their events, in this order."""
    copy_rows("jobs_workflow", WORKFLOW_COLUMNS, (_workflow_row(batch, story) for story in batch.workflows))
    copy_rows("jobs_job", JOB_COLUMNS, (_job_row(batch, story) for story in batch.jobs))
    copy_rows("jobs_outputcheck", CHECK_COLUMNS, _checks(batch))
    copy_rows("jobs_event", EVENT_COLUMNS, sorted(_events(batch), key=lambda row: row[-1]))


def _ends(story: JobStory | WorkflowStory) -> tuple[datetime | None, ...]:
    """`completed_at`, `failed_at`, `cancelled_at`."""
    return tuple(
        story.ended_at if story.status == word else None for word in ("completed", "failed", "cancelled")
    )


def _evaluation(batch: Batch, unit: JobStory | WorkflowStory) -> tuple[Any, ...]:
    """`is_cleanup_evaluated`, `status_category`, `problem_type`, `evaluated_at` of a unit: what has a problem is judged
    by the rules, once it is stored.
    """
    at = batch.evaluated_at(unit)
    if at is None or expected_problem(unit):
        return False, "", "", None
    return True, "complete", "", at


def _workflow_row(batch: Batch, story: WorkflowStory) -> tuple[Any, ...]:
    tenant = batch.tenant_of(story)
    name, services, _ = catalogue.RECIPES[story.recipe]
    collection = tenant.collections[story.recipe]
    data = {
        "collection_id": str(collection),
        "collection_name": name,
        "variables": story.variables,
        "steps": catalogue.steps_of(services),
    }
    is_retried = story.attempt > 1
    return (
        story.id,
        tenant.id,
        story.workflow_id,
        "generation",
        collection,
        story.user_id,
        story.session_id,
        story.priority,
        json_text(story.miniapp_req),
        json_text(data),
        json_text(story.outputs),
        json_or_null(story.retry),
        story.attempt - 1 if is_retried else None,
        story.ended_at if is_retried and story.status == "completed" else None,
        story.status,
        story.attempt,
        len(story.jobs),
        json_or_null(story.error),
        story.notification_status,
        story.trace_id,
        "",
        story.actor_id,
        story.created_at,
        *_ends(story),
        *_evaluation(batch, story),
    )


def _job_row(batch: Batch, story: JobStory) -> tuple[Any, ...]:
    tenant, service, workflow = batch.tenant_of(story), story.service, story.workflow
    error = story.error
    group = (
        fingerprint(tenant.id, service.name, error["code"], error["message"])
        if error and story.status in (Job.Status.FAILED, Job.Status.QUEUED)
        else None
    )
    return (
        story.id,
        tenant.id,
        service.name if service.kind else "",
        "" if service.kind else service.name,
        service.queue or service.name,
        json_text(story.payload),
        json_or_null(story.original_payload),
        story.is_filled_in,
        json_text(story.ctx),
        story.priority,
        "",
        story.status,
        len(story.attempts),
        story.max_attempts,
        story.run_at,
        story.expires_at,
        service.timeout_seconds,
        1,
        story.worker,
        story.attempts[-1].started_at if story.attempts else None,
        100 if story.status == "completed" else 0,
        json_or_null(story.result),
        json_or_null(error),
        group,
        story.trace_id,
        "",
        story.actor_id,
        workflow.id if workflow else None,
        story.step_index,
        service.name if workflow else "",
        story.created_at,
        *_ends(story),
        *((False, "", "", None) if workflow else _evaluation(batch, story)),
    )


def _checks(batch: Batch) -> Iterator[tuple[Any, ...]]:
    """What the evaluator notes of the outputs of a run that came after a failed one."""
    for story in batch.workflows:
        if story.status == "completed" and story.attempt > 1 and story.outputs:
            type_ = story.jobs[-1].result["content_type"]
            facts = ("matches", type_, "extension", type_, "", 1)
            yield story.id, story.attempt, story.outputs[0], *facts, story.ended_at


def _events(batch: Batch) -> Iterator[tuple[Any, ...]]:
    for workflow in batch.workflows:
        for at, type_, data in workflow.events:
            yield batch.tenant_of(workflow).id, None, workflow.id, type_, json_text(data), at
    since = batch.plan.now - EVENTS_KEPT
    for job in batch.jobs:
        workflow_id = job.workflow.id if job.workflow else None
        told = job.events + (_words_of_worker(job) if not job.service.kind and job.created_at > since else [])
        for at, type_, data in told:
            yield batch.tenant_of(job).id, job.id, workflow_id, type_, json_text(data), at


def _words_of_worker(job: JobStory) -> list[tuple[datetime, str, dict[str, Any]]]:
    """What the workers said while they were at it."""
    words: list[tuple[datetime, str, dict[str, Any]]] = []
    for attempt in job.attempts:
        took = attempt.ended_at - attempt.started_at
        begun = [
            f"attempt {attempt.number} on {attempt.worker}",
            f"{job.service.name}: {len(job.payload)} arguments",
        ]
        words.append((attempt.started_at + took * 0.05, "log", {"lines": begun}))
        words.append((attempt.started_at + took * 0.4, "progress", {"progress": 40, "message": "at it"}))
        if attempt.outcome == "completed":
            words.append((attempt.started_at + took * 0.95, "log", {"lines": ["stored its result"]}))
    return words
