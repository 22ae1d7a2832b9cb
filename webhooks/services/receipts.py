"""Receipts: one for each call that comes in, written in the transaction of its effect.

A call that comes again is answered with the first receipt and changes nothing: what makes it the same is its
`webhook-id`, and its body where one of the two has no id: a replay may have lost it. Calls that are refused
leave receipts too, of which the newest are kept.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, Subquery
from django.db.models.functions import Now
from psycopg.types.json import Jsonb

from config.tracing import current_trace
from jobs.errors import DomainError
from jobs.hygiene.sanitizer import sanitize_base64, sanitize_text
from jobs.models import Workflow
from jobs.queue.enqueue import enqueue_job
from jobs.statements import lock_number, run
from webhooks.models import Receipt, Sender
from webhooks.notices import AppNotice, read_app_notice, read_upstream_notice, read_user_notice
from webhooks.services.matching import Verdict, judge
from webhooks.services.messages import SQL

logger = logging.getLogger(__name__)

BODY_KEPT_BYTES = 64 * 1024
OUTPUTS_MAX_BYTES = 16 * 1024
WAITING_MAX = 10_000  # of a tenant
LOCK_TIMEOUT = "2s"

REFUSED_KEPT = 1_000
REFUSED_BODY_BYTES = 2 * 1024
REFUSED_PER_SECOND = 20  # written by each process; the rest is only logged
INT4_MAX = 2_147_483_647

# The events of which the stand-in for a client's app tells its user, and then says so.
TOLD_OF = {"workflow.completed", "workflow.failed", "workflow.cancelled", "request.reminder"}


class TooManyWaiting(DomainError):
    """A tenant's senders have said too much of what does not exist."""

    code = "too_many_waiting"
    status = 429
    retry_after_seconds = 60


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
    said = {
        "notified_at": notice.notified_at.isoformat() if notice.notified_at else None,
        "method": notice.method,
    }
    return _take_once(call, judge, workflow_name=notice.workflow_id, user_id=notice.user_id, notice=said)


def take_upstream_notice(call: Call) -> Taken:
    """Take the word of an upstream that a workflow ended. Raises InvalidInput."""
    notice = read_upstream_notice(call.content)
    outputs_said = sanitize_base64(notice.outputs)
    is_short = len(json.dumps(outputs_said)) <= OUTPUTS_MAX_BYTES
    # What is too long for a line of the workflow's story is read in the receipt.
    outputs = {"outputs": outputs_said} if is_short else {"are_outputs_cut": True}
    said = {"status": notice.status, **outputs}
    return _take_once(call, judge, workflow_name=notice.workflow_id, notice=said)


def take_app_notice(call: Call) -> Taken:
    """Take an event as a client's app would, and call back where there is somebody to tell. Raises InvalidInput."""
    notice = read_app_notice(call.content)
    is_told = _tells_a_user(notice)
    verdict = Verdict(Receipt.State.APPLIED) if is_told else Verdict(Receipt.State.IGNORED, "nobody_to_tell")
    with transaction.atomic():
        taken = _take_once(call, lambda *_: verdict, workflow_name=notice.workflow_id, user_id=notice.user_id)
        if is_told and not taken.is_duplicate:
            # The user's app says that the user knows, once it has been stored that it was told.
            enqueue_job(
                "miniapp.call_back", {"receipt_id": str(taken.receipt.pk)}, tenant_id=call.sender.tenant_id
            )
    return taken


def _tells_a_user(notice: AppNotice) -> bool:
    has_both = bool(notice.workflow_id and notice.user_id)
    return has_both and (not notice.type or notice.type in TOLD_OF)


def _take_once(call: Call, judge: Callable[[Receipt, Workflow | None], Verdict], **fields: Any) -> Taken:
    """Store a call's receipt and let it take effect in one transaction, unless the call came before."""
    receipt = _new_receipt(call, **fields)
    with transaction.atomic():
        _lock_body(receipt)
        (found,) = run("find_receipt", _columns(receipt), folder=SQL)
        if found.first_id is None:
            workflow = _workflow_of(found)
            verdict = judge(receipt, workflow)
            if verdict.state == Receipt.State.WAITING:
                _refuse_too_many(receipt)
            receipt.state, receipt.reason, receipt.workflow = verdict.state, verdict.reason, workflow
            if _store(receipt, verdict):
                return Taken(receipt=receipt, is_duplicate=False)
        return Taken(receipt=_note_duplicate(receipt, found.first_id), is_duplicate=True)


