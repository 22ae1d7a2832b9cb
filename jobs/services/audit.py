"""Writes the audit log: who did what at the monitor, what it was before and after, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Model
from django.http import HttpRequest

from config.tracing import current_trace
from jobs.models import AuditEntry, Tenant
from jobs.queue.outcomes import UNSTORABLE

TEXT_MAX = 200
REASON_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts at the monitor, and from where."""

    name: str
    user_id: int | None = None
    address: str | None = None

    @classmethod
    def of_request(cls, request: HttpRequest) -> Actor:
        user = request.user
        return cls(name=user.get_username(), user_id=user.pk, address=request.META.get("REMOTE_ADDR") or None)


def record_audit(
    actor: Actor,
    action: str,
    record: Model | None = None,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str = "",
    outcome: str = "",
    is_refused: bool = False,
    operation_id: UUID | None = None,
    tenant_id: UUID | None = None,
    model: str = "",
    object_text: str = "",
) -> AuditEntry:
    """Note one action, in the transaction of what it did.

    `before` and `after` are JSON values without secrets; of what is equal in both only the change is kept. The
    tenant is the record's own, unless one is given; `model` and `object_text` speak of what is no single record.
    """
    changed = _changed(before, after)
    return AuditEntry.objects.create(
        actor=actor.name,
        user_id=actor.user_id,
        address=actor.address,
        trace_id=current_trace().trace_id,
        tenant_id=tenant_id or _tenant_of(record),
        action=action,
        model=model or (record._meta.label if record is not None else ""),
        object_id=str(record.pk)[:TEXT_MAX] if record is not None else "",
        object_text=_storable(object_text or (str(record) if record is not None else ""))[:TEXT_MAX],
        before=None if before is None else {name: before[name] for name in before if name in changed},
        after=None if after is None else {name: after[name] for name in after if name in changed},
        reason=_storable(reason)[:REASON_MAX],
        outcome=_storable(outcome)[:REASON_MAX],
        is_refused=is_refused,
        operation_id=operation_id,
    )


def _changed(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> set[str]:
    old, new = before or {}, after or {}
    if before is None or after is None:
        return {*old, *new}
    return {name for name in {*old, *new} if name not in old or name not in new or old[name] != new[name]}


def _tenant_of(record: Model | None) -> UUID | None:
    if isinstance(record, Tenant):
        return record.pk
    return getattr(record, "tenant_id", None)


def _storable(text: str) -> str:
    return UNSTORABLE.sub("\ufffd", text)
