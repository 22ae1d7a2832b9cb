"""Clusters: the groups of processes that run in-house jobs, and whether they still do."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

# A cluster beats every second; restarting PostgreSQL may keep a few beats back.
SILENT_AFTER = timedelta(seconds=15)


class ClusterQuerySet(models.QuerySet["Cluster"]):
    def silent(self) -> Self:
        """Clusters that have stopped beating."""
        return self.filter(beat_at__lte=Now() - SILENT_AFTER)

    def stuck(self) -> Self:
        """Clusters that have stopped beating, or are about to and say why."""
        return self.silent() | self.exclude(problem="")


class Cluster(models.Model):
    """One `manage.py qcluster`, known by its host and the pid of its main process.

    It beats as long as all its parts work together; one that has wedged says why in `problem` and beats no
    more.
    """

    queue = models.CharField(max_length=100)
    hostname = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField(db_default=Now(), editable=False)
    beat_at = models.DateTimeField(db_default=Now(), editable=False)
    problem = models.TextField(blank=True, help_text="Why it beats no more, as far as it can tell.")

    objects = ClusterQuerySet.as_manager()

    class Meta:
        ordering = ["hostname", "queue", "-started_at"]
        constraints = [models.UniqueConstraint(name="cluster_process", fields=["hostname", "pid"])]

    def __str__(self) -> str:
        return f"{self.queue}@{self.hostname}:{self.pid}"

    @property
    def is_beating(self) -> bool:
        return not self.problem and self.beat_at > timezone.now() - SILENT_AFTER
