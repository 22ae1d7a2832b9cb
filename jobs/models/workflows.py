"""Workflows: several jobs that one request asked for."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models.functions import Now

from jobs.ids import uuid7
from jobs.models.collections import Collection
from jobs.models.evaluation import Evaluated
from jobs.models.tenants import Tenant, TenantQuerySet


class Workflow(Evaluated):
    """A generation, a proof run or a submission: what was asked for, and what became of it."""

    class Kind(models.TextChoices):
        GENERATION = "generation"  # a collection's steps over a user's variables
        PROOF = "proof"  # generate, verify, attest, watched live
        SUBMISSION = "submission"  # prove a digest, then publish the proof

    class Status(models.TextChoices):
        RUNNING = "running"  # from the moment it is accepted
        COMPLETED = "completed"  # its last step completed
        FAILED = "failed"  # a step failed for good, or expired
        CANCELLED = "cancelled"  # somebody stopped it

    class NotificationStatus(models.TextChoices):
        NONE = "none"  # nothing to tell yet, or nobody to tell
        OWED = "owed"  # it ended, and its user is to be told
        DELIVERED = "delivered"  # the user's app took our webhook
        TOLD = "told"  # the app confirmed that the user knows
        FAILED = "failed"  # the webhook could not be delivered

    TRANSITIONS = {
        Status.RUNNING: {Status.COMPLETED, Status.FAILED, Status.CANCELLED},
        Status.FAILED: {Status.RUNNING},  # a retry
        Status.COMPLETED: set[Status](),
        Status.CANCELLED: set[Status](),
    }

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="workflows", db_index=False)
    workflow_id = models.CharField(max_length=200, help_text="The client's own name of it, or ours.")
    kind = models.CharField(max_length=20, choices=Kind, default=Kind.GENERATION)
    # No database constraint: a collection may be deleted, what was made with it keeps its id.
    collection = models.ForeignKey(
        Collection,
        on_delete=models.DO_NOTHING,
        related_name="workflows",
        null=True,
        blank=True,
        db_constraint=False,
    )
    user_id = models.CharField(max_length=200, blank=True)
    session_id = models.CharField(max_length=200, blank=True)
    priority = models.PositiveSmallIntegerField(default=50)

    miniapp_req = models.JSONField(null=True, blank=True, help_text="The user's request as it was accepted.")
    data = models.JSONField(default=dict, help_text="What the workflow was started with; never overwritten.")
    outputs = models.JSONField(default=list, blank=True, help_text="URLs in the last step's result.")
    retry_execution_data = models.JSONField(null=True, blank=True)
    last_retry_attempt = models.PositiveIntegerField(null=True, blank=True)
    retry_completed_at = models.DateTimeField(null=True, blank=True)

    status = models.CharField(max_length=20, choices=Status, default=Status.RUNNING)
    attempt = models.PositiveIntegerField(default=1, help_text="Runs begun: 1, and one more per retry.")
    total_steps = models.PositiveSmallIntegerField()
    error = models.JSONField(null=True, blank=True)
    notification_status = models.CharField(
        max_length=20, choices=NotificationStatus, default=NotificationStatus.NONE
    )

    trace_id = models.CharField(max_length=32)
    request_id = models.CharField(max_length=128, blank=True)
    actor_id = models.CharField(max_length=200, blank=True)

    created_at = models.DateTimeField(db_default=Now(), editable=False)
    completed_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)
    cancelled_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["Workflow"].as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(name="workflow_tenant_newest", fields=["tenant", "-id"]),
            # Read by the evaluator: what has ended and was not looked at since, and what might be overdue.
            models.Index(
                name="workflow_to_evaluate",
                fields=["id"],
                condition=models.Q(
                    is_cleanup_evaluated=False, status__in=["completed", "failed", "cancelled"]
                ),
            ),
            models.Index(name="workflow_running", fields=["id"], condition=models.Q(status="running")),
            # Read by the list of proof sessions, which are few among the workflows.
            models.Index(name="workflow_proof_session", fields=["id"], condition=models.Q(kind="proof")),
            # Read by the monitor's lists.
            models.Index(
                name="workflow_ended_badly",
                fields=["status", "-id"],
                condition=models.Q(status__in=["failed", "cancelled"]),
            ),
            models.Index(
                name="workflow_problem", fields=["problem_type", "-id"], condition=~models.Q(problem_type="")
            ),
            models.Index(name="workflow_trace", fields=["trace_id"]),
            models.Index(name="workflow_user", fields=["user_id", "-id"], condition=~models.Q(user_id="")),
            models.Index(
                name="workflow_session", fields=["session_id", "-id"], condition=~models.Q(session_id="")
            ),
            models.Index(
                name="workflow_of_collection",
                fields=["collection", "-id"],
                condition=models.Q(collection__isnull=False),
            ),
        ]
        constraints = [
            models.UniqueConstraint(name="workflow_id_per_tenant", fields=["tenant", "workflow_id"]),
            models.CheckConstraint(
                name="workflow_status_known",
                condition=models.Q(status__in=["running", "completed", "failed", "cancelled"]),
            ),
            models.CheckConstraint(
                name="workflow_final_state_timed",
                condition=models.Q(
                    status="completed",
                    completed_at__isnull=False,
                    failed_at__isnull=True,
                    cancelled_at__isnull=True,
                )
                | models.Q(
                    status="failed",
                    failed_at__isnull=False,
                    completed_at__isnull=True,
                    cancelled_at__isnull=True,
                )
                | models.Q(
                    status="cancelled",
                    cancelled_at__isnull=False,
                    completed_at__isnull=True,
                    failed_at__isnull=True,
                )
                | models.Q(
                    status="running",
                    completed_at__isnull=True,
                    failed_at__isnull=True,
                    cancelled_at__isnull=True,
                ),
            ),
            models.CheckConstraint(
                name="workflow_numbers_bounded",
                condition=models.Q(
                    priority__lte=100, attempt__gte=1, total_steps__gte=1, total_steps__lte=100
                ),
            ),
        ]

    def __str__(self) -> str:
        return self.workflow_id

    @property
    def ended_at(self) -> datetime | None:
        return self.completed_at or self.failed_at or self.cancelled_at
