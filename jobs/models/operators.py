"""People at the monitor: what they may look at, what they did, what they keep at hand."""

from __future__ import annotations

from django.apps import apps
from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from jobs.ids import uuid7
from jobs.models.tenants import Tenant


class StaffTenant(models.Model):
    """The one tenant that an account of the monitor is restricted to; accounts without see all of them."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="restriction"
    )
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="staff")

    class Meta:
        verbose_name = "restriction to a tenant"
        verbose_name_plural = "restriction to a tenant"

    def __str__(self) -> str:
        return f"sees {self.tenant} only"


class AuditEntry(models.Model):
    """What somebody did, or was refused, at the monitor; the database refuses to change it."""

    at = models.DateTimeField(db_default=Now(), editable=False)
    # Text beside the key: accounts come and go, and what they did stays.
    actor = models.CharField(max_length=150, help_text="The account's name at that time.")
    user_id = models.BigIntegerField(null=True, blank=True)
    address = models.GenericIPAddressField(null=True, blank=True)
    trace_id = models.CharField(max_length=32, blank=True)
    tenant = models.ForeignKey(
        Tenant, on_delete=models.DO_NOTHING, null=True, blank=True, db_constraint=False, db_index=False
    )
    action = models.CharField(max_length=60, help_text="Like retry, pause, reveal, export, log in.")
    model = models.CharField(max_length=60, blank=True, help_text="Like jobs.Job.")
    object_id = models.CharField(max_length=200, blank=True)
    object_text = models.CharField(max_length=200, blank=True)
    before = models.JSONField(null=True, blank=True, help_text="What changed, as it was.")
    after = models.JSONField(null=True, blank=True, help_text="What changed, as it is.")
    reason = models.TextField(blank=True)
    outcome = models.TextField(blank=True)
    is_refused = models.BooleanField(default=False)
    operation_id = models.UUIDField(null=True, blank=True, help_text="The bulk operation it was part of.")

    class Meta:
        verbose_name_plural = "audit log"
        ordering = ["-id"]
        indexes = [
            models.Index(name="audit_of_tenant", fields=["tenant", "-id"]),
            models.Index(name="audit_of_actor", fields=["actor", "-id"]),
            models.Index(name="audit_of_object", fields=["model", "object_id", "-id"]),
            models.Index(
                name="audit_of_operation",
                fields=["operation_id", "id"],
                condition=models.Q(operation_id__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.actor}: {self.action} {self.object_text}".strip()


class SavedView(models.Model):
    """A list's filters under a name: an account's own, or shared with all who may open the list."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_views")
    model = models.CharField(max_length=60, help_text="Like jobs.Job.")
    name = models.CharField(max_length=60)
    query = models.TextField(help_text="The list's address after the question mark.")
    is_shared = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["name", "pk"]
        constraints = [models.UniqueConstraint(name="saved_view_name", fields=["user", "model", "name"])]

    def __str__(self) -> str:
        return self.name


class BulkOperation(models.Model):
    """One verb over many records, done by a job of its own, one record and one transaction at a time.

    What it goes over is either `keys`, or what a list shows under `query`, from `newest` downwards; `cursor` is the
    last key that was dealt with, so that another attempt goes on where one was cut off.
    """

    class Status(models.TextChoices):
        QUEUED = "queued"  # its job has not begun
        RUNNING = "running"  # its job is at it
        COMPLETED = "completed"  # it has gone over all of them
        ABORTED = "aborted"  # somebody stopped it; what was done stays done
        FAILED = "failed"  # it could not go on, or its operator may no longer do it

    TRANSITIONS = {
        Status.QUEUED: {Status.RUNNING, Status.ABORTED, Status.FAILED},
        Status.RUNNING: {Status.COMPLETED, Status.ABORTED, Status.FAILED},
        Status.COMPLETED: set[Status](),
        Status.ABORTED: set[Status](),
        Status.FAILED: set[Status](),
    }

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(
        Tenant, on_delete=models.DO_NOTHING, null=True, blank=True, db_constraint=False, db_index=False
    )
    model = models.CharField(max_length=60, help_text="Like jobs.Job.")
    verb = models.CharField(max_length=60, help_text="The action's name, like retry_jobs.")
    title = models.CharField(max_length=60, help_text="The verb in words, like Retry.")
    reason = models.TextField(blank=True)
    keys = models.JSONField(null=True, blank=True, help_text="The records that were selected.")
    query = models.TextField(blank=True, help_text="Or the filters of the list they were all selected from.")
    newest = models.CharField(max_length=64, blank=True, help_text="The newest record there was then.")
    cursor = models.CharField(max_length=64, blank=True)
    status = models.CharField(max_length=20, choices=Status, default=Status.QUEUED)
    total_count = models.PositiveIntegerField(help_text="How many there were when it was asked for.")
    is_total_capped = models.BooleanField(default=False, help_text="There were more than that.")
    done_count = models.PositiveIntegerField(default=0)
    refused_count = models.PositiveIntegerField(default=0)
    outcomes = models.JSONField(default=dict, help_text="What came of how many.")
    refusals = models.JSONField(default=dict, help_text="Why how many were refused.")
    error = models.TextField(blank=True)
    actor = models.CharField(max_length=150)
    user_id = models.BigIntegerField()
    job_id = models.UUIDField(null=True, blank=True)
    abort_requested_at = models.DateTimeField(null=True, blank=True)
    aborted_by = models.CharField(max_length=150, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(name="operation_of_tenant", fields=["tenant", "-id"])]
        constraints = [
            models.CheckConstraint(
                name="operation_status_known",
                condition=models.Q(status__in=["queued", "running", "completed", "aborted", "failed"]),
            ),
            models.CheckConstraint(
                name="operation_has_selection",
                condition=models.Q(keys__isnull=False, query="") | models.Q(keys__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        opts = apps.get_model(self.model)._meta
        noun = opts.verbose_name if self.total_count == 1 else opts.verbose_name_plural
        return f"{self.title} {self.total_text} {noun}"

    @property
    def total_text(self) -> str:
        """How many there were, as far as they were counted: `10,000+`."""
        return f"{self.total_count:,}{'+' if self.is_total_capped else ''}"

    @property
    def is_over(self) -> bool:
        return self.status in (self.Status.COMPLETED, self.Status.ABORTED, self.Status.FAILED)

    @property
    def handled_count(self) -> int:
        return self.done_count + self.refused_count
