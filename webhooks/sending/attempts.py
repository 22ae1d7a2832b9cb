"""One attempt at a delivery: the request is signed, sent, and its answer judged."""

from __future__ import annotations

import json
import logging
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from config.tracing import Trace, bound_trace
from jobs.http import Answer, Client, HttpFailure
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
        started_at, began = datetime.now(UTC), time.monotonic()
        headers: dict[str, str] = {}
        own: dict[str, str] = {}
        reply: Answer | HttpFailure
        try:
            own = json.loads(unseal(row.sealed_headers)) if row.sealed_headers else {}
            headers = signed_headers(row, timestamp=int(started_at.timestamp()))
            reply = await client.send(
                "POST", row.url, headers=[*own.items(), *headers.items()], content=row.body
            )
        except HttpFailure as failure:
            reply = failure
        except Unreadable as failure:
            reply = _own_failure(Reason.UNREADABLE, "The endpoint's secret can't be read here.", failure)
        except Exception as failure:
            logger.exception("attempt failed on our side", extra={"deliveryId": str(row.id)})
            reply = _own_failure(Reason.INTERNAL_ERROR, "Something went wrong on our side.", failure)
        verdict = judge(reply, step=row.step, is_manual=row.is_manual, now=datetime.now(UTC))
        milliseconds = round((time.monotonic() - began) * 1_000)
        _log(row, reply, verdict, milliseconds)
    record = {
        "id": row.id,
        "lease_token": row.lease_token,
        "status": verdict.status,
        "outcome": Attempt.Outcome.FAILED if verdict.reason else Attempt.Outcome.DELIVERED,
        "reason": verdict.reason,
        "detail": _storable(verdict.detail),
        "delay_seconds": verdict.delay_seconds,
        "url": row.url,
        "request_headers": {**dict.fromkeys(own, HIDDEN), **headers},
        "started_at": started_at,
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
        "x-request-id": row.request_id,
        "traceparent": f"00-{row.trace_id}-{secrets.token_hex(8)}-01",
    }


def _own_failure(reason: str, detail: str, failure: Exception) -> HttpFailure:
    return HttpFailure(code=reason, detail=detail, internal=f"{type(failure).__name__}: {failure}")


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
            "response_body": _clean(reply.body.decode("utf-8", "replace")),
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
