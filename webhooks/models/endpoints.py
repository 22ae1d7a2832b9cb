"""Endpoints: the addresses at which tenants hear of what happened."""

from __future__ import annotations

from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from jobs.ids import uuid7
from jobs.models import Tenant
from jobs.models.tenants import TenantQuerySet


class EndpointQuerySet(TenantQuerySet["Endpoint"]):
    def kept(self) -> Self:
        """Those that have not been deleted."""
        return self.filter(deleted_at=None)


class Endpoint(models.Model):
    """An address, which events it takes, how fast, and how it has fared lately."""

    class State(models.TextChoices):
        """What becomes of a delivery to it now; derived, not stored."""

        ACTIVE = "active"  # it is sent to
        RESTING = "resting"  # the breaker is open: its deliveries wait until it is tried again
        PAUSED = "paused"  # somebody paused it: its deliveries are held until it is resumed
        DISABLED = (
            "disabled"  # it failed for days or said 410: its deliveries are held until somebody recovers them
        )
        DELETED = "deleted"  # its tenant removed it

    class DisabledReason(models.TextChoices):
        FAILING = "failing"  # every attempt has failed for days
        GONE = "gone"  # it answered 410

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="endpoints")
    url = models.CharField("URL", max_length=2_048)
    description = models.CharField(max_length=500, blank=True)
    event_types = ArrayField(
        models.CharField(max_length=60), default=list, blank=True, help_text="None: every type of event."
    )
    sealed_headers = models.TextField(
        blank=True, help_text="JSON object of headers sent along, sealed: they may hold passwords."
    )
    max_in_flight = models.PositiveSmallIntegerField(default=20)
    max_per_minute = models.PositiveIntegerField(
        null=True, blank=True, help_text="None: as fast as it takes them."
    )
    paused_at = models.DateTimeField(null=True, blank=True, editable=False)
    paused_by = models.CharField(max_length=200, blank=True, editable=False)
    disabled_at = models.DateTimeField(null=True, blank=True, editable=False)
    disabled_reason = models.CharField(max_length=20, choices=DisabledReason, blank=True, editable=False)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)

    failures = models.PositiveIntegerField(default=0, editable=False, help_text="Attempts failed in a row.")
    failing_since = models.DateTimeField(null=True, blank=True, editable=False)
    breaker_trips = models.PositiveIntegerField(
        default=0, editable=False, help_text="Times it opened in a row."
    )
    breaker_until = models.DateTimeField(null=True, blank=True, editable=False)
    last_success_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_failure_at = models.DateTimeField(null=True, blank=True, editable=False)

    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = EndpointQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                name="endpoint_numbers_bounded",
                condition=models.Q(max_in_flight__gte=1, max_in_flight__lte=200)
                & (models.Q(max_per_minute=None) | models.Q(max_per_minute__gte=1)),
            ),
            models.CheckConstraint(
                name="endpoint_disabled_with_reason",
                condition=models.Q(disabled_at=None, disabled_reason="")
                | models.Q(disabled_at__isnull=False, disabled_reason__in=["failing", "gone"]),
            ),
        ]

    def __str__(self) -> str:
        return self.description or self.url

    @property
    def state(self) -> str:
        if self.deleted_at:
            return self.State.DELETED
        if self.disabled_at:
            return self.State.DISABLED
        if self.paused_at:
            return self.State.PAUSED
        if self.breaker_until and self.breaker_until > timezone.now():
            return self.State.RESTING
        return self.State.ACTIVE


class Pace(models.Model):
    """When the next delivery to an endpoint with a rate may begin (the "theoretical arrival time" of GCRA).

    Apart from the endpoint, whose row is locked by whoever changes it: only the claim writes this one.
    """

    endpoint = models.OneToOneField(Endpoint, on_delete=models.CASCADE, primary_key=True, db_constraint=False)
    next_slot_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"pace of {self.endpoint_id}"
