"""Messages: what is told to a tenant's endpoints, as the bytes that are signed and sent."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.db import models
from django.db.models.functions import Now

from jobs.ids import uuid7
from jobs.models import Job, Tenant, Workflow
from jobs.models.tenants import TenantQuerySet


class Message(models.Model):
    """An event that at least one endpoint is told of. Written in the transaction that caused it, never changed."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # What a message speaks of exists when it is written and may go before it: no constraints to check.
    tenant = models.ForeignKey(Tenant, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    type = models.CharField(max_length=60)
    body = models.BinaryField(help_text="The JSON text, byte for byte.")
    job = models.ForeignKey(
        Job, on_delete=models.DO_NOTHING, null=True, blank=True, db_constraint=False, db_index=False
    )
    workflow = models.ForeignKey(
        Workflow,
        on_delete=models.DO_NOTHING,
        null=True,
        blank=True,
        db_constraint=False,
        db_index=False,
        related_name="messages",
    )
    # Of which run it tells; none where the workflow's end is not what it tells of.
    workflow_run = models.PositiveIntegerField(null=True, blank=True)
    trace_id = models.CharField(max_length=32)
    request_id = models.CharField(max_length=128, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = TenantQuerySet["Message"].as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(name="message_tenant_newest", fields=["tenant", "-id"]),
            models.Index(
                name="message_of_workflow",
                fields=["workflow", "id"],
                condition=models.Q(workflow__isnull=False),
            ),
            models.Index(name="message_of_job", fields=["job", "id"], condition=models.Q(job__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.webhook_id

    @property
    def webhook_id(self) -> str:
        return webhook_id_of(self.pk)

    @property
    def content(self) -> Any:
        """The body, read."""
        return json.loads(bytes(self.body))


def webhook_id_of(message_id: UUID) -> str:
    """The `webhook-id` of a message: the same in every attempt and at every endpoint."""
    return f"msg_{message_id.hex}"
