"""How far `manage.py sanitize_base64` has come in each table."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class Cleaning(models.Model):
    """The way through one table, so that a run that was cut off goes on where it stopped."""

    table = models.CharField(max_length=63, unique=True)
    last_key = models.CharField(max_length=40, blank=True, help_text="Rows up to this primary key are clean.")
    row_count = models.PositiveBigIntegerField(default=0, help_text="Rows changed.")
    bytes_before = models.PositiveBigIntegerField(default=0)
    bytes_after = models.PositiveBigIntegerField(default=0)
    started_at = models.DateTimeField(db_default=Now(), editable=False)
    finished_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.table
