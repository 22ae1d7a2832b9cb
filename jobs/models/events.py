"""Events: what happened to a job or workflow that its row does not say."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from jobs.models.jobs import Job
from jobs.models.tenants import Tenant, TenantQuerySet
from jobs.models.workflows import Workflow


class Event(models.Model):
    """One line of a job's or workflow's story, in the order of `id`.

    An id is given under the lock of the workflow's row (of the job's, outside workflows), so that of one story none is
    seen before those that come before it. Write events by jobs.services.events, or while that row is locked.
    """

    class Type(models.TextChoices):
        PROGRESS = "progress"  # {"progress": 0–100, "message"}
        LOG = "log"  # {"lines": [text]}
        CANCEL_REQUESTED = "cancel_requested"  # {"by"}
        CANCELLED = "cancelled"  # {"by"}
        RETRIED = "retried"  # {"by", "reason", "before", "after"}
        RENOTIFIED = "renotified"  # {"by", "reason", "message_id"}: its user is told once more
        REMINDER_DUE = "reminder_due"  # {"user_id"}
        USER_NOTIFIED = "user_notified"  # {"user_id", "notified_at", "method", "receipt_id"}
        UPSTREAM_ENDED = "upstream_ended"  # {"status", "receipt_id", …}: what an upstream says of a workflow
        # Of a proof session, as its stream tells them; its log has one line per event, with a `timestamp`.
        STATUS = "status"  # {"phase", "progress", "step"}
        TRANSACTION = "transaction"  # {"txHash", "explorerUrl"}
        COMPLETE = "complete"  # {}: the results are those of its jobs
        ERROR = "error"  # {"error", "phase", "code"}

    # The rows an event speaks of exist when it is written and may go before it: no constraint to check.
    tenant = models.ForeignKey(
        Tenant, on_delete=models.DO_NOTHING, null=True, blank=True, db_constraint=False, db_index=False
    )
    job = models.ForeignKey(
        Job,
        on_delete=models.DO_NOTHING,
        null=True,
        blank=True,
        db_constraint=False,
        db_index=False,
        related_name="events",
    )
    workflow = models.ForeignKey(
        Workflow,
        on_delete=models.DO_NOTHING,
        null=True,
        blank=True,
        db_constraint=False,
        db_index=False,
        related_name="events",
    )
    type = models.CharField(max_length=40, choices=Type)
    data = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = TenantQuerySet["Event"].as_manager()

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(name="event_of_job", fields=["job", "id"], condition=models.Q(job__isnull=False)),
            models.Index(
                name="event_of_workflow",
                fields=["workflow", "id"],
                condition=models.Q(workflow__isnull=False),
            ),
            # Read by the monitor's list of one tenant's.
            models.Index(name="event_tenant_newest", fields=["tenant", "-id"]),
            # Read by the retention, which forgets streams of sessions long before other events.
            models.Index(
                name="event_that_ends_session",
                fields=["workflow"],
                condition=models.Q(type__in=["complete", "error"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} #{self.pk}"
