"""Senders: the systems whose signed calls a tenant listens to."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from jobs.ids import uuid7
from jobs.models import Tenant
from jobs.models.tenants import TenantQuerySet


class Sender(models.Model):
    """An upstream or a client's app; what it signs reaches the work of its tenant and of no other."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="senders", db_index=False)
    name = models.CharField(max_length=100)
    is_active = models.BooleanField(default=True, help_text="The calls of an inactive sender are refused.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = TenantQuerySet["Sender"].as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(name="sender_name_per_tenant", fields=["tenant", "name"])]

    def __str__(self) -> str:
        return self.name
