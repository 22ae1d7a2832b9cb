"""Columns that nobody is given: in no export and no entry of the audit log, whatever MASKED_FIELDS says. Pure."""

from __future__ import annotations

from typing import Any

# Whatever the model: sealed secrets, and what lets a worker speak for a job.
STARTS = ("sealed", "lease_token")
# By model and name; upper floors add their own.
secret_columns = {"auth.User.password", "jobs.ApiKey.digest", "sessions.Session.session_data"}


def is_secret(field: Any) -> bool:
    """Whether a column holds what would let its reader act for somebody else."""
    return field.name.startswith(STARTS) or f"{field.model._meta.label}.{field.name}" in secret_columns
