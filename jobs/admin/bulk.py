"""Does what a bulk operation is about, record by record, as the account that asked for it and while that may do so."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from uuid import UUID

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.auth.models import User
from django.core.exceptions import ObjectDoesNotExist, SuspiciousOperation, ValidationError
from django.db import transaction
from django.http import HttpRequest

from jobs.admin.access.scoping import restriction_of
from jobs.admin.selections import Listed, as_key, keys_in_turn, request_of
from jobs.admin.verbs import GONE, Done, Verb, VerbAdmin, perform
from jobs.errors import DomainError, InvalidTransition
from jobs.models import BulkOperation
from jobs.queue.envelope import JobEnvelope
from jobs.queue.handlers import PermanentError, TryAgain
from jobs.services.audit import Actor, record_audit
from jobs.services.operations import (
    Overtaken,
    begin_operation,
    count_operation,
    end_operation,
    note_in_operation,
)
from jobs.statements import AWAY

logger = logging.getLogger(__name__)

Found = TypeVar("Found")

# After so many records it is asked anew whether the account may still do it.
AT_ONCE = 100
LOT = 1_000  # keys that are looked up together
READ_AT_ONCE = 20  # records: what the last of them says of itself is a fraction of a second old
TELL_EVERY_SECONDS = 1.0


class Aborted(Exception):
    """Somebody wants the operation to end."""


class NotAllowed(Exception):
    """The operation can't go on: who asked for it may no longer do it, or nobody knows any more what it was."""


class Unexpected(DomainError):
    """A verb has failed in a way it does not know of itself."""


@dataclass(kw_only=True)
class Course:
    """An operation under way."""

    operation: BulkOperation
    envelope: JobEnvelope[Any]
    told_at: float = field(default_factory=time.monotonic)
    told_percent: int = 0

    @property
    def actor(self) -> Actor:
        return Actor(name=self.operation.actor, user_id=self.operation.user_id)

    def tell(self) -> None:
        """Say now and then how far it is, to those who watch the job."""
        percent = percent_of(self.operation)
        if percent == self.told_percent or time.monotonic() - self.told_at < TELL_EVERY_SECONDS:
            return
        self.told_at, self.told_percent = time.monotonic(), percent
        self.envelope.progress(percent, f"{self.operation.handled_count:,} records dealt with")


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The account of an operation, looked up a moment ago: what it may do, and to what."""

    model_admin: VerbAdmin
    verb: Verb
    request: HttpRequest


def run_operation(operation_id: UUID, envelope: JobEnvelope[Any]) -> dict[str, Any]:
    """Go on with an operation from where it is, to its end; what came of it.

    Raises TryAgain where another process goes on with it, and PermanentError where it is gone.
    """
    try:
        operation = begin_operation(operation_id)
    except BulkOperation.DoesNotExist:
        raise PermanentError("The operation is no longer kept.", code="gone") from None
    if not operation.is_over:
        _run(Course(operation=operation, envelope=envelope))
    return {
        "status": operation.status,
        "done": operation.done_count,
        "refused": operation.refused_count,
        "error": operation.error,
    }


def _run(course: Course) -> None:
    operation = course.operation
    try:
        _go_over(course)
    except Aborted:
        end_operation(operation, BulkOperation.Status.ABORTED)
    except NotAllowed as why:
        end_operation(operation, BulkOperation.Status.FAILED, error=str(why))
    except Overtaken:
        operation.refresh_from_db()
        if not operation.is_over:
            course.envelope.checkpoint()
            raise TryAgain("Another process goes on with the operation.", code="overtaken") from None
    else:
        end_operation(operation, BulkOperation.Status.COMPLETED)


def _go_over(course: Course) -> None:
    operation = course.operation
    if operation.abort_requested_at:
        raise Aborted
    standing = _standing_of(operation)
    if operation.is_total_capped and not operation.cursor:
        count_operation(operation, _count(operation, standing))
    while keys := _keys_in_turn(operation, standing):
        for start in range(0, len(keys), AT_ONCE):
            standing = _standing_of(operation)
            for key, record in _records(standing, keys[start : start + AT_ONCE]):
                course.envelope.checkpoint()
                if _deal_with(course, standing, key, record):
                    raise Aborted
                course.tell()


def _standing_of(operation: BulkOperation) -> Standing:
    """Look up whether the account may still do this, and sees what it saw; raises NotAllowed."""
    user = User.objects.filter(pk=operation.user_id, is_active=True, is_staff=True).first()
    if user is None:
        raise NotAllowed(f"The account {operation.actor} may not use the monitor any more.")
    if restriction_of(user) != operation.tenant_id:
        raise NotAllowed(f"The account {operation.actor} sees other tenants now than when it asked for this.")
    model_admin: Any = admin.site.get_model_admin(apps.get_model(operation.model))
    verb = model_admin.verb_named(operation.verb) if isinstance(model_admin, VerbAdmin) else None
    if verb is None:
        raise NotAllowed(f"There is no verb {operation.verb} for {operation.model} any more.")
    request = request_of(user, operation.query)
    if not (model_admin.may(request, verb) and model_admin.has_view_or_change_permission(request)):
        raise NotAllowed(f"The account {operation.actor} may not do this any more.")
    return Standing(model_admin=model_admin, verb=_guarded(verb), request=request)


def _keys_in_turn(operation: BulkOperation, standing: Standing) -> list[Any]:
    return _of_list(lambda: keys_in_turn(standing.model_admin, standing.request, operation, LOT))


def _count(operation: BulkOperation, standing: Standing) -> int:
    """How many there are, all counted: here nobody waits for it."""
    listed = _of_list(lambda: Listed.of(standing.model_admin, standing.request))
    return listed.between(as_key(standing.model_admin, operation.newest), None).count()


def _of_list(find: Callable[[], Found]) -> Found:
    try:
        return find()
    except (IncorrectLookupParameters, SuspiciousOperation, ValidationError) as error:
        raise NotAllowed("The list does not know these filters any more.") from error


def _guarded(verb: Verb) -> Verb:
    """The verb, refusing what it spares, and where it fails unexpectedly: one bad record is not to end the others' turn."""

    def run(record: Any, by: str, reason: str) -> Any:
        try:
            if why := verb.spared(record):
                raise InvalidTransition(why)
            return verb.run(record, by, reason)
        except (*AWAY, DomainError, ObjectDoesNotExist):
            raise
        except Exception as failure:
            logger.exception("bulk operation: a record failed", extra={"recordId": str(record.pk)})
            raise Unexpected(f"Failed unexpectedly: {type(failure).__name__}.") from failure

    return replace(verb, run=run)


