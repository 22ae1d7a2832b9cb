"""Deliveries: the verbs."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from jobs.errors import InvalidTransition
from jobs.statements import run
from webhooks.models import Delivery, Endpoint, Message
from webhooks.services.messages import SQL, Event, announce_on_commit, write_messages

SETTLED_AT_ONCE = 5_000


def settle_deliveries(endpoint_id: UUID | None = None) -> int:
    """Hold, release or end what waits for an endpoint (for any) as its state asks; how many deliveries."""
    count = 0
    while True:
        rows = run("settle_deliveries", {"endpoint": endpoint_id, "limit": SETTLED_AT_ONCE}, folder=SQL)
        count += len(rows)
        if len(rows) < SETTLED_AT_ONCE:
            break
    if count:
        announce_on_commit()
    return count


def send_test(endpoint: Endpoint) -> Delivery:
    """Send an event of type `webhook.test` to this endpoint alone, once, whatever its state."""
    _refuse_deleted(endpoint)
    event = Event(
        tenant_id=endpoint.tenant_id,
        type="webhook.test",
        at=timezone.now(),
        data={"endpoint_id": str(endpoint.pk), "message": "This is a test of your endpoint."},
        only_to=endpoint.pk,
    )
    with transaction.atomic():
        write_messages([event])
        return Delivery.objects.get(message=event.id)


def recover_deliveries(endpoint: Endpoint, *, since: datetime | None = None) -> int:
    """Begin anew with what is held for an endpoint and what has failed (since its message, or of all kept).

    Returns how many deliveries. Raises InvalidTransition while the endpoint is paused or disabled.
    """
    _refuse_deleted(endpoint)
    endpoint.refresh_from_db()
    if endpoint.state in (Endpoint.State.PAUSED, Endpoint.State.DISABLED):
        raise InvalidTransition(f"The endpoint is {endpoint.state}: resume it first.")
    mine = Delivery.objects.filter(endpoint=endpoint, is_manual=False)
    if since:
        mine = mine.filter(created_at__gte=since)
    with transaction.atomic():
        # Each by the index of its own; together they would walk through all that was ever delivered.
        count = sum(
            mine.filter(status=status).update(
                status=Delivery.Status.PENDING,
                step=0,
                next_attempt_at=Now(),
                held_at=None,
                failed_at=None,
                reason="",
                detail="",
            )
            for status in (Delivery.Status.HELD, Delivery.Status.FAILED)
        )
        announce_on_commit()
    return count


def redeliver(delivery: Delivery) -> Delivery:
    """Send a message to its endpoint once more, at once and once, whatever came of it and whatever its state.

    A delivery of its own, with the same `webhook-id` and today's secret; it counts neither for nor against the
    endpoint. Raises InvalidTransition for an endpoint that was deleted or a message that is no longer kept.
    """
    endpoint = Endpoint.objects.get(pk=delivery.endpoint_id)
    _refuse_deleted(endpoint)
    with transaction.atomic():
        if not Message.objects.select_for_update(no_key=True).filter(pk=delivery.message_id).exists():
            raise InvalidTransition("The message is no longer kept.")
        again = Delivery.objects.create(
            tenant_id=delivery.tenant_id,
            message_id=delivery.message_id,
            endpoint=endpoint,
            is_manual=True,
            next_attempt_at=timezone.now(),
        )
        announce_on_commit()
    return again


def _refuse_deleted(endpoint: Endpoint) -> None:
    if endpoint.deleted_at is not None:
        raise InvalidTransition("The endpoint has been deleted.")
