"""What operators do to records of every floor: asked first, audited always, and a job of its own where it is many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ObjectDoesNotExist
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString

from jobs.admin.access.revealing import reason_of
from jobs.admin.access.scoping import restriction_of
from jobs.admin.displays import page_url
from jobs.admin.records import RecordAdmin
from jobs.admin.selections import Selection, in_words, selection_of
from jobs.errors import DomainError
from jobs.ids import uuid7
from jobs.services.audit import Actor, record_audit
from jobs.services.operations import NewOperation, start_operation

GONE = "No longer among those this list shows."

Action = Callable[["VerbAdmin", HttpRequest, QuerySet[Any]], HttpResponse | None]


def always(record: Any) -> bool:
    return True


def nothing(record: Any) -> str:
    return ""


@dataclass(frozen=True, kw_only=True)
class Verb:
    """What an operator may ask for: how it is called, what it means, the service, what came of it.

    `word` is its name in the audit log, `label` that of its button on a record's page. `run` takes the record, who asks
    and why, and raises DomainError where it is refused; `outcome` puts into words what it answers. Where that may be
    too much for one transaction, `run` does `lot_size` at most and answers how many, again and again until it does
    fewer: each lot is noted with what it did.
    """

    action: str
    word: str
    title: str
    icon: str
    question: str
    label: str = ""
    remark: Callable[[list[Any]], str] | None = None  # of some of the records, before the question
    is_grave: bool = False
    is_asked_on_page: bool = True
    needs_reason: bool = False
    permission: str = "operate"
    lot_size: int = 0
    spared: Callable[[Any], str] = nothing  # why this record is not for operations on lists; "" where it is
    is_offered: Callable[[Any], bool] = always  # on the page of this record
    run: Callable[[Any, str, str], Any]  # record, by, reason; raises DomainError
    outcome: Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a verb, or why it was refused; of one lot, where more follow."""

    text: str
    is_refused: bool = False
    has_more: bool = False


def perform(verb: Verb, record: Any, *, by: str, reason: str, note: Callable[[Done], None]) -> Done:
    """Do it to one record and `note` what came of it: both or neither, lot by lot where there are such."""
    try:
        if verb.lot_size:
            return _perform_in_lots(verb, record, by, reason, note)
        with transaction.atomic():
            done = Done(verb.outcome(verb.run(record, by, reason)))
            note(done)
            return done
    except DomainError as error:  # what it had begun is undone
        done = Done(error.detail, is_refused=True)
    except ObjectDoesNotExist:
        done = Done(GONE, is_refused=True)
    with transaction.atomic():
        note(done)
    return done


def _perform_in_lots(verb: Verb, record: Any, by: str, reason: str, note: Callable[[Done], None]) -> Done:
    """Do it lot by lot; the last is noted with what they come to, as far as they are this process's."""
    total = lots = 0
    while True:
        with transaction.atomic():
            count = verb.run(record, by, reason)
            total, lots = total + count, lots + 1
            if count == verb.lot_size:
                note(Done(f"{verb.outcome(count)}, and more follow", has_more=True))
                continue
            done = Done(verb.outcome(total) + (f", in {lots} lots" if lots > 1 else ""))
            note(done)
            return done