def _records(standing: Standing, keys: list[Any]) -> Iterator[tuple[Any, Any]]:
    """The records of these keys, each as it was a moment ago; None for those that the account does not find."""
    model_admin = standing.model_admin
    rows = model_admin.get_queryset(standing.request).defer(*model_admin.list_deferred)
    for start in range(0, len(keys), READ_AT_ONCE):
        some = keys[start : start + READ_AT_ONCE]
        found = {record.pk: record for record in rows.filter(pk__in=some)}
        yield from ((key, found.get(key)) for key in some)


def _deal_with(course: Course, standing: Standing, key: Any, record: Any) -> bool:
    """Do it to the record of this key and note it, together; whether somebody wants the operation aborted."""
    operation, model_admin, verb = course.operation, standing.model_admin, standing.verb
    if record is None:
        return _pass_over(course, verb, key)
    before = model_admin.audited(record)
    is_abort_requested = False

    def note(done: Done) -> None:
        nonlocal is_abort_requested
        model_admin.audit(
            course.actor, verb, record, before, done, operation.reason, operation_id=operation.pk
        )
        if not done.has_more:
            is_abort_requested = note_in_operation(operation, str(key), done.text, is_refused=done.is_refused)

    perform(verb, record, by=operation.actor, reason=operation.reason, note=note)
    return is_abort_requested


def _pass_over(course: Course, verb: Verb, key: Any) -> bool:
    """Note a record that has been deleted, or that the account does not see."""
    operation = course.operation
    with transaction.atomic():
        record_audit(
            course.actor,
            verb.word,
            model=operation.model,
            object_text=str(key),
            reason=operation.reason,
            outcome=GONE,
            is_refused=True,
            operation_id=operation.pk,
            tenant_id=operation.tenant_id,
        )
        return note_in_operation(operation, str(key), GONE, is_refused=True)


def percent_of(operation: BulkOperation) -> int:
    """How far an operation is; below 100 until it has gone over all of them."""
    if operation.status == BulkOperation.Status.COMPLETED or not operation.total_count:
        return 100 if operation.is_over else 0
    return min(99, operation.handled_count * 100 // operation.total_count)
