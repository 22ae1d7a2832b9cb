"""Receipts: one for each call that comes in, written in the transaction of its effect.

A call that comes again is answered with the first receipt and changes nothing: what makes it the same is its
`webhook-id`, and its body where one of the two has no id: a replay may have lost it. Calls that are refused
leave receipts too, of which the newest are kept.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.db.models import F, QuerySet, Subquery
from django.db.models.functions import Now
from django.utils import timezone

from config.tracing import current_trace
from jobs.queue.enqueue import enqueue_job
from webhooks.models import Receipt, Sender
from webhooks.notices import AppNotice, read_app_notice, read_upstream_notice, read_user_notice
from webhooks.services.matching import apply_receipt

logger = logging.getLogger(__name__)

REFUSED_KEPT = 1_000
REFUSED_BODY_BYTES = 2 * 1024
REFUSED_PER_SECOND = 20  # written by each process; the rest is only logged
INT4_MAX = 2_147_483_647

# The events of which the stand-in for a client's app tells its user, and then says so.
TOLD_OF = {"workflow.completed", "workflow.failed", "workflow.cancelled", "request.reminder"}


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """A call as it came, before anything is known of it; `body` is None where it was too large to be read."""

    path: Receipt.Path
    body: bytes | None
    size: int
    headers: Mapping[str, str]  # those that may be kept
    remote_address: str

    @functools.cached_property
    def digest(self) -> str:
        return "" if self.body is None else hashlib.sha256(self.body).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call that a sender signed; `webhook_id` is empty where that was not among what it signed."""

    incoming: Incoming
    sender: Sender
    webhook_id: str
    content: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Taken:
    """The receipt of a call, and whether it is that of an earlier one."""

    receipt: Receipt
    is_duplicate: bool


def take_user_notice(call: Call) -> Taken:
    """Take the word of a client's app that its user knows. Raises InvalidInput."""
    notice = read_user_notice(call.content)
    return _take_once(call, apply_receipt, workflow_name=notice.workflow_id, user_id=notice.user_id)


def take_upstream_notice(call: Call) -> Taken:
    """Take the word of an upstream that a workflow ended. Raises InvalidInput."""
    notice = read_upstream_notice(call.content)
    return _take_once(call, apply_receipt, workflow_name=notice.workflow_id)


def take_app_notice(call: Call) -> Taken:
    """Take an event as a client's app would, and call back where there is somebody to tell. Raises InvalidInput."""
    notice = read_app_notice(call.content)
    apply = _call_back if _tells_a_user(notice) else _keep
    return _take_once(call, apply, workflow_name=notice.workflow_id, user_id=notice.user_id)


def _call_back(receipt: Receipt) -> None:
    """Have the user's app say that the user knows, in the transaction that stores what it was told."""
    enqueue_job("miniapp.call_back", {"receipt_id": str(receipt.pk)}, tenant_id=receipt.tenant_id)
    receipt.state, receipt.applied_at = Receipt.State.APPLIED, timezone.now()
    receipt.save(update_fields=["state", "applied_at"])


def _keep(receipt: Receipt) -> None:
    """The event tells no user of anything."""
    receipt.state, receipt.reason = Receipt.State.IGNORED, "nobody_to_tell"
    receipt.save(update_fields=["state", "reason"])


def _tells_a_user(notice: AppNotice) -> bool:
    has_both = bool(notice.workflow_id and notice.user_id)
    return has_both and (not notice.type or notice.type in TOLD_OF)


