"""The stand-in for a client's app: having been told of an event, it says that its user knows."""

from __future__ import annotations

import json
import secrets
import time
from uuid import UUID

from django.conf import settings

from jobs import http
from jobs.errors import DomainError
from webhooks.models import Receipt
from webhooks.signatures import is_standard, sign_plain, sign_standard


class Refused(DomainError):
    """The call can't be made, or was refused: it would be again."""

    code = "call_back_refused"


class CallBackFailed(Exception):
    """The call was answered with an error that may pass: no DomainError, for the queue would not try again."""


def find_told(tenant_id: UUID | None, receipt_id: UUID) -> Receipt:
    """The receipt of what the app was told; raises Refused where it, or its sender, is gone."""
    mine = Receipt.objects.filter(
        tenant=tenant_id, path=Receipt.Path.MINIAPP, sender__isnull=False, state=Receipt.State.APPLIED
    )
    receipt = mine.select_related("sender").filter(pk=receipt_id).first()
    if receipt is None:
        raise Refused("The receipt, or the sender that is to sign, is gone.")
    return receipt


def call_back(told: Receipt, *, trace_id: str) -> int:
    """Tell /api/user_notified that the user knows, in the name of the sender that told; the status of the answer.

    The same receipt makes the same bytes and the same id. Raises Refused for a 4xx, CallBackFailed for what else
    is no 2xx, HttpFailure where there is no answer, Unreadable for a secret that no key opens.
    """
    url = f"{settings.PUBLIC_URL}/api/user_notified?sender={told.sender_id}"
    body = json.dumps(_notice(told)).encode()
    headers = _signed(told, body) | {
        "content-type": "application/json",
        "traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01",
    }
    answer = http.send("POST", url, headers=list(headers.items()), content=body)
    if 400 <= answer.status < 500:
        raise Refused(f"{url} answered {answer.status}.")
    if not 200 <= answer.status < 300:
        raise CallBackFailed(f"{url} answered {answer.status}.")
    return answer.status


def _notice(told: Receipt) -> dict[str, str]:
    return {
        "workflow_id": told.workflow_name,
        "user_id": told.user_id,
        "notified_at": told.created_at.isoformat(),
        "method": "miniapp",
    }


def _signed(told: Receipt, body: bytes) -> dict[str, str]:
    """The headers of both forms, signed with the sender's current secret; of the plain one alone where it must be."""
    assert told.sender
    secret = told.sender.secrets.get(expires_at=None).text
    plain = {"x-webhook-signature": sign_plain(secret, body)}
    if not is_standard(secret):
        return plain
    webhook_id, now = f"rcpt_{told.pk.hex}", int(time.time())
    standard = {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(now),
        "webhook-signature": sign_standard(secret, webhook_id, now, body),
    }
    return plain | standard
