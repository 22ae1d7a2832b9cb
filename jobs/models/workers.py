"""Workers: who runs jobs, and when they were last heard of."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from jobs.models.jobs import PLATFORM
from jobs.models.tenants import Tenant, TenantQuerySet

ONLINE_WITHIN = timedelta(seconds=60)


class WorkerQuerySet(TenantQuerySet["Worker"]):
    def online(self) -> Self:
        """Workers heard of within the last minute."""
        return self.filter(last_seen_at__gt=timezone.now() - ONLINE_WITHIN)


class Worker(models.Model):
    """A remote worker of a tenant, or (without tenant) an in-house process of one queue."""

    tenant = models.ForeignKey(
        Tenant, on_delete=models.CASCADE, related_name="workers", null=True, blank=True, db_index=False
    )
    worker_id = models.CharField(max_length=200)
    services = ArrayField(models.CharField(max_length=100), default=list, blank=True)
    queue = models.CharField(max_length=100, blank=True, help_text="The queue an in-house process serves.")
    first_seen_at = models.DateTimeField(db_default=Now(), editable=False)
    last_seen_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = WorkerQuerySet.as_manager()

    class Meta:
        ordering = ["-last_seen_at"]
        constraints = [
            models.UniqueConstraint(
                Coalesce("tenant", models.Value(PLATFORM, output_field=models.UUIDField())),
                "worker_id",
                name="worker_id_per_tenant",
            ),
        ]

    def __str__(self) -> str:
        return self.worker_id

    @property
    def is_online(self) -> bool:
        return self.last_seen_at > timezone.now() - ONLINE_WITHIN
