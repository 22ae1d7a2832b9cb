"""Forgets attestations at the time that each was given when it was written."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db.models import OuterRef, QuerySet
from django.utils import timezone

from attestations.models import Attestation, Submission
from jobs.hygiene.retention import Retention, forget_in_batches, old_of


def _expired() -> QuerySet[Attestation]:
    return Attestation.objects.filter(expires_at__lte=timezone.now())


def kept_of_workflow() -> QuerySet[Attestation]:
    """What holds a workflow: attestations have its name in their keys, and one of the same name must not meet them."""
    return Attestation.objects.filter(workflow=OuterRef("pk"))


def unfinished_of_workflow() -> QuerySet[Submission]:
    """What holds a workflow as well: a submission that goes on from what it has left."""
    unfinished = Submission.objects.exclude(
        status__in=[Submission.Status.COMPLETE, Submission.Status.REJECTED]
    )
    return unfinished.filter(workflow=OuterRef("pk"))


def forget_attestations() -> int:
    """Delete attestations that have expired, whatever became of their work; how many."""
    return forget_in_batches(_expired(), along="expires_at")


RETENTIONS = [
    Retention(
        name="attestations",
        kept_for=lambda: timedelta(days=settings.ATTESTATION_RETENTION_DAYS),
        condition="expired; each kept for as long as was set when it was written",
        find_old=lambda: old_of(_expired(), "created_at"),
        forget=forget_attestations,
    )
]
