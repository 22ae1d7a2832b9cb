"""Tenants and the API keys their programs call with."""

from __future__ import annotations

import uuid
from typing import Self, TypeVar

from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from jobs.ids import uuid7


class Tenant(models.Model):
    """A customer of the platform: it sees its own rows and no others."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.CharField(
        max_length=63,
        unique=True,
        validators=[
            RegexValidator(r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z", "Lowercase letters, digits, hyphens.")
        ],
    )
    name = models.CharField(max_length=200, blank=True)
    is_active = models.BooleanField(default=True, help_text="An inactive tenant's keys are refused.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug


Row = TypeVar("Row", bound=models.Model)


class TenantQuerySet(models.QuerySet[Row]):
    """Rows that belong to a tenant."""

    def of_tenant(self, tenant: Tenant | uuid.UUID) -> Self:
        """Only the rows of `tenant`."""
        return self.filter(tenant=tenant)


class Scope(models.TextChoices):
    """What a key may do."""

    SUBMIT = "submit"  # hand in jobs, generations and submissions
    WORK = "work"  # claim jobs and report on them
    READ = "read"  # look at everything of the tenant
    MANAGE = "manage"  # cancel, retry, and change collections and endpoints


class ApiKey(models.Model):
    """A secret a program calls the API with: stored as its id and a SHA-256, shown once."""

    id = models.CharField(max_length=8, primary_key=True, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, editable=False)
    scopes = ArrayField(models.CharField(max_length=20, choices=Scope))
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = TenantQuerySet["ApiKey"].as_manager()

    class Meta:
        verbose_name = "API key"
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                name="api_key_scopes_known",
                condition=models.Q(scopes__contained_by=Scope.values) & ~models.Q(scopes=[]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} (afd_{self.id}_…)"

    @property
    def is_usable(self) -> bool:
        is_expired = self.expires_at is not None and self.expires_at <= timezone.now()
        return self.revoked_at is None and not is_expired and self.tenant.is_active

    def allows(self, scope: str) -> bool:
        """Whether this key carries `scope`."""
        return scope in self.scopes
