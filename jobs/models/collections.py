"""Collections: a tenant's recipes for generations."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from jobs.ids import uuid7
from jobs.models.tenants import Tenant, TenantQuerySet


class Collection(models.Model):
    """An ordered list of steps that a generation runs one after the other.

    `steps` is a list of `{name, service_required, payload}`; strings in a payload may hold
    `${variables.NAME}` and `${steps.NAME.result.PATH}`.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="collections")
    name = models.CharField(max_length=200)
    steps = models.JSONField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = TenantQuerySet["Collection"].as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(name="collection_name_per_tenant", fields=["tenant", "name"]),
        ]

    def __str__(self) -> str:
        return self.name
