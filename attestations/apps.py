"""App config of the middle floor: listens for finished work, to attest it."""

from __future__ import annotations

from django.apps import AppConfig


class AttestationsConfig(AppConfig):
    name = "attestations"
    verbose_name = "Attestations"

    def ready(self) -> None:
        from attestations.evaluation import find_unattested
        from attestations.services import attest_finished_work
        from jobs.evaluator.rules import rule
        from jobs.signals import work_finished

        work_finished.connect(attest_finished_work, dispatch_uid="attestations")
        rule(find_unattested)
