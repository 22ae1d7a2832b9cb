"""Secrets of endpoints and senders: sealed, several of them live while one takes over from another."""

from __future__ import annotations

from typing import Any, Self

from django.db import models
from django.db.models.functions import Now

from jobs.tenancy.sealing import unseal
from webhooks.models.endpoints import Endpoint
from webhooks.models.senders import Sender


class SecretQuerySet(models.QuerySet[Any]):
    def live(self) -> Self:
        """Those that sign or verify now, the newest first."""
        return self.filter(models.Q(expires_at=None) | models.Q(expires_at__gt=Now())).order_by("-id")


class Secret(models.Model):
    """A secret as `jobs.tenancy.sealing` sealed it; current until another takes over, then live for a while."""

    sealed = models.TextField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)

    objects = SecretQuerySet.as_manager()

    class Meta:
        abstract = True

    @property
    def text(self) -> str:
        """The secret itself; raises Unreadable."""
        return unseal(self.sealed)


class EndpointSecret(Secret):
    """What the messages to an endpoint are signed with."""

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="secrets")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="endpoint_secret_current",
                fields=["endpoint"],
                condition=models.Q(expires_at=None),
            )
        ]

    def __str__(self) -> str:
        return f"secret {self.pk}"


class SenderSecret(Secret):
    """What the calls of a sender are signed with."""

    sender = models.ForeignKey(Sender, on_delete=models.CASCADE, related_name="secrets")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="sender_secret_current",
                fields=["sender"],
                condition=models.Q(expires_at=None),
            )
        ]

    def __str__(self) -> str:
        return f"secret {self.pk}"
