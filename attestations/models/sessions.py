"""Proof sessions: proofs that are made, verified and attested while somebody watches."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models

from jobs.models import Workflow
from jobs.models.tenants import TenantQuerySet


class _Sessions(models.Manager["ProofSession"]):
    def get_queryset(self) -> TenantQuerySet[ProofSession]:
        return TenantQuerySet(self.model, using=self._db).filter(kind=Workflow.Kind.PROOF)


class ProofSession(Workflow):
    """A workflow of three jobs (generate, verify, attest) that a client knows by its `session_id`.

    It has no row of its own: what it was asked is the workflow's `data`, what its phases have found are the results of
    its jobs, and what it tells those who watch are events.
    """

    objects: ClassVar[Any] = _Sessions()

    class Meta:
        proxy = True
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.session_id
