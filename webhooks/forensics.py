"""What webhooks tell of a timeline: what was told to whom, how that fared, and who called.

A tenant reads it, and so it names what the API of deliveries shows, and of an endpoint no more than its host.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.db.models import Count, Q, QuerySet, Window
from django.utils import timezone

from jobs.forensics.moments import SOURCE_ROWS_MAX, Moment, left_out, short
from jobs.models import Job, Workflow
from webhooks.models import Attempt, Delivery, Message, Receipt
from webhooks.models.messages import webhook_id_of
from webhooks.services.explanations import explain, is_sending_paused

# What the moments of each kind ask of an account that looks at them in the monitor.
DELIVERY_TYPES = (
    "message_written",
    "delivery_attempted",
    "delivery_failed",
    "delivery_held",
    "delivery_waits",
)
RECEIPT_TYPES = ("receipt",)


def tell_of_messages(workflow: Workflow) -> Iterator[Moment]:
    """Each message of the workflow and its jobs, every attempt to deliver it, and what is still on its way."""
    return _of_messages(Message.objects.filter(workflow=workflow))


def tell_of_messages_of_job(job: Job) -> Iterator[Moment]:
    """The same of a job outside workflows."""
    return _of_messages(Message.objects.filter(job=job))


def _of_messages(told: QuerySet[Message]) -> Iterator[Moment]:
    messages = _latest(told.defer("body"))
    yield from _more("messages", messages)
    deliveries = _latest(
        Delivery.objects.filter(message__in=[message.pk for message in messages])
        .select_related("endpoint")
        .defer("endpoint__sealed_headers")
    )
    yield from _more("deliveries", deliveries)
    takers = Counter(delivery.message_id for delivery in deliveries)
    for message in messages:
        yield _of_message(message, takers[message.pk])
    yield from _of_attempts(deliveries, {message.pk: message for message in messages})
    yield from _of_deliveries(deliveries, {message.pk: message for message in messages})


def _latest(rows: QuerySet[Any]) -> list[Any]:
    """The latest rows in the order they were made, each with how many there are in all."""
    found = list(rows.annotate(in_all=Window(Count("*"))).order_by("-id")[:SOURCE_ROWS_MAX])
    return found[::-1]


def _more(what: str, rows: Sequence[Any]) -> Iterator[Moment]:
    if rows and rows[0].in_all > len(rows):
        yield left_out(what, rows[0].in_all - len(rows))


def _of_message(message: Message, takers: int) -> Moment:
    return Moment(
        at=message.created_at,
        type="message_written",
        title=f"{message.type} is to be told to {takers} endpoint{'' if takers == 1 else 's'}.",
        job_id=message.job_id,
        data={
            "message_id": str(message.pk),
            "message_type": message.type,
            "webhook_id": webhook_id_of(message.pk),
            "run": message.workflow_run,
            "endpoints": takers,
        },
    )


def _of_attempts(deliveries: Sequence[Delivery], messages: dict[UUID, Message]) -> Iterator[Moment]:
    known = {delivery.pk: delivery for delivery in deliveries}
    seen = (
        "delivery_id",
        "number",
        "outcome",
        "reason",
        "detail",
        "status_code",
        "started_at",
        "duration_ms",
        "url",
    )
    attempts = _latest(Attempt.objects.filter(delivery__in=list(known)).only(*seen))
    yield from _more("delivery_attempts", attempts)
    for attempt in attempts:
        delivery = known[attempt.delivery_id]
        yield _of_attempt(attempt, delivery, messages[delivery.message_id])


def _of_attempt(attempt: Attempt, delivery: Delivery, message: Message) -> Moment:
    host = _host_of(attempt.url or delivery.endpoint.url)
    return Moment(
        at=attempt.started_at + timedelta(milliseconds=attempt.duration_ms or 0),
        type="delivery_attempted",
        title=_how_it_fared(attempt, message.type, host),
        duration_ms=attempt.duration_ms,
        job_id=message.job_id,
        attempt=attempt.number,
        data=_whereto(delivery, message)
        | {
            "host": host,
            "outcome": attempt.outcome,
            "status_code": attempt.status_code,
            "reason": attempt.reason,
            "detail": attempt.detail,
            "is_manual": delivery.is_manual,
        },
    )


def _how_it_fared(attempt: Attempt, type_: str, host: str) -> str:
    if attempt.outcome == Attempt.Outcome.DELIVERED:
        return f"{host} took {type_}."
    if attempt.outcome == Attempt.Outcome.UNKNOWN:
        return f"Nobody knows whether {host} took {type_}: our sending process ended first."
    why = attempt.detail or (f"It answered {attempt.status_code}." if attempt.status_code else attempt.reason)
    return f"{host} did not take {type_}: {short(why)}"


def _of_deliveries(deliveries: Sequence[Delivery], messages: dict[UUID, Message]) -> Iterator[Moment]:
    """Deliveries that have failed for good or are not there yet; the others are told of by their attempts."""
    away = [delivery for delivery in deliveries if delivery.status != Delivery.Status.DELIVERED]
    is_paused, now = bool(away) and is_sending_paused(), timezone.now()
    for delivery in away:
        message = messages[delivery.message_id]
        at, type_ = _state_of(delivery, now)
        why = explain(delivery, is_paused=is_paused)
        yield Moment(
            at=at,
            type=type_,
            title=f"{message.type} for {_host_of(delivery.endpoint.url)}: {why or delivery.get_status_display()}",
            job_id=message.job_id,
            attempt=delivery.attempt_count or None,
            data=_whereto(delivery, message)
            | {
                "host": _host_of(delivery.endpoint.url),
                "status": delivery.status,
                "reason": delivery.reason,
                "next_attempt_at": delivery.next_attempt_at,
                "is_manual": delivery.is_manual,
            },
        )


def _state_of(delivery: Delivery, now: datetime) -> tuple[datetime, str]:
    if delivery.failed_at:
        return delivery.failed_at, "delivery_failed"
    if delivery.held_at:
        return delivery.held_at, "delivery_held"
    return now, "delivery_waits"


def _whereto(delivery: Delivery, message: Message) -> dict[str, Any]:
    return {
        "delivery_id": str(delivery.pk),
        "message_type": message.type,
        "webhook_id": webhook_id_of(message.pk),
        "run": message.workflow_run,
        "endpoint_id": str(delivery.endpoint_id),
        "endpoint": delivery.endpoint.description,
    }


def _host_of(url: str) -> str:
    """Of an address only who is called: its path and its query may hold a token."""
    return urlsplit(url).hostname or "its endpoint"


def tell_of_receipts(workflow: Workflow) -> Iterator[Moment]:
    """The calls that spoke of the workflow, and what became of them."""
    waiting = Q(workflow_name=workflow.workflow_id, state=Receipt.State.WAITING)
    mine = Receipt.objects.filter(Q(workflow=workflow) | waiting, tenant=workflow.tenant_id)
    receipts = _latest(mine.select_related("sender").defer("headers", "body", "notice"))
    yield from _more("receipts", receipts)
    for receipt in receipts:
        sender = receipt.sender.name if receipt.sender else ""
        reason = f", {receipt.reason}" if receipt.reason else ""
        yield Moment(
            at=receipt.created_at,
            type="receipt",
            title=f"{sender or 'A sender'} called {receipt.path}: {receipt.state}{reason}.",
            data={
                "receipt_id": str(receipt.pk),
                "path": receipt.path,
                "state": receipt.state,
                "reason": receipt.reason,
                "sender": sender,
                "user_id": receipt.user_id,
                "applied_at": receipt.applied_at,
                "duplicate_count": receipt.duplicate_count,
            },
        )