def _take_once(call: Call, apply: Callable[[Receipt], None], **fields: str) -> Taken:
    """Store a call's receipt and let it take effect in one transaction, unless the call came before."""
    receipt = _new_receipt(call, **fields)
    with transaction.atomic():
        _lock_body(receipt)
        first = _first_of_body(receipt)
        if first is None:
            # Of many at once one stores its receipt; the others wait here until that one has taken effect.
            Receipt.objects.bulk_create([receipt], ignore_conflicts=True)
            first = _same_path(receipt).get(key=receipt.key)
        if first.pk != receipt.pk:
            again = Receipt.objects.filter(pk=first.pk)
            again.update(duplicate_count=F("duplicate_count") + 1, last_duplicate_at=Now())
            return Taken(receipt=first, is_duplicate=True)
        apply(receipt)
    return Taken(receipt=receipt, is_duplicate=False)


def _new_receipt(call: Call, **fields: str) -> Receipt:
    """A receipt that waits, until what it says is known to be applied or not."""
    return Receipt(
        tenant_id=call.sender.tenant_id,
        sender=call.sender,
        state=Receipt.State.WAITING,
        key=call.webhook_id or call.incoming.digest,
        body=call.content,
        **_as_it_came(call.incoming),
        **fields,
    )


def _as_it_came(incoming: Incoming) -> dict[str, Any]:
    return {
        "path": incoming.path,
        "digest": incoming.digest,
        "size": min(incoming.size, INT4_MAX),
        "headers": dict(incoming.headers),
        "remote_address": incoming.remote_address,
        "trace_id": current_trace().trace_id,
    }


def _lock_body(receipt: Receipt) -> None:
    """Let calls of one body in one after the other: one of them may have lost the id that makes it the same."""
    text = f"receipt {receipt.sender_id} {receipt.path} {receipt.digest}"
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])


def _same_path(receipt: Receipt) -> QuerySet[Receipt]:
    return Receipt.objects.filter(sender=receipt.sender_id, path=receipt.path)


def _first_of_body(receipt: Receipt) -> Receipt | None:
    """The first receipt of the same body; two that each have an id of their own are not the same."""
    same = _same_path(receipt).filter(digest=receipt.digest).order_by("pk")
    has_id = receipt.key != receipt.digest
    return (same.filter(key=F("digest")) if has_id else same).first()


class Allowance:
    """So many in each second, whichever threads ask."""

    def __init__(self, per_second: int) -> None:
        self.per_second = per_second
        self._lock = threading.Lock()
        self._second = 0
        self._left = per_second

    def take(self, now: float) -> bool:
        """Whether one more is allowed at `now`, in seconds of any clock that does not go back."""
        with self._lock:
            if int(now) != self._second:
                self._second, self._left = int(now), self.per_second
            self._left -= 1
            return self._left >= 0


_allowance = Allowance(REFUSED_PER_SECOND)


def take_refusal(incoming: Incoming, reason: str) -> Receipt | None:
    """Keep what was refused, whoever sent it; None where too many are at it for each to be kept."""
    if not _allowance.take(time.monotonic()):
        logger.warning("a call of %s was refused and not kept: %s", incoming.path, reason)
        return None
    return store_refusal(incoming, reason)


def store_refusal(incoming: Incoming, reason: str) -> Receipt:
    """Store a refused call, and delete those that are older than the REFUSED_KEPT newest."""
    body = None if incoming.body is None else _text(incoming.body[:REFUSED_BODY_BYTES])
    with transaction.atomic():
        receipt = Receipt.objects.create(
            state=Receipt.State.REFUSED, reason=reason, body=body, **_as_it_came(incoming)
        )
        refused = Receipt.objects.filter(state=Receipt.State.REFUSED).order_by("-pk")
        oldest_kept = refused.values("pk")[REFUSED_KEPT - 1 : REFUSED_KEPT]
        # What others are deleting at the same time is theirs.
        old = refused.filter(pk__lt=Subquery(oldest_kept)).select_for_update(skip_locked=True)
        Receipt.objects.filter(pk__in=list(old.values_list("pk", flat=True))).delete()
    return receipt


def _text(body: bytes) -> str:
    """Bytes as text that jsonb keeps."""
    return body.decode("utf-8", "replace").replace("\0", "\ufffd")
