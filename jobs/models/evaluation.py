"""What the evaluator writes on a unit of work (a workflow, or a job outside one)."""

from __future__ import annotations

from typing import Any

from django.db import models

# What any later change of a unit writes: it is to be looked at anew. SQL that changes units has the same.
NOT_EVALUATED: dict[str, Any] = {
    "is_cleanup_evaluated": False,
    "status_category": "",
    "problem_type": "",
    "problem_details": None,
    "evaluated_at": None,
}


class StatusCategory(models.TextChoices):
    """The evaluator's verdict; blank until it has looked."""

    COMPLETE = "complete"  # made, attested, and its user told (or nobody to tell)
    FILED = "filed"  # made and attested, but its user was not told
    INCOMPLETE = "incomplete"  # not made, or not attested


class ProblemType(models.TextChoices):
    """Why a unit is not `complete`."""

    NOTIFICATION_FAILED = "notification_failed"  # the delivery to the user's app failed for good
    NOTIFICATION_MISSING = "notification_missing"  # nobody confirmed that the user was told
    WORKER_FAILED = "worker_failed"  # the last attempt failed
    TIMED_OUT = "timed_out"  # an attempt ran longer than it may
    EXPIRED = "expired"  # nobody began it in time
    CANCELLED = "cancelled"  # somebody stopped it
    STUCK = "stuck"  # overdue without an end
    NO_WORKER = "no_worker"  # overdue, and no worker offers its service
    MISSING_OUTPUT = "missing_output"  # completed without what it was to make
    ATTESTATION_MISSING = "attestation_missing"  # ended without its record
    CONTENT_TYPE_MISMATCH = "content_type_mismatch"  # the output is not what its type says


_FILED, _INCOMPLETE = StatusCategory.FILED, StatusCategory.INCOMPLETE
# In the order of their weight: where several are found in a unit, the first is its problem and the others are named.
CATEGORIES: dict[ProblemType, StatusCategory] = {
    ProblemType.WORKER_FAILED: _INCOMPLETE,
    ProblemType.TIMED_OUT: _INCOMPLETE,
    ProblemType.EXPIRED: _INCOMPLETE,
    ProblemType.CANCELLED: _INCOMPLETE,
    ProblemType.STUCK: _INCOMPLETE,
    ProblemType.NO_WORKER: _INCOMPLETE,
    ProblemType.MISSING_OUTPUT: _INCOMPLETE,
    ProblemType.ATTESTATION_MISSING: _INCOMPLETE,
    ProblemType.CONTENT_TYPE_MISMATCH: _INCOMPLETE,
    ProblemType.NOTIFICATION_FAILED: _FILED,
    ProblemType.NOTIFICATION_MISSING: _FILED,
}


class Evaluated(models.Model):
    """The five fields of an evaluation; any later change of the unit clears them."""

    is_cleanup_evaluated = models.BooleanField(default=False)
    status_category = models.CharField(max_length=20, choices=StatusCategory, blank=True)
    problem_type = models.CharField(max_length=40, choices=ProblemType, blank=True)
    problem_details = models.JSONField(null=True, blank=True)
    evaluated_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True
