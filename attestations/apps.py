"""App config of the middle floor: listens for finished work, to attest it and to move submissions on."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate

from jobs.schedules import Recurring, add_schedules

SCHEDULES = [
    Recurring(name="reconcile-transactions", kind="submissions.reconcile_transactions", minutes=10),
]

# What the roles at the monitor may do, as jobs/admin/access/roles.py has it.
RIGHTS = {
    "attestations.Attestation": ("view", "", ""),
    "attestations.ProofSession": ("view", "add", ""),
    "attestations.Submission": ("view", "change", ""),
    "attestations.ChainTransaction": ("view", "", ""),
}


class AttestationsConfig(AppConfig):
    name = "attestations"
    verbose_name = "Attestations"

    def ready(self) -> None:
        from django.core.checks import register

        from attestations.chain.checks import check_chain
        from attestations.chain.local import local_chain
        from attestations.cleaning import STORES
        from attestations.evaluation import find_unattested, find_unpublished
        from attestations.forensics import tell_of_attestations, tell_of_attestations_of_job
        from attestations.models import CreatorKey
        from attestations.retention import RETENTIONS, kept_of_workflow, unfinished_of_workflow
        from attestations.seeding import attest_batch, submit_some
        from attestations.services.attesting import attest_finished_work
        from attestations.services.following import follow_finished_work, refuse_rerun
        from attestations.sessions.following import tell_ends_of_sessions
        from attestations.sessions.retention import RETENTION as OF_SESSIONS
        from attestations.sessions.telling import SessionSource
        from attestations.submission_timeline import tell_of_session, tell_of_submission
        from config.streaming import stream_source
        from jobs.admin.access.roles import add_rights, keep_roles
        from jobs.demo.seeding.batches import seed_beginning, seed_part
        from jobs.evaluator.rules import rule
        from jobs.forensics.timeline import job_timeline_source, timeline_source
        from jobs.hygiene.cleaning import add_stores
        from jobs.hygiene.retention import add_retentions, workflow_holds
        from jobs.local_services import local_service
        from jobs.services.retries import retry_refusals
        from jobs.signals import work_finished
        from jobs.tenancy.resealing import add_sealed

        add_schedules(SCHEDULES)
        add_rights(RIGHTS)
        post_migrate.connect(keep_roles, sender=self)
        add_sealed([(CreatorKey, "sealed_secret")])
        add_retentions([*RETENTIONS, OF_SESSIONS])
        workflow_holds.extend([kept_of_workflow(), unfinished_of_workflow()])
        add_stores(STORES)
        work_finished.connect(attest_finished_work, dispatch_uid="attestations")
        work_finished.connect(follow_finished_work, dispatch_uid="submissions")
        work_finished.connect(tell_ends_of_sessions, dispatch_uid="sessions")
        stream_source(SessionSource())
        retry_refusals.append(refuse_rerun)
        rule(find_unattested)
        rule(find_unpublished)
        timeline_source(tell_of_attestations)
        job_timeline_source(tell_of_attestations_of_job)
        timeline_source(tell_of_submission)
        timeline_source(tell_of_session)
        local_service(local_chain)
        seed_beginning(submit_some)
        seed_part(attest_batch)
        register(check_chain)
