"""App config of the middle floor: listens for finished work, to attest it."""

from __future__ import annotations

from django.apps import AppConfig


class AttestationsConfig(AppConfig):
    name = "attestations"
    verbose_name = "Attestations"

    def ready(self) -> None:
        from attestations.cleaning import STORES
        from attestations.evaluation import find_unattested
        from attestations.forensics import tell_of_attestations
        from attestations.retention import RETENTIONS, kept_of_workflow
        from attestations.services import attest_finished_work
        from jobs.evaluator.rules import rule
        from jobs.forensics.timeline import timeline_source
        from jobs.hygiene.cleaning import add_stores
        from jobs.hygiene.retention import add_retentions, workflow_holds
        from jobs.signals import work_finished

        add_retentions(RETENTIONS)
        workflow_holds.append(kept_of_workflow())
        add_stores(STORES)
        work_finished.connect(attest_finished_work, dispatch_uid="attestations")
        rule(find_unattested)
        timeline_source(tell_of_attestations)
