"""Bulk operations: started, gone on with record by record, aborted, ended. What one does is the admin's to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Case, F, TextField, Value, When
from django.db.models.functions import Coalesce, Now
from psycopg.types.json import Jsonb

from jobs.errors import InvalidTransition
from jobs.ids import uuid7
from jobs.models import BulkOperation, Job
from jobs.queue.enqueue import enqueue_job
from jobs.queue.outcomes import code_and_message
from jobs.services.audit import Actor, record_audit
from jobs.signals import FinishedAttempt
from jobs.statements import run

KIND = "system.bulk_operation"
REASONS_MAX = 50  # that are told apart; the others are counted together
OTHER = "other"
LIVE = (BulkOperation.Status.QUEUED, BulkOperation.Status.RUNNING)


class Overtaken(Exception):
    """Another process goes on with the operation, or somebody has ended it: nothing was noted."""


@dataclass(frozen=True, kw_only=True)
class NewOperation:
    """A verb over records: of these `keys`, or, where there are none, what a list shows under `query` from `newest` down.

    `word` is what the audit log calls the verb; `id` comes from the question, so that who answers it twice starts one.
    """

    model: str
    verb: str
    title: str
    word: str
    keys: list[str] | None = None
    query: str = ""
    newest: str = ""
    total_count: int
    is_total_capped: bool = False
    reason: str = ""
    tenant_id: UUID | None = None
    id: UUID = field(default_factory=uuid7)


def start_operation(new: NewOperation, *, by: Actor) -> BulkOperation:
    """Store an operation with its job, in one transaction; the one of this id, where the same account has started it.

    Raises InvalidTransition where the id is another account's.
    """
    user_id = by.user_id or 0  # an account has one
    try:
        with transaction.atomic():
            return _start(new, by, user_id)
    except IntegrityError:
        for started in BulkOperation.objects.filter(pk=new.id, user_id=user_id):
            return started
        raise InvalidTransition("This question is not yours to answer: ask anew.") from None


def _start(new: NewOperation, by: Actor, user_id: int) -> BulkOperation:
    operation = BulkOperation(
        id=new.id,
        tenant_id=new.tenant_id,
        model=new.model,
        verb=new.verb,
        title=new.title,
        reason=new.reason,
        keys=new.keys,
        query="" if new.keys is not None else new.query,
        newest=new.newest,
        total_count=new.total_count,
        is_total_capped=new.is_total_capped,
        actor=by.name,
        user_id=user_id,
    )
    operation.save(force_insert=True)
    operation.job_id = enqueue_job(KIND, {"operation_id": str(operation.pk)}, actor_id=by.name)
    operation.save(update_fields=["job_id"])
    record_audit(
        by,
        f"bulk {new.word}",
        operation,
        after={"records": new.total_count, "filters": new.query if new.keys is None else "those selected"},
        reason=new.reason,
        operation_id=operation.pk,
    )
    return operation


def begin_operation(operation_id: UUID) -> BulkOperation:
    """Note that the job of an operation is at it, and return it as it stands."""
    queued = BulkOperation.objects.filter(pk=operation_id, status=BulkOperation.Status.QUEUED)
    queued.update(status=BulkOperation.Status.RUNNING, started_at=Now())
    return BulkOperation.objects.get(pk=operation_id)


def count_operation(operation: BulkOperation, total_count: int) -> None:
    """Note how many there are, now that somebody has had the time to count them."""
    operation.total_count, operation.is_total_capped = total_count, False
    operation.save(update_fields=["total_count", "is_total_capped"])


def note_in_operation(operation: BulkOperation, key: str, outcome: str, *, is_refused: bool) -> bool:
    """Note what came of the record of this key, in the transaction in which it came of it.

    Returns whether somebody wants the operation aborted. Raises Overtaken.
    """
    before = operation.cursor
    counted = operation.refusals if is_refused else operation.outcomes
    reason = outcome if outcome in counted or len(counted) < REASONS_MAX else OTHER
    counts = {**counted, reason: counted.get(reason, 0) + 1}
    noted: dict[str, Any] = {
        "done_count": operation.done_count + (not is_refused),
        "refused_count": operation.refused_count + is_refused,
        "outcomes": operation.outcomes if is_refused else counts,
        "refusals": counts if is_refused else operation.refusals,
        "cursor": key,
    }
    documents = {name: Jsonb(noted[name]) for name in ("outcomes", "refusals")}
    rows = run("note_in_operation", {**noted, **documents, "id": operation.pk, "before": before})
    if not rows:
        raise Overtaken
    for name, value in noted.items():
        setattr(operation, name, value)
    return bool(rows[0].is_abort_requested)


def end_operation(operation: BulkOperation, status: BulkOperation.Status, *, error: str = "") -> None:
    """End an operation; one that has ended stays as it is."""
    live = BulkOperation.objects.filter(pk=operation.pk, status__in=LIVE)
    live.update(status=status, error=error, ended_at=Now())
    operation.refresh_from_db()


def abort_operation(operation: BulkOperation, *, by: Actor) -> None:
    """Stop an operation: at once where it has not begun, else before its next record. What was done stays done.

    Raises InvalidTransition for one that has ended.
    """
    with transaction.atomic():
        locked = BulkOperation.objects.select_for_update().get(pk=operation.pk)
        if locked.is_over:
            raise InvalidTransition(
                f"The operation is {locked.status}; only one that has not ended is aborted."
            )
        BulkOperation.objects.filter(pk=locked.pk).update(
            abort_requested_at=Coalesce("abort_requested_at", Now()), aborted_by=by.name
        )
        if locked.status == BulkOperation.Status.QUEUED:
            end_operation(locked, BulkOperation.Status.ABORTED)
        record_audit(by, "abort", locked, before={"status": locked.status}, operation_id=locked.pk)
    operation.refresh_from_db()


def end_with_their_jobs(*, attempts: Sequence[FinishedAttempt], **_: Any) -> None:
    """End the operations whose jobs have ended for good without having ended them."""
    ended = {
        attempt.job_id: attempt
        for attempt in attempts
        if attempt.kind == KIND and attempt.is_final and attempt.outcome != Job.Status.COMPLETED
    }
    if not ended:
        return
    status, error = _fates_of(ended)
    BulkOperation.objects.filter(job_id__in=ended, status__in=LIVE).update(
        status=status, error=error, ended_at=Now()
    )


def _fates_of(ended: dict[UUID, FinishedAttempt]) -> tuple[Case, Case]:
    """What becomes of each operation, by its job: a cancelled job aborts, any other fails it."""
    cancelled = [key for key, attempt in ended.items() if attempt.outcome == Job.Status.CANCELLED]
    status = Case(
        When(job_id__in=cancelled, then=Value(BulkOperation.Status.ABORTED.value)),
        default=Value(BulkOperation.Status.FAILED.value),
    )
    errors = [When(job_id=key, then=Value(_why(attempt))) for key, attempt in ended.items()]
    return status, Case(*errors, default=F("error"), output_field=TextField())


def _why(attempt: FinishedAttempt) -> str:
    said = code_and_message(attempt.error) or {"message": ""}
    return (
        f"Its job was {attempt.outcome}: {said['message']}"
        if said["message"]
        else f"Its job {attempt.outcome}."
    )
