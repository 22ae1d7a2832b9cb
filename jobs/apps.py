"""App config of the ground floor: finds every app's job handlers, keeps the schedules in step."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules


class JobsConfig(AppConfig):
    name = "jobs"
    verbose_name = "Work"

    def ready(self) -> None:
        from django_q.signals import post_spawn

        from config.streaming import stream_source
        from jobs.admin.access import noting
        from jobs.admin.access.roles import keep_roles
        from jobs.evaluator.outcomes import find_bad_outcomes
        from jobs.evaluator.outputs import find_mistyped
        from jobs.evaluator.rules import rule
        from jobs.forensics.sources import (
            tell_of_events,
            tell_of_events_of_job,
            tell_of_job,
            tell_of_steps,
            tell_of_workflow,
        )
        from jobs.forensics.timeline import job_timeline_source, timeline_source
        from jobs.hygiene.cleaning import add_stores
        from jobs.hygiene.retention import add_retentions
        from jobs.queue.runner import prepare_process
        from jobs.schedules import sync_schedules
        from jobs.services.cleaning import STORES
        from jobs.services.operations import end_with_their_jobs
        from jobs.services.queues import ensure_queues
        from jobs.services.retention import RETENTIONS
        from jobs.signals import work_finished
        from jobs.streams.feeds import JobSource, WorkflowSource, masked

        autodiscover_modules("job_handlers")
        rule(find_bad_outcomes)
        add_retentions(RETENTIONS)
        add_stores(STORES)
        for source in (tell_of_workflow, tell_of_steps, tell_of_events):
            timeline_source(source)
        job_timeline_source(tell_of_job)
        job_timeline_source(tell_of_events_of_job)
        work_finished.connect(end_with_their_jobs, dispatch_uid="operations")
        stream_source(JobSource())
        stream_source(WorkflowSource())
        stream_source(JobSource(name="job_masked", veil=masked))
        stream_source(WorkflowSource(name="workflow_masked", veil=masked))
        rule(find_mistyped)
        post_migrate.connect(ensure_queues, sender=self)
        post_migrate.connect(sync_schedules, sender=self)
        post_migrate.connect(keep_roles, sender=self)
        noting.listen()
        post_spawn.connect(prepare_process, dispatch_uid="jobs")
