"""Deliveries: the verbs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from jobs.errors import DomainError, InvalidTransition
from jobs.models import Workflow
from jobs.models.evaluation import NOT_EVALUATED
from jobs.statements import batch, run
from webhooks.models import Delivery, Endpoint, Message
from webhooks.services.messages import SQL, Event, announce_on_commit, write_messages

# So many rows are locked at a time: those who send wait for nobody longer than that takes.
AT_ONCE = 1_000
BY_HAND_MAX = 20  # waiting at an endpoint
ENDED = (Delivery.Status.DELIVERED, Delivery.Status.FAILED)


class TooManyByHand(DomainError):
    """The endpoint has as many deliveries waiting that were asked for by hand as it may."""

    code = "too_many_waiting"


def settle_deliveries(endpoint_id: UUID | None = None) -> int:
    """Hold, release or end some of what waits for an endpoint (for any), as its state asks; how many deliveries.

    Not in a transaction that changes the endpoint: its row would be locked for as long as this takes, and those
    who send note there how it fares.
    """
    with transaction.atomic():
        rows = run("settle_deliveries", {"endpoint": endpoint_id, "limit": AT_ONCE}, folder=SQL)
        note_notified(rows)
        if rows:
            announce_on_commit()
    return len(rows)


def note_notified(rows: Sequence[Any]) -> None:
    """What deliveries that ended mean for the users of the workflows, and for the jobs, that they told of.

    `rows` have `message_id`, `status`, `workflow_id` and `workflow_run`, and are part of the transaction at hand.
    """
    news = [
        {"workflow_id": row.workflow_id, "run": row.workflow_run, "status": row.status}
        for row in rows
        if row.workflow_run and row.status in ENDED
    ]
    if news:
        # In a statement of its own: the next one then sees what those have stored who held them before.
        mine = Workflow.objects.filter(pk__in={each["workflow_id"] for each in news}).order_by("pk")
        list(mine.select_for_update(no_key=True).values_list("pk"))
        run("note_notified", {"news": batch(news)}, folder=SQL)
    of_jobs = [row.message_id for row in rows if row.workflow_id is None and row.status in ENDED]
    if of_jobs:
        run("reopen_jobs", {"messages": of_jobs}, folder=SQL)


def send_test(endpoint: Endpoint) -> Delivery:
    """Send an event of type `webhook.test` to this endpoint alone, once, whatever its state.

    Raises InvalidTransition for one that was deleted, and TooManyByHand.
    """
    event = Event(
        tenant_id=endpoint.tenant_id,
        type="webhook.test",
        at=timezone.now(),
        data={"endpoint_id": str(endpoint.pk), "message": "This is a test of your endpoint."},
        only_to=endpoint.pk,
    )
    with transaction.atomic():
        _make_room_by_hand(endpoint.pk)
        write_messages([event])
        return Delivery.objects.get(message=event.id)


def redeliver(delivery: Delivery) -> Delivery:
    """Send a message to its endpoint once more, at once and once, whatever came of it and whatever its state.

    A delivery of its own, with the same `webhook-id` and today's secret; it counts neither for nor against the
    endpoint. Raises InvalidTransition for an endpoint that was deleted or a message that is no longer kept, and
    TooManyByHand.
    """
    with transaction.atomic():
        _make_room_by_hand(delivery.endpoint_id)
        if not Message.objects.select_for_update(no_key=True).filter(pk=delivery.message_id).exists():
            raise InvalidTransition("The message is no longer kept.")
        again = Delivery.objects.create(
            tenant_id=delivery.tenant_id,
            message_id=delivery.message_id,
            endpoint_id=delivery.endpoint_id,
            is_manual=True,
            next_attempt_at=Now(),
        )
        announce_on_commit()
    again.refresh_from_db()
    return again


def recover_deliveries(endpoint: Endpoint, *, since: datetime | None = None) -> int:
    """Begin anew with what is held for an endpoint and what has failed (since its message, or of all kept).

    Lot by lot, each in a transaction. Returns how many deliveries. Raises InvalidTransition while the endpoint is
    paused, disabled or deleted.
    """
    count = 0
    while True:
        recovered = recover_some(endpoint, since=since)
        count += recovered
        if recovered < AT_ONCE:
            return count


def recover_some(endpoint: Endpoint, *, since: datetime | None = None) -> int:
    """Begin anew with AT_ONCE of them at most, in one transaction; fewer than that are the last.

    Raises InvalidTransition while the endpoint is paused, disabled or deleted.
    """
    endpoint.refresh_from_db()
    if endpoint.state in (Endpoint.State.PAUSED, Endpoint.State.DISABLED):
        raise InvalidTransition(f"The endpoint is {endpoint.state}: resume it first.")
    _refuse_deleted(endpoint)
    mine = Delivery.objects.filter(endpoint=endpoint, is_manual=False)
    if since:
        mine = mine.filter(created_at__gte=since)
    with transaction.atomic():
        # Each status by the index of its own; together they would walk through all that was ever delivered.
        messages: dict[UUID, UUID] = {}
        for status in (Delivery.Status.HELD, Delivery.Status.FAILED):
            some = mine.filter(status=status).order_by("pk").select_for_update(no_key=True, skip_locked=True)
            messages |= dict(some.values_list("pk", "message_id")[: AT_ONCE - len(messages)])
        recovered = Delivery.objects.filter(pk__in=messages).update(
            status=Delivery.Status.PENDING,
            step=0,
            lost_count=0,
            next_attempt_at=Now(),
            held_at=None,
            failed_at=None,
            reason="",
            detail="",
        )
        _owe_again(set(messages.values()))
        announce_on_commit()
    return recovered


def _owe_again(messages: Collection[UUID]) -> None:
    """What failed to be told is owed again where its messages are on their way again."""
    told = Message.objects.filter(pk__in=messages, workflow_run__isnull=False)
    runs = dict(told.order_by("workflow_run").values_list("workflow_id", "workflow_run"))
    owed, failed = Workflow.NotificationStatus.OWED, Workflow.NotificationStatus.FAILED
    theirs = Workflow.objects.filter(pk__in=runs, notification_status=failed).order_by("pk")
    locked = theirs.select_for_update(no_key=True).values_list("pk", "attempt")
    mine = [key for key, attempt in locked if runs[key] == attempt]
    Workflow.objects.filter(pk__in=mine).update(notification_status=owed, **NOT_EVALUATED)
    run("reopen_jobs", {"messages": list(messages)}, folder=SQL)


def _make_room_by_hand(endpoint_id: UUID) -> None:
    """Lock an endpoint that is to be sent something by hand, where that is possible."""
    endpoint = Endpoint.objects.select_for_update(no_key=True).get(pk=endpoint_id)
    _refuse_deleted(endpoint)
    by_hand = Delivery.objects.filter(
        endpoint=endpoint, is_manual=True, status__in=[Delivery.Status.PENDING, Delivery.Status.SENDING]
    )
    if by_hand.count() >= BY_HAND_MAX:
        raise TooManyByHand(f"{BY_HAND_MAX} deliveries asked for by hand wait for this endpoint already.")


def _refuse_deleted(endpoint: Endpoint) -> None:
    if endpoint.deleted_at is not None:
        raise InvalidTransition("The endpoint has been deleted.")
