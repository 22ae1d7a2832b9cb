"""Answers kept for clients that ask again: the `Idempotency-Key` of a POST and what it was answered."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from jobs.models.tenants import Tenant, TenantQuerySet


class IdempotencyKey(models.Model):
    """A key a tenant's client chose, written in the transaction that did what the request asked for.

    `fingerprint` is the SHA-256 of method, path and body; `body` is the answer as it was sent.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+", db_index=False)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    location = models.CharField(max_length=500, blank=True)
    body = models.TextField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = TenantQuerySet["IdempotencyKey"].as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(name="idempotency_key_per_tenant", fields=["tenant", "key"])]
        indexes = [models.Index(name="idempotency_key_age", fields=["created_at"])]

    def __str__(self) -> str:
        return self.key
