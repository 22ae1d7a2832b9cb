"""What a call that came in does to the workflow it speaks of: at once, or when that workflow has ended.

State only moves forward here. A notice marks its user as told and never takes that back; what an upstream says
of a workflow is recorded and never changes the workflow's own status, which follows its jobs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from jobs.models import Event, Workflow
from jobs.models.evaluation import NOT_EVALUATED
from jobs.signals import FinishedWorkflow
from webhooks.models import Receipt

# How much earlier than its end the user of a workflow may have been told of it, for clocks differ.
CLOCK_LEEWAY = timedelta(minutes=5)
MATCH_BATCH = 100

WorkflowKey = tuple[UUID | None, str]


@dataclass(frozen=True)
class Verdict:
    """What becomes of a receipt; `event` is what is recorded on its workflow."""

    state: Receipt.State
    reason: str = ""
    event: Event | None = None


def apply_waiting_receipts(workflows: Sequence[FinishedWorkflow]) -> None:
    """Let the receipts that wait for these workflows take effect, in the transaction that ended them.

    One SELECT where none waits. What another transaction is at, and what is more than a batch, is left to
    match_waiting_receipts().
    """
    keys: list[WorkflowKey] = [(workflow.tenant_id, workflow.workflow_id) for workflow in workflows]
    if not keys:
        return
    # Their workflows are locked, and then the receipts: so does everyone who touches both.
    if receipts := list(_locked(_waiting().filter(_names(keys, "workflow_name"))[:MATCH_BATCH])):
        _settle(receipts, _lock_workflows(receipts))


def match_waiting_receipts() -> int:
    """Let every receipt take effect that waits for nothing any more; how many did, or were set aside."""
    settled = 0
    while True:
        with transaction.atomic():
            # First the workflows, then the receipts, as everyone who locks both.
            due = list(_waiting().filter(_is_due())[:MATCH_BATCH])
            workflows = _lock_workflows(due)
            receipts = list(_locked(_waiting().filter(pk__in=[receipt.pk for receipt in due])))
            _settle(receipts, workflows)
        count = sum(receipt.state != Receipt.State.WAITING for receipt in receipts)
        settled += count
        if count < MATCH_BATCH:
            return settled


def _waiting() -> QuerySet[Receipt]:
    """Waiting receipts of senders that are still listened to, the oldest first; without what they said in full."""
    waiting = Receipt.objects.filter(state=Receipt.State.WAITING, sender__is_active=True)
    return waiting.order_by("pk").defer("body", "headers")


def _locked(receipts: QuerySet[Receipt]) -> QuerySet[Receipt]:
    """These receipts, locked; those that somebody else is at are passed over, and taken another time."""
    return receipts.select_for_update(skip_locked=True, of=("self",))


def _is_due() -> Q:
    """The receipts whose workflow is there, and has ended where that matters."""
    named = Workflow.objects.filter(tenant=OuterRef("tenant"), workflow_id=OuterRef("workflow_name"))
    ended = named.exclude(status=Workflow.Status.RUNNING, attempt=1)
    return Q(Exists(ended)) | Q(Exists(named), path=Receipt.Path.WORKFLOW_COMPLETED)


def _names(keys: Iterable[WorkflowKey], field: str) -> Q:
    """The rows whose tenant and `field` are one of `keys`."""
    by_tenant: dict[UUID | None, list[str]] = defaultdict(list)
    for tenant_id, name in keys:
        by_tenant[tenant_id].append(name)
    matching = Q()
    for tenant_id, names in by_tenant.items():
        matching |= Q(tenant=tenant_id, **{f"{field}__in": names})
    return matching


def _lock_workflows(receipts: Sequence[Receipt]) -> dict[WorkflowKey, Workflow]:
    """The workflows that receipts speak of, by tenant and name, locked in the order of their ids."""
    if not receipts:
        return {}
    named = Workflow.objects.filter(_names(map(_key, receipts), "workflow_id")).order_by("pk")
    locked = named.select_for_update(no_key=True)
    return {(workflow.tenant_id, workflow.workflow_id): workflow for workflow in locked}


def _key(receipt: Receipt) -> WorkflowKey:
    return receipt.tenant_id, receipt.workflow_name


def _settle(receipts: Sequence[Receipt], workflows: Mapping[WorkflowKey, Workflow]) -> None:
    """Decide on receipts in their order and store all that follows, in as many statements for one as for many."""
    events: list[Event] = []
    for receipt in receipts:
        workflow = workflows.get(_key(receipt))
        verdict = judge(receipt, workflow)
        _note(receipt, workflow, verdict)
        if verdict.event:
            events.append(verdict.event)
    _tell([event.workflow_id for event in events if event.type == Event.Type.USER_NOTIFIED])
    Event.objects.bulk_create(events)
    Receipt.objects.bulk_update(receipts, ["state", "reason", "workflow", "applied_at"])


def _tell(workflow_ids: Sequence[UUID | None]) -> None:
    """Mark the users of these workflows as told, and have the workflows evaluated anew."""
    told = Workflow.NotificationStatus.TOLD
    untold = Workflow.objects.filter(pk__in=workflow_ids).exclude(notification_status=told)
    untold.update(notification_status=told, **NOT_EVALUATED)


def _note(receipt: Receipt, workflow: Workflow | None, verdict: Verdict) -> None:
    receipt.state, receipt.reason, receipt.workflow = verdict.state, verdict.reason, workflow
    receipt.applied_at = timezone.now() if verdict.state == Receipt.State.APPLIED else None


def judge(receipt: Receipt, workflow: Workflow | None) -> Verdict:
    """What a receipt does to the workflow it speaks of, which is locked; a second one finds what the first did."""
    if workflow is None:
        return Verdict(Receipt.State.WAITING)
    return _JUDGES[Receipt.Path(receipt.path)](receipt, workflow)


def _judge_user_notice(receipt: Receipt, workflow: Workflow) -> Verdict:
    if workflow.user_id and workflow.user_id != receipt.user_id:
        return _ignored("other_user")
    if workflow.status == Workflow.Status.RUNNING:
        return Verdict(Receipt.State.WAITING) if workflow.attempt == 1 else _ignored("runs_again")
    if _is_of_before(receipt, workflow):
        return _ignored("before_the_end")
    if workflow.notification_status == Workflow.NotificationStatus.TOLD:
        return _ignored("already_told")
    workflow.notification_status = Workflow.NotificationStatus.TOLD  # the next notice of a batch finds it so
    said = {"user_id": receipt.user_id, **receipt.notice}
    return _applied(receipt, workflow, Event.Type.USER_NOTIFIED, said)


def _is_of_before(receipt: Receipt, workflow: Workflow) -> bool:
    """Whether the user was told before this run ended, and so not of its end."""
    text = receipt.notice.get("notified_at")
    if text is None or workflow.ended_at is None:
        return False
    return datetime.fromisoformat(text) < workflow.ended_at - CLOCK_LEEWAY


def _judge_upstream_notice(receipt: Receipt, workflow: Workflow) -> Verdict:
    return _applied(receipt, workflow, Event.Type.UPSTREAM_ENDED, receipt.notice)


_JUDGES: dict[Receipt.Path, Callable[[Receipt, Workflow], Verdict]] = {
    Receipt.Path.USER_NOTIFIED: _judge_user_notice,
    Receipt.Path.WORKFLOW_COMPLETED: _judge_upstream_notice,
}


def _ignored(reason: str) -> Verdict:
    return Verdict(Receipt.State.IGNORED, reason)


def _applied(receipt: Receipt, workflow: Workflow, type_: Event.Type, data: dict[str, Any]) -> Verdict:
    event = Event(
        tenant_id=workflow.tenant_id,
        workflow=workflow,
        type=type_,
        data={**data, "receipt_id": str(receipt.pk)},
    )
    return Verdict(Receipt.State.APPLIED, event=event)
