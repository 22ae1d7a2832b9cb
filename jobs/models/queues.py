"""Queues as records: what an operator may say about one. The jobs themselves are the queue."""

from __future__ import annotations

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models.functions import Now


class Queue(models.Model):
    """A queue of the clusters, or (`is_remote`) a service of remote workers, over all tenants.

    The clusters' queues have a record each from the first migration on; a service has one when an operator
    adds it, and without one it is neither paused nor limited.
    """

    name = models.CharField(max_length=100)
    is_remote = models.BooleanField(
        "service", default=False, help_text="A service of remote workers, not a queue of the clusters."
    )
    max_running = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="How many of its jobs may run at a time, over all hosts and tenants; empty: as many as can.",
    )
    paused_at = models.DateTimeField(null=True, blank=True, editable=False)
    paused_by = models.CharField(max_length=200, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["is_remote", "name"]
        constraints = [
            models.UniqueConstraint(name="queue_name_per_side", fields=["name", "is_remote"]),
            models.CheckConstraint(
                name="queue_runs_something",
                condition=models.Q(max_running__isnull=True) | models.Q(max_running__gte=1),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_paused(self) -> bool:
        return self.paused_at is not None
