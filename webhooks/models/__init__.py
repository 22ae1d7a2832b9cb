"""The top floor's records."""

from __future__ import annotations

from webhooks.models.deliveries import Attempt, Delivery, Reason
from webhooks.models.endpoints import Endpoint, Pace
from webhooks.models.messages import Message
from webhooks.models.receipts import Receipt
from webhooks.models.secrets import EndpointSecret, SenderSecret
from webhooks.models.senders import Sender

__all__ = [
    "Attempt",
    "Delivery",
    "Endpoint",
    "EndpointSecret",
    "Message",
    "Pace",
    "Reason",
    "Receipt",
    "Sender",
    "SenderSecret",
]
