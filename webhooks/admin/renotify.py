"""What webhooks let an operator do to workflows and jobs: have their users told once more."""

from __future__ import annotations

from jobs.admin.sections import job_verbs, workflow_verbs
from jobs.admin.verbs import Verb
from webhooks.services.renotify import can_renotify, renotify_job, renotify_workflow

QUESTION = "Endpoints that take it are told once more how each has ended, under a new webhook-id. Nothing is run again."


workflow_verbs.append(
    Verb(
        action="renotify_workflows",
        word="renotify",
        title="Re-notify",
        icon="notifications",
        question=QUESTION,
        is_offered=can_renotify,
        run=lambda workflow, by, reason: renotify_workflow(workflow, by=by, reason=reason),
        outcome=lambda workflow: "announced once more",
    )
)
job_verbs.append(
    Verb(
        action="renotify_jobs",
        word="renotify",
        title="Re-notify",
        icon="notifications",
        question=QUESTION,
        is_offered=can_renotify,
        run=lambda job, by, reason: renotify_job(job, by=by, reason=reason),
        outcome=lambda job: "announced once more",
    )
)
