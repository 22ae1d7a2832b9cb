"""What operators do to jobs and workflows, one by one or many at once: asked first, counted afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString

from jobs.admin.displays import page_url
from jobs.admin.records import RecordAdmin
from jobs.errors import DomainError
from jobs.queue.outcomes import UNSTORABLE

# Each record is a transaction of its own, and the confirmation names every one: more would outlast a request.
BULK_MAX = 500
GONE = "No longer among those this list shows."

Action = Callable[["VerbAdmin", HttpRequest, QuerySet[Any]], HttpResponse | None]


@dataclass(frozen=True, kw_only=True)
class Verb:
    """What an operator may ask for: the action's name, the question, the service, what came of it."""

    action: str
    title: str
    icon: str
    question: str
    is_grave: bool = False
    takes_reason: bool = True
    needs_reason: bool = False
    is_offered: Callable[[Any], bool]  # on the page of this record
    run: Callable[[Any, str, str], Any]  # record, by, reason; raises DomainError
    outcome: Callable[[Any], str]


class AskingAdmin(RecordAdmin):
    """Records that something is done to; `what` and `state` are how a question names a record."""

    def what(self, record: Any) -> SafeString:
        raise NotImplementedError

    def state(self, record: Any) -> SafeString:
        raise NotImplementedError

    def serve_each(
        self,
        request: HttpRequest,
        records: Sequence[Any],
        serve: Callable[[Any], tuple[Any, str]],
        *,
        title: str,
        remark: str = "",
    ) -> tuple[Counter[str], Counter[str]]:
        """Do it one by one and log it; how many came to what, and how many were refused and why.

        `serve` answers the record as it is now, with what came of it, and raises DomainError where it is refused.
        """
        done: Counter[str] = Counter()
        refused: Counter[str] = Counter()
        for record in records:
            try:
                changed, outcome = serve(record)
            except DomainError as error:
                refused[error.detail] += 1
            except ObjectDoesNotExist:
                refused[GONE] += 1
            else:
                done[outcome] += 1
                self.log_change(request, changed, f"{title}: {outcome}. {remark}".strip())
        # Fewer are named than there are where all of a list are selected.
        if (gone := len(request.POST.getlist(ACTION_CHECKBOX_NAME)) - len(records)) > 0:
            refused[GONE] += gone
        return done, refused

    def counted(self, count: int) -> str:
        noun = self.opts.verbose_name if count == 1 else self.opts.verbose_name_plural
        return f"{count} {noun}"


class VerbAdmin(AskingAdmin):
    """Records with verbs, to which upper floors add theirs."""

    def verbs(self) -> list[Verb]:
        """The floor's own and what upper floors add to them."""
        raise NotImplementedError

    @property
    def actions(self) -> list[Action]:
        """An action for each verb; asked for anew each time, for upper floors come later."""
        return [_action_of(verb) for verb in self.verbs()]

    def offered(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        """What the template of a record's page shows of verbs."""
        verbs = self.verbs() if self.has_operate_permission(request) else []
        return {
            "verbs": [verb for verb in verbs if verb.is_offered(record)],
            "checkbox_name": ACTION_CHECKBOX_NAME,
        }

    def act(self, request: HttpRequest, queryset: QuerySet[Any], verb: Verb) -> HttpResponse | None:
        """Ask first; once confirmed, do it one by one and tell how many were done, how many refused and why."""
        records = list(queryset[:BULK_MAX])
        reason = UNSTORABLE.sub("\ufffd", request.POST.get("reason", "")[:1_000])
        if "confirmed" not in request.POST:
            return self.ask(request, records, verb)
        if verb.needs_reason and not reason.strip():
            self.message_user(request, "Say why.", messages.WARNING)
            return self.ask(request, records, verb)

        def serve(record: Any) -> tuple[Any, str]:
            changed = verb.run(record, request.user.get_username(), reason)
            return changed, verb.outcome(changed)

        done, refused = self.serve_each(request, records, serve, title=verb.title, remark=reason)
        self.tell(request, done, refused)
        return HttpResponseRedirect(page_url(records[0])) if records and "from_page" in request.POST else None

    def ask(self, request: HttpRequest, records: list[Any], verb: Verb) -> TemplateResponse:
        is_all = request.POST.get("select_across") == "1"
        is_from_page = "from_page" in request.POST
        context = {
            **self.admin_site.each_context(request),
            "title": f"{verb.title} {self.counted(len(records))}?",
            "opts": self.opts,
            "verb": verb,
            "rows": [(record, self.what(record), self.state(record)) for record in records],
            "is_capped": is_all and len(records) == BULK_MAX,
            "checkbox_name": ACTION_CHECKBOX_NAME,
            "from_page": is_from_page,
            "back": page_url(records[0]) if records and is_from_page else request.get_full_path(),
        }
        return TemplateResponse(request, "admin/jobs/confirm.html", context)

    def tell(self, request: HttpRequest, done: Counter[str], refused: Counter[str]) -> None:
        for outcome, count in done.items():
            self.message_user(request, f"{self.counted(count)} {outcome}.", messages.SUCCESS)
        for why, count in refused.items():
            self.message_user(request, f"{self.counted(count)} refused: {why}", messages.WARNING)


def _action_of(verb: Verb) -> Action:
    @admin.action(permissions=["operate"], description=f"{verb.title} selected %(verbose_name_plural)s")
    def act(model_admin: VerbAdmin, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return model_admin.act(request, queryset, verb)

    act.__name__ = verb.action
    return act
