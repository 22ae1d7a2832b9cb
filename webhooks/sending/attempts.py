"""One attempt at a delivery: the request is signed, sent, and its answer judged."""

from __future__ import annotations

import json
import logging
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from config.tracing import REQUEST_ID, Trace, bound_trace
from jobs.http import Answer, Client, HttpFailure
from jobs.hygiene.sanitizer import sanitize_text
from jobs.queue.outcomes import UNSTORABLE
from jobs.tenancy.sealing import Unreadable, unseal
from webhooks.models import Attempt, Reason
from webhooks.models.messages import webhook_id_of
from webhooks.sending.verdicts import Verdict, judge
from webhooks.signatures import sign_plain, sign_standard

logger = logging.getLogger(__name__)

HIDDEN = "(hidden)"
DETAIL_CHARS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an attempt went: `record` is a row of finish_deliveries.sql."""

    endpoint_id: Any
    is_manual: bool
    verdict: Verdict
    record: dict[str, Any]


async def attempt(row: Any, client: Client) -> Outcome:
    """Send a claimed delivery (a row of claim_deliveries.sql); whatever goes wrong is its outcome."""
    with bound_trace(Trace(row.trace_id, row.request_id), tenantId=str(row.tenant_id)):
        sent = Sent(started_at=datetime.now(UTC))
        began = time.monotonic()
        reply = await _reply_to(row, client, sent)
        milliseconds = round((time.monotonic() - began) * 1_000)
        try:
            return _outcome(row, sent, reply, milliseconds)
        except Exception as failure:
            logger.exception("answer not understood", extra={"deliveryId": str(row.id)})
            return _outcome(row, sent, _own_failure(failure), milliseconds)


@dataclass(slots=True, kw_only=True)
class Sent:
    """What went out, as far as it came: its headers, those of the tenant by name alone."""

    started_at: datetime
    headers: dict[str, str] = field(default_factory=dict)


async def _reply_to(row: Any, client: Client, sent: Sent) -> Answer | HttpFailure:
    try:
        own: dict[str, str] = json.loads(unseal(row.sealed_headers)) if row.sealed_headers else {}
        headers = signed_headers(row, timestamp=int(sent.started_at.timestamp()))
        sent.headers = {**dict.fromkeys(own, HIDDEN), **headers}
        return await client.send("POST", row.url, headers=[*own.items(), *headers.items()], content=row.body)
    except HttpFailure as failure:
        return failure
    except Unreadable as failure:
        return HttpFailure(
            Reason.UNREADABLE, "The endpoint's secret can't be read here.", internal=str(failure)
        )
    except Exception as failure:
        logger.exception("attempt failed on our side", extra={"deliveryId": str(row.id)})
        return _own_failure(failure)


def _own_failure(failure: Exception) -> HttpFailure:
    internal = f"{type(failure).__name__}: {failure}"
    return HttpFailure(Reason.INTERNAL_ERROR, "Something went wrong on our side.", internal=internal)


def _outcome(row: Any, sent: Sent, reply: Answer | HttpFailure, milliseconds: int) -> Outcome:
    verdict = judge(reply, step=row.step, is_manual=row.is_manual, now=datetime.now(UTC))
    _log(row, reply, verdict, milliseconds)
    record = {
        "id": row.id,
        "lease_token": row.lease_token,
        "status": verdict.status,
        "outcome": Attempt.Outcome.FAILED if verdict.reason else Attempt.Outcome.DELIVERED,
        "reason": verdict.reason,
        "detail": _storable(verdict.detail),
        "delay_seconds": verdict.delay_seconds,
        "is_our_fault": verdict.is_our_fault,
        "url": row.url,
        "request_headers": sent.headers,
        "started_at": sent.started_at,
        "duration_ms": milliseconds,
        **_told(reply),
    }
    return Outcome(endpoint_id=row.endpoint_id, is_manual=row.is_manual, verdict=verdict, record=record)


def signed_headers(row: Any, *, timestamp: int) -> dict[str, str]:
    """What goes out with a delivery: its ids, its trace, and its signatures in both forms.

    The standard form carries one signature for each live secret, the plain one that of the current secret.
    """
    live = [unseal(sealed) for sealed in row.sealed_secrets]
    webhook_id = webhook_id_of(row.message_id)
    signatures = [sign_standard(secret, webhook_id, timestamp, row.body) for secret in live]
    return {
        "content-type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
        "webhook-attempt": str(row.attempt_count),
        "x-webhook-signature": sign_plain(live[0], row.body),
        # A job enqueued in code may have any text for it.
        **({"x-request-id": row.request_id} if REQUEST_ID.fullmatch(row.request_id) else {}),
        "traceparent": f"00-{row.trace_id}-{secrets.token_hex(8)}-01",
    }


def _told(reply: Answer | HttpFailure) -> dict[str, Any]:
    """What came back, as it is stored."""
    if isinstance(reply, HttpFailure):
        answered: dict[str, Any] = {
            "internal_detail": _storable(reply.internal),
            "status_code": None,
            "response_headers": [],
            "response_body": "",
            "is_response_cut": False,
        }
    else:
        answered = {
            "internal_detail": "",
            "status_code": reply.status,
            "response_headers": [[_clean(name), _clean(value)] for name, value in reply.headers],
            "response_body": _clean(sanitize_text(reply.body.decode("utf-8", "replace"))),
            "is_response_cut": reply.is_cut,
        }
    return {**answered, "address": reply.address, "timings": reply.timings}


def _clean(text: str) -> str:
    """Text that the database can keep."""
    return UNSTORABLE.sub("\ufffd", text)


def _storable(text: str) -> str:
    return _clean(text)[:DETAIL_CHARS]


def _log(row: Any, reply: Answer | HttpFailure, verdict: Verdict, milliseconds: int) -> None:
    level = logging.INFO if not verdict.reason else logging.WARNING
    if not logger.isEnabledFor(level):
        return
    extra = {
        "deliveryId": str(row.id),
        "endpointId": str(row.endpoint_id),
        "attempt": row.attempt_count,
        "ms": milliseconds,
    }
    if verdict.reason:
        extra["error"] = verdict.reason
    if isinstance(reply, Answer):
        extra["status"] = reply.status
    logger.log(level, f"delivery {verdict.status}", extra=extra)
