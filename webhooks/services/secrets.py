"""Secrets of endpoints and senders: given, taken over from each other, taken away."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from jobs.errors import InvalidInput
from jobs.tenancy.sealing import seal
from webhooks.models import Endpoint, Sender
from webhooks.signatures import make_secret

KEPT_HOURS = 24
KEPT_HOURS_MAX = 7 * 24
EARLIER_MAX = 2  # secrets that are live beside the current one


def rotate_secret(owner: Endpoint | Sender, *, text: str = "", keep_hours: int = KEPT_HOURS) -> str:
    """Give `owner` a new secret, its first or in place of the current one, and return its text.

    The one before stays live for `keep_hours`, and no more than EARLIER_MAX do. Raises InvalidInput for hours
    that are out of bounds.
    """
    if not 0 <= keep_hours <= KEPT_HOURS_MAX:
        raise InvalidInput.at("/keep_hours", "out_of_bounds", f"Between 0 and {KEPT_HOURS_MAX} hours.")
    text = text or make_secret()
    with transaction.atomic():
        # Of two who rotate at once the second waits here.
        type(owner)._base_manager.select_for_update().get(pk=owner.pk)
        secrets: Any = owner.secrets
        secrets.filter(expires_at=None).update(expires_at=Now() + timedelta(hours=keep_hours))
        kept = secrets.live().values_list("pk", flat=True)[:EARLIER_MAX]
        secrets.exclude(pk__in=list(kept)).delete()
        secrets.create(sealed=seal(text))
    return text


def revoke_earlier_secrets(owner: Endpoint | Sender) -> int:
    """Take away every secret but the current one, at once; how many were live."""
    secrets: Any = owner.secrets
    count = secrets.live().exclude(expires_at=None).count()
    secrets.exclude(expires_at=None).delete()
    return int(count)
