"""Attestations: the record each attempt and each workflow run leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from django.db import models
from django.db.models.functions import Now

from attestations.canonical import digest_of
from jobs.models import Job, Tenant, Workflow
from jobs.models.tenants import TenantQuerySet


class AttestationQuerySet(TenantQuerySet["Attestation"]):
    def of_workflow(self, workflow: Workflow) -> Self:
        """Every attestation of a workflow and its jobs, oldest first."""
        return self.filter(workflow=workflow).order_by("id")


class Attestation(models.Model):
    """What was asked for, what the job was sent, what came back. Written once; a trigger refuses UPDATE."""

    class Type(models.TextChoices):
        WORKER_COMPLETION = "worker_completion"  # an attempt of a job completed
        WORKER_FAILURE = "worker_failure"  # an attempt failed, was lost or was cancelled
        WORKFLOW_COMPLETION = "workflow_completion"  # a run of a workflow completed
        WORKFLOW_FAILURE = "workflow_failure"  # a run failed or was cancelled

    class EntityType(models.TextChoices):
        JOB = "job"
        WORKFLOW = "workflow"

    class Status(models.TextChoices):
        COMPLETED = "completed"
        FAILED = "failed"
        CANCELLED = "cancelled"

    # Evidence outlives what it speaks of, and is written in bulk: no constraints to check.
    tenant = models.ForeignKey(
        Tenant, on_delete=models.DO_NOTHING, null=True, blank=True, db_constraint=False, db_index=False
    )
    job = models.ForeignKey(
        Job,
        on_delete=models.DO_NOTHING,
        null=True,
        blank=True,
        db_constraint=False,
        related_name="attestations",
    )
    workflow = models.ForeignKey(
        Workflow,
        on_delete=models.DO_NOTHING,
        null=True,
        blank=True,
        db_constraint=False,
        db_index=False,
        related_name="attestations",
    )
    attestation_key = models.CharField(max_length=260)
    attestation_type = models.CharField(max_length=30, choices=Type)
    entity_type = models.CharField(max_length=10, choices=EntityType)
    workflow_key = models.CharField(
        max_length=200, blank=True, help_text="The client's own name of the workflow."
    )
    worker_id = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=10, choices=Status)
    retry_attempt = models.PositiveIntegerField(default=0, help_text="Earlier attempts.")
    attestation_data = models.JSONField()
    digest = models.CharField(max_length=64, help_text="SHA-256 of the canonical JSON, hex.")
    original_digest = models.CharField(
        max_length=64,
        blank=True,
        db_default="",
        help_text="The digest before base64 was taken out of an old attestation.",
    )
    # Beside the document, whose shape is fixed.
    started_at = models.DateTimeField(null=True, blank=True, help_text="When the attempt began.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField()

    objects = AttestationQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                name="attestation_of_workflow",
                fields=["workflow", "id"],
                condition=models.Q(workflow__isnull=False),
            ),
            # Read by the monitor's list of one tenant's.
            models.Index(name="attestation_tenant_newest", fields=["tenant", "-id"]),
            # Read by the retention: rows come in the order they expire.
            models.Index(name="attestation_expiry", fields=["expires_at"]),
        ]
        constraints = [
            models.UniqueConstraint(name="attestation_key_per_tenant", fields=["tenant", "attestation_key"]),
            models.CheckConstraint(
                name="attestation_words_known",
                condition=models.Q(
                    attestation_type__in=[
                        "worker_completion",
                        "worker_failure",
                        "workflow_completion",
                        "workflow_failure",
                    ],
                    entity_type__in=["job", "workflow"],
                    status__in=["completed", "failed", "cancelled"],
                ),
            ),
        ]

    def __str__(self) -> str:
        return self.attestation_key

    def as_document(self) -> dict[str, Any]:
        """The attestation as the API shows it and as its digest is taken."""
        return document_of(vars(self))

    def compute_digest(self) -> str:
        """SHA-256 over the canonical JSON of `as_document()`, 64 hex digits."""
        return digest_of(self.as_document())

    @property
    def is_intact(self) -> bool:
        """Whether what is stored still is what was attested."""
        return self.digest == self.compute_digest()


def document_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The document of the attestation with these columns (`job_id` a UUID or None)."""
    return {
        "attestation_key": row["attestation_key"],
        "attestation_type": row["attestation_type"],
        "entity_type": row["entity_type"],
        "redis_step_id": str(row["job_id"]) if row["job_id"] else None,
        "redis_workflow_id": row["workflow_key"] or None,
        "worker_id": row["worker_id"] or None,
        "status": row["status"],
        "retry_attempt": row["retry_attempt"],
        "attestation_data": row["attestation_data"],
    }
