"""Why a delivery has not been delivered, in a sentence a tired person can act on."""

from __future__ import annotations

from django.utils import timezone

from jobs.models import Queue
from webhooks.models import Delivery, Endpoint, Reason
from webhooks.schedule import ATTEMPTS

STOPPED = {
    Endpoint.State.PAUSED: "The endpoint is paused; it is sent when the endpoint is resumed.",
    Endpoint.State.DISABLED: "The endpoint is disabled; resume it, then recover what is held.",
    Endpoint.State.DELETED: "The endpoint has been deleted; it is not sent any more.",
}


def explain(delivery: Delivery, *, is_paused: bool) -> str:
    """What has become of a delivery and what it waits for; empty once it is delivered.

    `is_paused` is the answer of is_sending_paused(), asked once for many.
    """
    if delivery.status == Delivery.Status.DELIVERED:
        return ""
    if delivery.status == Delivery.Status.SENDING:
        return "It is being sent."
    if delivery.status == Delivery.Status.HELD:
        resumed = "It was held while the endpoint was stopped; recover what is held to have it sent."
        return STOPPED.get(Endpoint.State(delivery.endpoint.state), resumed)
    if delivery.status == Delivery.Status.FAILED:
        return _failure(delivery)
    return " ".join(part for part in (delivery.detail, _wait(delivery, is_paused)) if part)


def _failure(delivery: Delivery) -> str:
    if delivery.reason == Reason.DELETED:
        return "The endpoint was deleted before it could be sent."
    if not delivery.is_manual and delivery.step >= ATTEMPTS:
        return f"{delivery.detail} It was the last of {ATTEMPTS} attempts."
    return delivery.detail


def _wait(delivery: Delivery, is_paused: bool) -> str:
    """What a pending delivery waits for: its time, the breaker, a slot, or just its turn."""
    endpoint, now = delivery.endpoint, timezone.now()
    if not delivery.is_manual and endpoint.state in STOPPED:  # to be held in a moment
        return STOPPED[Endpoint.State(endpoint.state)]
    if endpoint.state == Endpoint.State.RESTING and not delivery.is_manual:
        return (
            f"The endpoint has failed {endpoint.failures} times in a row; "
            f"it is tried again at {endpoint.breaker_until:%H:%M:%S} UTC."
        )
    if delivery.next_attempt_at and delivery.next_attempt_at > now:
        return (
            f"Attempt {delivery.attempt_count + 1} comes at {delivery.next_attempt_at:%Y-%m-%d %H:%M:%S} UTC."
        )
    if is_paused:
        return "All sending is paused: the queue of webhooks is."
    if endpoint.breaker_trips and not delivery.is_manual:
        return "The endpoint has failed; one delivery goes ahead, and it waits for how that one fares."
    if endpoint.max_per_minute and not delivery.is_manual:
        return f"It waits for its turn; the endpoint takes {endpoint.max_per_minute} a minute."
    return "It waits for its turn."


def is_sending_paused() -> bool:
    """Whether somebody has paused the queue whose processes send."""
    return Queue.objects.filter(name="webhooks", is_remote=False, paused_at__isnull=False).exists()
