"""Forgets messages, with what belongs to them, and receipts, once they are old enough."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from jobs.hygiene.retention import Retention, delete_rows, forget_in_batches, old_of
from jobs.ids import first_id_of
from webhooks.models import Attempt, Delivery, Message, Receipt

OPEN = [Delivery.Status.PENDING, Delivery.Status.SENDING, Delivery.Status.HELD]


def _old_messages() -> QuerySet[Message]:
    is_open = Exists(Delivery.objects.filter(message=OuterRef("pk"), status__in=OPEN))
    return Message.objects.filter(pk__lt=_first_kept()).exclude(is_open)


def forget_messages() -> int:
    """Delete messages older than WEBHOOK_RETENTION_DAYS that nobody is still to be told of; how many."""
    return forget_in_batches(_old_messages(), delete=_forget_together)


def _forget_together(locked: Sequence[UUID]) -> int:
    """Delete those of these messages that are still to be told to nobody once all of theirs is locked too."""
    # In the order of redeliver(): message, then deliveries.
    theirs = Delivery.objects.filter(message__in=locked).order_by("pk").select_for_update()
    statuses = list(theirs.values_list("message_id", "status"))
    gone = set(locked) - {message for message, status in statuses if status in OPEN}
    deliveries = Delivery.objects.filter(message__in=gone)
    delete_rows(Attempt, delivery__in=deliveries.values("pk"))
    delete_rows(Delivery, message__in=gone)
    return delete_rows(Message, pk__in=gone)


def _old_receipts() -> QuerySet[Receipt]:
    return Receipt.objects.filter(pk__lt=_first_kept())


def forget_receipts() -> int:
    """Delete receipts older than WEBHOOK_RETENTION_DAYS; how many."""
    return forget_in_batches(_old_receipts())


def _days() -> timedelta:
    return timedelta(days=settings.WEBHOOK_RETENTION_DAYS)


def _first_kept() -> UUID:
    """Ids tell their time: no index on it is needed."""
    return first_id_of(timezone.now() - _days())


RETENTIONS = [
    Retention(
        name="messages",
        kept_for=_days,
        condition="with their deliveries and attempts, none of them still to be sent",
        find_old=lambda: old_of(_old_messages(), "created_at"),
        forget=forget_messages,
    ),
    Retention(
        name="receipts",
        kept_for=_days,
        condition="",
        find_old=lambda: old_of(_old_receipts(), "created_at"),
        forget=forget_receipts,
    ),
]
