"""Counts over time: what the monitor's charts are drawn from, so that nobody counts jobs for them."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models.functions import Now

EVERYONE = uuid.UUID(int=2**128 - 1)  # the scope of what is counted over all tenants and the platform


class Measure(models.TextChoices):
    """What is counted; `name` and `key` say of what."""

    ENDED = "ended"  # attempts: name = kind or service, key = completed, failed, cancelled or retried
    WAITED = "waited"  # from due to begun: name = kind or service, key = a bucket of jobs.rollups.buckets
    RAN = "ran"  # from begun to ended: the same
    ERROR = "error"  # failed attempts: name = kind or service, key = fingerprint of an ErrorGroup
    EVALUATED = "evaluated"  # units: name = category, key = problem type or nothing
    DELIVERED = "delivered"  # attempts at webhooks: name = endpoint's id, key = succeeded or failed
    ANSWERED = "answered"  # how long endpoints took: name = endpoint's id, key = a bucket


class Tally(models.Model):
    """Counts as they come, written in the transaction of what they count; folded into rollups within seconds.

    Only ever inserted and deleted: writers would wait for one another at a shared row.
    """

    at = models.DateTimeField(db_default=Now())
    scope = models.UUIDField(help_text="The tenant's key; zero for the platform's own work.")
    measure = models.CharField(max_length=10, choices=Measure)
    name = models.CharField(max_length=200)
    key = models.CharField(max_length=64, blank=True)
    count = models.PositiveIntegerField()
    details = models.JSONField(null=True, blank=True, help_text="What a new ErrorGroup says.")

    def __str__(self) -> str:
        return f"{self.measure} {self.name} {self.key}: {self.count}"


class Rollup(models.Model):
    """How often something happened in `grain` seconds from `at` on, in one scope."""

    pk = models.CompositePrimaryKey("grain", "scope", "measure", "at", "name", "key")
    grain = models.PositiveIntegerField(help_text="Seconds: 60, 600 or 3,600.")
    scope = models.UUIDField()
    measure = models.CharField(max_length=10, choices=Measure)
    at = models.DateTimeField()
    name = models.CharField(max_length=200)
    key = models.CharField(max_length=64, blank=True)
    count = models.PositiveBigIntegerField()

    class Meta:
        # Read by the retention.
        indexes = [models.Index(name="rollup_age", fields=["grain", "at"])]

    def __str__(self) -> str:
        return f"{self.measure} {self.name} {self.key} at {self.at}: {self.count}"


class QueueGauge(models.Model):
    """What a queue or service had to do when a cluster last looked, for one tenant (zero: the platform's own)."""

    name = models.CharField(max_length=100)
    is_remote = models.BooleanField()
    scope = models.UUIDField()
    due_count = models.PositiveIntegerField(help_text="Queued, and due.")
    later_count = models.PositiveIntegerField(help_text="Queued for later.")
    running_count = models.PositiveIntegerField()
    oldest_due_at = models.DateTimeField(null=True, blank=True)
    sampled_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(name="queue_gauge_once", fields=["name", "is_remote", "scope"])
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.due_count} due"


class ErrorGroup(models.Model):
    """Failed attempts of one kind or service whose errors say the same, but for numbers, ids and the like."""

    fingerprint = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(
        "jobs.Tenant", on_delete=models.DO_NOTHING, null=True, blank=True, db_constraint=False, db_index=False
    )
    name = models.CharField(max_length=100, help_text="The kind, or the service.")
    code = models.CharField(max_length=100, blank=True)
    message = models.TextField(blank=True, help_text="Normalised: what varies is taken out.")
    count = models.PositiveBigIntegerField(default=0, help_text="Attempts.")
    sample_job_id = models.UUIDField(help_text="The last job that failed so.")
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()

    class Meta:
        verbose_name = "error"
        ordering = ["-last_seen_at", "fingerprint"]
        indexes = [
            models.Index(name="error_group_newest", fields=["-last_seen_at", "fingerprint"]),
            models.Index(name="error_group_of_tenant", fields=["tenant", "-last_seen_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.message or self.code}"[:200]
