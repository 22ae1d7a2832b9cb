"""Forgets messages, with what belongs to them, and receipts, once they are old enough."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from jobs.ids import first_id_of
from webhooks.models import Attempt, Delivery, Message, Receipt

BATCH = 1_000
OPEN = [Delivery.Status.PENDING, Delivery.Status.SENDING, Delivery.Status.HELD]


def forget_messages() -> int:
    """Delete messages older than WEBHOOK_RETENTION_DAYS that nobody is still to be told of; how many."""
    old = Message.objects.filter(pk__lt=_first_kept())
    is_open = Exists(Delivery.objects.filter(message=OuterRef("pk"), status__in=OPEN))
    count = 0
    while keys := list(old.exclude(is_open).order_by("pk").values_list("pk", flat=True)[:BATCH]):
        count += _forget(keys)
    return count


def _forget(keys: list[UUID]) -> int:
    """Delete those of these messages that are still to be told to nobody once all of theirs is locked."""
    with transaction.atomic():
        # In the order of redeliver(): message, then deliveries.
        messages = Message.objects.filter(pk__in=keys).order_by("pk").select_for_update()
        locked = list(messages.values_list("pk", flat=True))
        theirs = Delivery.objects.filter(message__in=locked).order_by("pk").select_for_update()
        statuses = list(theirs.values_list("message_id", "status"))
        forgotten = set(locked) - {message for message, status in statuses if status in OPEN}
        deliveries = Delivery.objects.filter(message__in=forgotten)
        Attempt.objects.filter(delivery__in=deliveries.values("pk")).delete()
        deliveries.delete()
        Message.objects.filter(pk__in=forgotten).delete()
    return len(forgotten)


def forget_receipts() -> int:
    """Delete receipts older than WEBHOOK_RETENTION_DAYS; how many."""
    old = Receipt.objects.filter(pk__lt=_first_kept())
    count = 0
    while keys := list(old.order_by("pk").values_list("pk", flat=True)[:BATCH]):
        count += Receipt.objects.filter(pk__in=keys).delete()[0]
    return count


def _first_kept() -> UUID:
    """Ids tell their time: no index on it is needed."""
    return first_id_of(timezone.now() - timedelta(days=settings.WEBHOOK_RETENTION_DAYS))
