"""Receipts: every signed call that came in, and what became of it."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from jobs.ids import uuid7
from jobs.models import Tenant, Workflow
from jobs.models.tenants import TenantQuerySet
from webhooks.models.senders import Sender


class Receipt(models.Model):
    """A call of one of the three paths, written in the transaction of its effect. Deliveries are the other way."""

    class Path(models.TextChoices):
        WORKFLOW_COMPLETED = "workflow_completed"  # an upstream tells that a workflow ended
        USER_NOTIFIED = "user_notified"  # a client's app tells that its user knows
        MINIAPP = "miniapp"  # the stand-in for a client's app was told of an event

    class State(models.TextChoices):
        APPLIED = "applied"  # it took effect
        WAITING = "waiting"  # there is no such workflow yet, or it has not ended; applied when it has
        IGNORED = "ignored"  # kept, and changed nothing: `reason` says why
        REFUSED = "refused"  # unsigned, wrongly signed, too large or no JSON; the newest of these are kept

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(
        Tenant, on_delete=models.DO_NOTHING, null=True, blank=True, db_constraint=False, db_index=False
    )
    # No constraint to check: each call would lock the row of its sender, and many share one.
    sender = models.ForeignKey(
        Sender,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="receipts",
        db_constraint=False,
        db_index=False,
    )
    path = models.CharField(max_length=30, choices=Path)
    state = models.CharField(max_length=20, choices=State)
    reason = models.CharField(max_length=60, blank=True)
    key = models.CharField(
        max_length=220,
        blank=True,
        help_text="`webhook-id`, else the digest: what makes a call the same again.",
    )
    digest = models.CharField(max_length=64, help_text="SHA-256 of the body, hex.")
    workflow_name = models.CharField(max_length=200, blank=True, help_text="The `workflow_id` it speaks of.")
    workflow = models.ForeignKey(
        Workflow,
        on_delete=models.DO_NOTHING,
        null=True,
        blank=True,
        db_constraint=False,
        db_index=False,
        related_name="receipts",
    )
    user_id = models.CharField(max_length=200, blank=True)
    headers = models.JSONField(default=dict)
    notice = models.JSONField(default=dict, help_text="What it says, as far as anything follows from it.")
    body = models.JSONField(
        null=True,
        blank=True,
        help_text="As it was read, unless it is large; of a refused call its first bytes.",
    )
    size = models.PositiveIntegerField(help_text="Bytes of the body.")
    remote_address = models.CharField(max_length=60, blank=True)
    trace_id = models.CharField(max_length=32)
    duplicate_count = models.PositiveIntegerField(default=0, help_text="Times it came again.")
    last_duplicate_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    applied_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["Receipt"].as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(name="receipt_tenant_newest", fields=["tenant", "-id"]),
            models.Index(
                name="receipt_waiting",
                fields=["tenant", "workflow_name"],
                condition=models.Q(state="waiting"),
            ),
            models.Index(name="receipt_refused", fields=["-id"], condition=models.Q(state="refused")),
            models.Index(name="receipt_digest", fields=["sender", "digest"]),
            models.Index(
                name="receipt_of_workflow",
                fields=["workflow", "id"],
                condition=models.Q(workflow__isnull=False),
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                name="receipt_once",
                fields=["sender", "path", "key"],
                condition=models.Q(sender__isnull=False) & ~models.Q(key=""),
            ),
            models.CheckConstraint(
                name="receipt_state_sound",
                condition=models.Q(state="refused")
                | models.Q(state__in=["applied", "waiting", "ignored"], tenant__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return str(self.pk)
