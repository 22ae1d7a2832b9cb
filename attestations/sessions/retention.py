"""Forgets what sessions have told, an hour after they began; their workflows and attestations stay."""

from __future__ import annotations

from django.db.models import QuerySet
from django.utils import timezone

from attestations.sessions.starting import LASTS
from attestations.sessions.telling import TYPES
from jobs.hygiene.retention import Old, Retention, forget_in_batches, old_of
from jobs.models import Event, Workflow


def _told_before() -> QuerySet[Event]:
    """What was told of sessions that are over: not while one of them still runs."""
    over = Workflow.objects.filter(kind=Workflow.Kind.PROOF, created_at__lt=timezone.now() - LASTS)
    sessions = over.exclude(status=Workflow.Status.RUNNING)
    # Few streams are kept, and their ends have an index. The end is what goes last of a stream, its ids being in order.
    ends = Event.objects.filter(type__in=[Event.Type.COMPLETE, Event.Type.ERROR], workflow__in=sessions)
    return Event.objects.filter(workflow__in=ends.values("workflow"), type__in=TYPES)


def find_old_streams() -> Old:
    return old_of(_told_before(), "created_at")


def forget_streams() -> int:
    """Delete the streams of sessions that are over; how many events."""
    return forget_in_batches(_told_before())


RETENTION = Retention(
    name="streams of proof sessions",
    kept_for=lambda: LASTS,
    condition="of sessions that have ended",
    find_old=find_old_streams,
    forget=forget_streams,
)