def _refuse_too_many(receipt: Receipt) -> None:
    """Raise TooManyWaiting where a tenant's senders have said enough of what does not exist."""
    waiting = Receipt.objects.filter(tenant=receipt.tenant_id, state=Receipt.State.WAITING)
    if waiting.order_by()[:WAITING_MAX].count() >= WAITING_MAX:
        raise TooManyWaiting(f"{WAITING_MAX:,} calls wait for workflows that do not exist yet.")


def _workflow_of(found: Any) -> Workflow | None:
    """The workflow of a row of find_receipt.sql, as much of it as is asked for."""
    if found.id is None:
        return None
    fields = found._asdict()
    del fields["first_id"]
    return Workflow(**fields)


def _store(receipt: Receipt, verdict: Verdict) -> bool:
    """Store a new receipt with its effect; False where a call of the same id was faster."""
    event = verdict.event
    columns = _columns(receipt) | {
        "event_type": event.type if event else None,
        "event_data": Jsonb(event.data if event else {}),
    }
    return bool(run("take_receipt", columns, folder=SQL))


def _note_duplicate(receipt: Receipt, first_id: UUID | None) -> Receipt:
    """Count a call that came again; the receipt it has had from the first time on."""
    same = Receipt.objects.filter(sender=receipt.sender_id, path=receipt.path)
    first = same.get(pk=first_id) if first_id else same.get(key=receipt.key)
    again = Receipt.objects.filter(pk=first.pk)
    again.update(duplicate_count=F("duplicate_count") + 1, last_duplicate_at=Now())
    return first


def _columns(receipt: Receipt) -> dict[str, Any]:
    """A receipt as the statements read it."""
    names = ("id", "tenant_id", "sender_id", "path", "state", "reason", "key", "digest", "workflow_name")
    more = ("workflow_id", "user_id", "size", "remote_address", "trace_id")
    return {name: getattr(receipt, name) for name in names + more} | {
        "headers": Jsonb(receipt.headers),
        "notice": Jsonb(receipt.notice),
        "body": Jsonb(receipt.body),
    }


def _new_receipt(call: Call, **fields: Any) -> Receipt:
    """A receipt that waits, until what it says is known to be applied or not."""
    size = call.incoming.size
    return Receipt(
        tenant_id=call.sender.tenant_id,
        sender=call.sender,
        state=Receipt.State.WAITING,
        key=call.webhook_id or call.incoming.digest,
        body=_kept(call.content, size),
        **_as_it_came(call.incoming),
        **fields,
    )


def _kept(content: dict[str, Any], size: int) -> dict[str, Any]:
    """As much of a body of so many bytes as its receipt keeps: a picture inside it is no reason to lose the rest."""
    clean: dict[str, Any] = sanitize_base64(content)
    if size > BODY_KEPT_BYTES and (clean is content or len(json.dumps(clean)) > BODY_KEPT_BYTES):
        return {"$truncated": {"bytes": size}}
    return clean


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
    number = lock_number(f"receipt {receipt.sender_id} {receipt.path} {receipt.digest}")
    with connection.cursor() as cursor:
        # A workflow that somebody holds for long costs a 503, and not a web thread.
        cursor.execute(
            "SELECT set_config('lock_timeout', %s, true), pg_advisory_xact_lock(%s)", [LOCK_TIMEOUT, number]
        )


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
    body = None if incoming.body is None else _beginning(incoming.body)
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


def _beginning(body: bytes) -> str:
    """The first bytes of what was refused, as text that jsonb keeps; base64 goes before the rest is counted."""
    text = _text(body)
    clean = sanitize_text(text)
    rest = body if clean is text else clean.encode()
    return _text(rest[:REFUSED_BODY_BYTES])


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace").replace("\0", "\ufffd")