class VerbAdmin(RecordAdmin):
    """Records with verbs, to which upper floors add theirs; `what` and `state` are how a question names a record."""

    audited_fields: ClassVar[tuple[str, ...]] = ("status",)

    def verbs(self) -> list[Verb]:
        """The floor's own and what upper floors add to them."""
        raise NotImplementedError

    def what(self, record: Any) -> SafeString:
        raise NotImplementedError

    def state(self, record: Any) -> SafeString:
        raise NotImplementedError

    def verb_named(self, action: str) -> Verb | None:
        return next((verb for verb in self.verbs() if verb.action == action), None)

    @property
    def actions(self) -> list[Action]:
        """An action for each verb; asked for anew each time, for upper floors come later."""
        return [_action_of(verb) for verb in self.verbs()]

    def may(self, request: HttpRequest, verb: Verb) -> bool:
        """Whether this account may ask for it at all."""
        return bool(getattr(self, f"has_{verb.permission}_permission")(request))

    def offered(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        """What the template of a record's page shows of verbs."""
        return {
            "verbs": [verb for verb in self.verbs() if self.may(request, verb) and verb.is_offered(record)],
            "checkbox_name": ACTION_CHECKBOX_NAME,
        }

    def audited(self, record: Any) -> dict[str, Any]:
        """What the audit log keeps of a record before and after: its state, and nothing that anybody has sent."""
        return {name: _as_json(getattr(record, name)) for name in self.audited_fields}

    def counted(self, count: int, *, is_capped: bool = False) -> str:
        noun = self.opts.verbose_name if count == 1 else self.opts.verbose_name_plural
        return f"{count:,}{'+' if is_capped else ''} {noun}"

    # --- Asking -------------------------------------------------------------------------------------

    def act(self, request: HttpRequest, queryset: QuerySet[Any], verb: Verb) -> HttpResponse | None:
        """Ask first; then do it, to the record whose page it was asked on at once, to those of a list by a job."""
        selection = selection_of(self, request, queryset)
        if "confirmed" not in request.POST and (verb.is_asked_on_page or not _is_of_page(request, selection)):
            return self.ask(request, selection, verb)
        reason = reason_of(request)
        if verb.needs_reason and not reason:
            self.message_user(request, "Say why.", messages.WARNING)
            return self.ask(request, selection, verb)
        if _is_of_page(request, selection):
            return self.act_on_page(request, selection, verb, reason)
        return self.act_on_list(request, selection, verb, reason)

    def ask(self, request: HttpRequest, selection: Selection, verb: Verb) -> TemplateResponse:
        is_of_page = _is_of_page(request, selection)
        counted = self.counted(selection.count, is_capped=selection.is_capped)
        context = {
            **self.admin_site.each_context(request),
            "title": f"{verb.title} {counted}?",
            "opts": self.opts,
            "verb": verb,
            "question": f"{verb.remark(selection.sample) if verb.remark else ''} {verb.question}".strip(),
            "selection": selection,
            "counted": counted,
            "filters": in_words(selection.query),
            "rows": [(record, self.what(record), self.state(record)) for record in selection.sample],
            "keys": selection.keys
            if not selection.is_all
            else [record.pk for record in selection.sample[:1]],
            "operation_id": "" if is_of_page else uuid7(),
            "checkbox_name": ACTION_CHECKBOX_NAME,
            "from_page": is_of_page,
            "back": page_url(selection.sample[0])
            if is_of_page and selection.sample
            else request.get_full_path(),
        }
        return TemplateResponse(request, "admin/jobs/confirm.html", context)

    # --- Doing --------------------------------------------------------------------------------------

    def act_on_page(
        self, request: HttpRequest, selection: Selection, verb: Verb, reason: str
    ) -> HttpResponse | None:
        """Do it to this one record here and now, and lead back to its page."""
        if not selection.sample:
            self.message_user(request, f"{self.counted(1)} refused: {GONE}", messages.WARNING)
            return None
        (record,) = selection.sample
        done = self.perform_here(request, record, verb, reason)
        if done.is_refused:
            self.message_user(request, f"{self.counted(1)} refused: {done.text}", messages.WARNING)
        else:
            self.message_user(request, f"{self.counted(1)} {done.text}.", messages.SUCCESS)
        return HttpResponseRedirect(page_url(record))

    def perform_here(self, request: HttpRequest, record: Any, verb: Verb, reason: str) -> Done:
        """Do it to a record, with an entry in the audit log and, where it was done, in its history."""
        before = self.audited(record)

        def note(done: Done) -> None:
            self.audit(Actor.of_request(request), verb, record, before, done, reason)
            if not (done.is_refused or done.has_more):
                self.log_change(request, record, f"{verb.title}: {done.text}. {reason}".strip())

        return perform(verb, record, by=request.user.get_username(), reason=reason, note=note)

    def audit(
        self,
        actor: Actor,
        verb: Verb,
        record: Any,
        before: dict[str, Any],
        done: Done,
        reason: str,
        *,
        operation_id: UUID | None = None,
    ) -> None:
        """Note in the audit log what came of a verb, in the transaction of it."""
        record_audit(
            actor,
            verb.word,
            record,
            before=before,
            after=None if done.is_refused else self.audited(record),
            reason=reason,
            outcome=done.text,
            is_refused=done.is_refused,
            operation_id=operation_id,
        )

    def act_on_list(
        self, request: HttpRequest, selection: Selection, verb: Verb, reason: str
    ) -> HttpResponse | None:
        """Have a job do it, and lead to the page where one can watch."""
        if not selection.count:
            self.message_user(
                request, f"There are no {self.opts.verbose_name_plural} to {verb.title.lower()}."
            )
            return None
        new = NewOperation(
            id=_asked_with(request),
            model=self.opts.label,
            verb=verb.action,
            title=verb.title,
            word=verb.word,
            keys=selection.keys,
            query=selection.query,
            newest=selection.newest,
            total_count=selection.count,
            is_total_capped=selection.is_capped,
            reason=reason,
            tenant_id=restriction_of(request.user),
        )
        try:
            operation = start_operation(new, by=Actor.of_request(request))
        except DomainError as error:
            self.message_user(request, error.detail, messages.WARNING)
            return None
        return HttpResponseRedirect(page_url(operation))


def _is_of_page(request: HttpRequest, selection: Selection) -> bool:
    """Whether it was asked for on the page of the one record it is about."""
    return "from_page" in request.POST and selection.keys is not None and len(selection.keys) == 1


def _asked_with(request: HttpRequest) -> UUID:
    """The id that the question gave to the operation to be."""
    try:
        return UUID(request.POST.get("operation", ""))
    except ValueError:
        return uuid7()


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def _action_of(verb: Verb) -> Action:
    @admin.action(permissions=[verb.permission], description=f"{verb.title} selected %(verbose_name_plural)s")
    def act(model_admin: VerbAdmin, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return model_admin.act(request, queryset, verb)

    act.__name__ = verb.action
    return act
