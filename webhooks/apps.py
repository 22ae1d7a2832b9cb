"""App config of the top floor: listens for finished work, to tell of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate

from jobs.queue.companions import companion
from jobs.schedules import Recurring, add_schedules
from jobs.signals import FinishedAttempt, FinishedWorkflow, work_finished

SCHEDULES = [
    Recurring(name="match-receipts", kind="webhooks.match_receipts", minutes=1),
]

# What the roles at the monitor may do, as jobs/admin/access/roles.py has it. Whoever may add an endpoint is shown its
# secret, and so decides where messages go; pausing, testing and recovering is an operator's.
RIGHTS = {
    "webhooks.Endpoint": ("view", "change", "add delete"),
    "webhooks.Delivery": ("view", "change", ""),
    "webhooks.Message": ("view", "", ""),
    "webhooks.Receipt": ("view", "", ""),
    "webhooks.Sender": ("view", "", "add change"),
}


class WebhooksConfig(AppConfig):
    name = "webhooks"
    verbose_name = "Webhooks"

    def ready(self) -> None:
        from attestations.signals import submissions_ended
        from jobs.admin.access.roles import add_rights, keep_roles
        from jobs.demo.seeding.batches import seed_beginning, seed_part
        from jobs.evaluator.alerts import alert_listener
        from jobs.evaluator.rules import rule
        from jobs.forensics.timeline import job_timeline_source, timeline_source
        from jobs.hygiene.cleaning import add_stores
        from jobs.hygiene.retention import add_retentions
        from jobs.tenancy.resealing import add_sealed
        from webhooks.cleaning import STORES
        from webhooks.evaluation import find_untold
        from webhooks.forensics import tell_of_messages, tell_of_messages_of_job, tell_of_receipts
        from webhooks.models import Endpoint, EndpointSecret, SenderSecret
        from webhooks.seeding import make_endpoints, tell_batch
        from webhooks.sending.claim import QUEUE
        from webhooks.sending.loop import send_deliveries
        from webhooks.services.problems import tell_of_problems
        from webhooks.services.retention import RETENTIONS
        from webhooks.services.submissions import tell_of_submissions

        companion(QUEUE)(send_deliveries)
        add_schedules(SCHEDULES)
        add_rights(RIGHTS)
        post_migrate.connect(keep_roles, sender=self)
        add_retentions(RETENTIONS)
        add_stores(STORES)
        add_sealed([(EndpointSecret, "sealed"), (SenderSecret, "sealed"), (Endpoint, "sealed_headers")])
        rule(find_untold)
        work_finished.connect(on_work_finished, dispatch_uid="webhooks")
        submissions_ended.connect(tell_of_submissions, dispatch_uid="webhooks")
        alert_listener(tell_of_problems)
        timeline_source(tell_of_messages)
        job_timeline_source(tell_of_messages_of_job)
        timeline_source(tell_of_receipts)
        seed_beginning(make_endpoints)
        seed_part(tell_batch)


def on_work_finished(
    *, attempts: Sequence[FinishedAttempt], workflows: Sequence[FinishedWorkflow], **_: Any
) -> None:
    """Tell the endpoints, and let what came too early take effect."""
    from webhooks.services.matching import apply_waiting_receipts
    from webhooks.services.messages import tell_finished_work

    tell_finished_work(attempts, workflows)
    if workflows:
        apply_waiting_receipts(workflows)
