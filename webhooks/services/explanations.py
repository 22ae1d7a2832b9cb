"""Why a delivery has not been delivered, in a sentence a tired person can act on."""

from __future__ import annotations

from django.utils import timezone

from webhooks.models import Delivery, Endpoint, Reason
from webhooks.schedule import ATTEMPTS

HELD = {
    Reason.PAUSED: "The endpoint is paused; it is sent when the endpoint is resumed.",
    Reason.DISABLED: "The endpoint is disabled; resume it, then recover what is held.",
}


def explain(delivery: Delivery) -> str:
    """What has become of a delivery and what it waits for; empty once it is delivered."""
    if delivery.status == Delivery.Status.DELIVERED:
        return ""
    if delivery.status == Delivery.Status.SENDING:
        return "It is being sent."
    if delivery.status == Delivery.Status.HELD:
        return HELD.get(Reason(delivery.reason), "It is held.")
    if delivery.status == Delivery.Status.FAILED:
        return _failure(delivery)
    return " ".join(part for part in (delivery.detail, _wait(delivery)) if part)


def _failure(delivery: Delivery) -> str:
    if delivery.reason == Reason.DELETED:
        return "The endpoint was deleted before it could be sent."
    if not delivery.is_manual and delivery.step >= ATTEMPTS:
        return f"{delivery.detail} It was the last of {ATTEMPTS} attempts."
    return delivery.detail


def _wait(delivery: Delivery) -> str:
    """What a pending delivery waits for: its time, the breaker, a slot, or just its turn."""
    endpoint, now = delivery.endpoint, timezone.now()
    if endpoint.state == Endpoint.State.RESTING and not delivery.is_manual:
        return (
            f"The endpoint has failed {endpoint.failures} times in a row; "
            f"it is tried again at {endpoint.breaker_until:%H:%M:%S} UTC."
        )
    if delivery.next_attempt_at and delivery.next_attempt_at > now:
        return (
            f"Attempt {delivery.attempt_count + 1} comes at {delivery.next_attempt_at:%Y-%m-%d %H:%M:%S} UTC."
        )
    if endpoint.next_slot_at and endpoint.next_slot_at > now:
        return f"The endpoint takes {endpoint.max_per_minute} a minute; it waits for its slot."
    return "It waits for its turn."
