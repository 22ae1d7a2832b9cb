"""What webhooks let an operator do to workflows and jobs: have their users told once more."""

from __future__ import annotations

from jobs.admin.sections import job_verbs, workflow_verbs
from jobs.admin.verbs import Verb
from jobs.models import Job, Workflow
from webhooks.models import Delivery
from webhooks.services.renotify import renotify_job, renotify_workflow

QUESTION = "Endpoints that take it are told once more how each has ended, under a new webhook-id. Nothing is run again."


def is_untold(workflow: Workflow) -> bool:
    is_over = workflow.status != Workflow.Status.RUNNING
    return is_over and workflow.notification_status != Workflow.NotificationStatus.TOLD


def is_undelivered(job: Job) -> bool:
    """Whether there was something to tell of a job outside a workflow, and no endpoint has taken it."""
    if job.workflow_id or not job.is_final:
        return False
    statuses = set(Delivery.objects.filter(message__job=job).values_list("status", flat=True).distinct())
    return bool(statuses) and Delivery.Status.DELIVERED not in statuses


workflow_verbs.append(
    Verb(
        action="renotify_workflows",
        title="Re-notify",
        icon="notifications",
        question=QUESTION,
        is_offered=is_untold,
        run=lambda workflow, by, reason: renotify_workflow(workflow, by=by, reason=reason),
        outcome=lambda workflow: "announced once more",
    )
)
job_verbs.append(
    Verb(
        action="renotify_jobs",
        title="Re-notify",
        icon="notifications",
        question=QUESTION,
        is_offered=is_undelivered,
        run=lambda job, by, reason: renotify_job(job, by=by, reason=reason),
        outcome=lambda job: "announced once more",
    )
)
