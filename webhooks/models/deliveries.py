"""Deliveries: one message on its way to one endpoint, and every attempt at it."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from jobs.ids import uuid7
from jobs.models import Tenant
from jobs.models.tenants import TenantQuerySet
from webhooks.models.endpoints import Endpoint
from webhooks.models.messages import Message


class Reason(models.TextChoices):
    """Why a delivery, or one attempt at it, did not succeed."""

    HTTP_STATUS = "http_status"  # the endpoint answered, but not with 2xx
    REDIRECTED = "redirected"  # it answered 3xx; redirects are not followed
    GONE = "gone"  # it answered 410, which disables it
    URL_REFUSED = "url_refused"  # the URL breaks the rules for endpoints
    ADDRESS_REFUSED = "address_refused"  # its name leads to a network that nothing is sent to
    DNS_FAILED = "dns_failed"  # its name could not be looked up
    CONNECT_FAILED = "connect_failed"  # nobody took the connection
    CONNECT_TIMEOUT = "connect_timeout"  # nobody took it in time
    TIMED_OUT = "timed_out"  # no answer in time
    TLS_FAILED = "tls_failed"  # its certificate is not valid, or no TLS is spoken
    INVALID_RESPONSE = "invalid_response"  # what it answered is not HTTP
    CONNECTION_LOST = "connection_lost"  # it hung up before it had answered
    SENDER_LOST = "sender_lost"  # our sending process ended before the outcome was known
    INTERNAL_ERROR = "internal_error"  # something went wrong on our side; the log says what
    UNREADABLE = "secret_unreadable"  # none of ENCRYPTION_KEYS opens its secret
    PAUSED = "paused"  # held: the endpoint is paused
    DISABLED = "disabled"  # held: the endpoint is disabled
    DELETED = "deleted"  # the endpoint was deleted first


STATUS_COLUMNS = (
    "next_attempt_at",
    "lease_token",
    "lease_expires_at",
    "delivered_at",
    "failed_at",
    "held_at",
)


def _has(status: str, *columns: str) -> models.Q:
    """In this status just these of the columns that go with a status are set."""
    return models.Q(status=status, **{f"{name}__isnull": name not in columns for name in STATUS_COLUMNS})


class Delivery(models.Model):
    """A message on its way to an endpoint."""

    class Status(models.TextChoices):
        PENDING = "pending"  # sent at `next_attempt_at`, or when its endpoint has room
        SENDING = "sending"  # a process is at it, until `lease_expires_at`
        DELIVERED = "delivered"  # the endpoint answered 2xx
        FAILED = "failed"  # its attempts are used up, or more of them would be of no use
        HELD = "held"  # its endpoint is paused or disabled; kept until somebody recovers it

    TRANSITIONS = {
        Status.PENDING: {Status.SENDING, Status.HELD, Status.FAILED},
        Status.SENDING: {Status.PENDING, Status.DELIVERED, Status.FAILED, Status.HELD},
        Status.HELD: {Status.PENDING, Status.FAILED},
        Status.FAILED: {Status.PENDING},  # recovered: the schedule begins anew
        Status.DELIVERED: set[Status](),
    }

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # Written in bulk, and kept as long as their message: no constraints to check.
    tenant = models.ForeignKey(Tenant, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    message = models.ForeignKey(
        Message, on_delete=models.DO_NOTHING, db_constraint=False, related_name="deliveries"
    )
    endpoint = models.ForeignKey(
        Endpoint, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="deliveries"
    )
    status = models.CharField(max_length=20, choices=Status, default=Status.PENDING)
    is_manual = models.BooleanField(
        default=False, help_text="Asked for by hand: one attempt, whatever the state of the endpoint."
    )
    step = models.PositiveSmallIntegerField(default=0, help_text="Attempts begun in the schedule at hand.")
    attempt_count = models.PositiveIntegerField(default=0, help_text="Attempts begun in all.")
    lost_count = models.PositiveSmallIntegerField(
        default=0, help_text="Attempts whose process ended before their outcome was known."
    )
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    lease_token = models.UUIDField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    worker = models.CharField(max_length=200, blank=True)
    status_code = models.PositiveSmallIntegerField(null=True, blank=True, help_text="Of the last answer.")
    reason = models.CharField(max_length=40, choices=Reason, blank=True)
    detail = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    delivered_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)
    held_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["Delivery"].as_manager()

    class Meta:
        verbose_name_plural = "deliveries"
        ordering = ["-id"]
        indexes = [
            models.Index(name="delivery_tenant_newest", fields=["tenant", "-id"]),
            models.Index(name="delivery_of_endpoint", fields=["endpoint", "-id"]),
            # What the claim walks along, endpoint by endpoint; by hand comes first and by itself.
            models.Index(
                name="delivery_due",
                fields=["endpoint", "next_attempt_at"],
                condition=models.Q(status="pending", is_manual=False),
            ),
            models.Index(
                name="delivery_due_by_hand",
                fields=["next_attempt_at"],
                condition=models.Q(status="pending", is_manual=True),
            ),
            models.Index(
                name="delivery_in_flight",
                fields=["endpoint", "lease_expires_at"],
                condition=models.Q(status="sending"),
            ),
            models.Index(name="delivery_held", fields=["endpoint", "id"], condition=models.Q(status="held")),
            models.Index(
                name="delivery_held_for_pause",
                fields=["endpoint"],
                condition=models.Q(status="held", reason="paused"),
            ),
            models.Index(
                name="delivery_failed", fields=["endpoint", "id"], condition=models.Q(status="failed")
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                name="delivery_per_endpoint",
                fields=["message", "endpoint"],
                condition=models.Q(is_manual=False),
            ),
            models.CheckConstraint(
                name="delivery_status_sound",
                condition=_has("pending", "next_attempt_at")
                | _has("sending", "lease_token", "lease_expires_at")
                | _has("delivered", "delivered_at")
                | _has("failed", "failed_at")
                | _has("held", "held_at"),
            ),
        ]

    def __str__(self) -> str:
        return str(self.pk)

    @property
    def is_final(self) -> bool:
        return self.status in (self.Status.DELIVERED, self.Status.FAILED)


class Attempt(models.Model):
    """One call of an endpoint: what was sent, what came back, how long it took, why it failed."""

    class Outcome(models.TextChoices):
        DELIVERED = "delivered"  # 2xx
        FAILED = "failed"  # anything else
        UNKNOWN = "unknown"  # the sending process ended first: the endpoint may have taken it

    # Deleted with its delivery, by hand; no constraints to check.
    tenant = models.ForeignKey(Tenant, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    delivery = models.ForeignKey(
        Delivery, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="attempts"
    )
    endpoint = models.ForeignKey(
        Endpoint, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="attempts"
    )
    number = models.PositiveIntegerField()
    outcome = models.CharField(max_length=20, choices=Outcome)
    reason = models.CharField(max_length=40, choices=Reason, blank=True)
    detail = models.CharField(max_length=500, blank=True)
    internal_detail = models.CharField(max_length=500, blank=True, help_text="For operators alone.")
    url = models.CharField("URL", max_length=2_048, help_text="As it was then.")
    request_headers = models.JSONField(default=dict)
    status_code = models.PositiveSmallIntegerField(null=True, blank=True)
    response_headers = models.JSONField(default=list)
    response_body = models.TextField(blank=True)
    is_response_cut = models.BooleanField(default=False)
    address = models.CharField(
        max_length=60, blank=True, help_text="What was connected to; for operators alone."
    )
    timings = models.JSONField(default=dict, help_text="Milliseconds: dns, connect, tls, first_byte, total.")
    worker = models.CharField(max_length=200, blank=True)
    started_at = models.DateTimeField()
    duration_ms = models.PositiveIntegerField(null=True, blank=True)

    objects = TenantQuerySet["Attempt"].as_manager()

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(name="attempt_of_delivery", fields=["delivery", "id"]),
            models.Index(name="attempt_of_endpoint", fields=["endpoint", "-id"]),
        ]

    def __str__(self) -> str:
        return f"attempt {self.number}"
