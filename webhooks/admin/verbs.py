"""What operators do to records, one by one or many at once: asked first, counted afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.debug import sensitive_variables

from jobs.admin.api_keys import ShownOnce
from jobs.admin.displays import page_url
from jobs.admin.verbs import AskingAdmin

# Each is a transaction of its own, and the confirmation names every one.
BULK_MAX = 200


@dataclass(frozen=True, kw_only=True)
class Question:
    """What an operator is asked before it is done: the action's name, what it is called, what it means."""

    action: str
    title: str
    question: str = ""
    is_grave: bool = False


@dataclass(frozen=True, kw_only=True)
class Verb(Question):
    """What an operator may ask for; without a question it is done at once.

    `run` takes the record and who asks, answers what came of it, and raises DomainError where it is refused.
    """

    run: Callable[[Any, str], str]


class VerbAdmin(AskingAdmin):
    """Records with verbs, some of which give new secrets."""

    def act(
        self, request: HttpRequest, queryset: QuerySet[Any], verb: Verb, *, remark: str = ""
    ) -> HttpResponse | None:
        """Ask first; once confirmed, do it one by one and tell how many were done, how many refused and why."""
        records = list(queryset[:BULK_MAX])
        if verb.question and "confirmed" not in request.POST:
            return self.ask(request, records, verb, remark)

        def serve(record: Any) -> tuple[Any, str]:
            return record, verb.run(record, request.user.get_username())

        done, refused = self.serve_each(request, records, serve, title=verb.title)
        for outcome, count in done.items():
            self.message_user(request, f"{self.counted(count)}: {outcome}.", messages.SUCCESS)
        self.warn_of_cap(request, records)
        for why, count in refused.items():
            self.message_user(request, f"{self.counted(count)} refused: {why}", messages.WARNING)
        return HttpResponseRedirect(self.back_to(request, records)) if "from_page" in request.POST else None

    def ask(
        self, request: HttpRequest, records: list[Any], verb: Question, remark: str = ""
    ) -> TemplateResponse:
        is_all = request.POST.get("select_across") == "1"
        context = {
            **self.admin_site.each_context(request),
            "title": f"{verb.title} {self.counted(len(records))}?",
            "opts": self.opts,
            "verb": verb,
            "question": f"{remark} {verb.question}".strip(),
            "rows": [(record, self.what(record), self.state(record)) for record in records],
            "is_capped": is_all and len(records) == BULK_MAX,
            "checkbox_name": ACTION_CHECKBOX_NAME,
            "from_page": "from_page" in request.POST,
            "back": self.back_to(request, records),
        }
        return TemplateResponse(request, "admin/webhooks/parts/confirm.html", context)

    @sensitive_variables("secrets")
    def act_for_secrets(
        self,
        request: HttpRequest,
        queryset: QuerySet[Any],
        verb: Question,
        make: Callable[[Any], str],
    ) -> HttpResponse:
        """Ask first; once confirmed, give each a new secret and show them in the answer, and nowhere else."""
        records = list(queryset[:BULK_MAX])
        if "confirmed" not in request.POST:
            return self.ask(request, records, verb)
        secrets = []
        # All or none: a secret that was given and is not shown would be lost.
        with transaction.atomic():
            for record in records:
                secrets.append((record, ShownOnce(make(record))))
                self.log_change(request, record, "Given a new secret.")
        self.warn_of_cap(request, records)
        return self.show_secrets(request, secrets)

    def warn_of_cap(self, request: HttpRequest, records: list[Any]) -> None:
        """Say so where all of a list were selected and only the first of them have been done."""
        if request.POST.get("select_across") == "1" and len(records) == BULK_MAX:
            text = f"No more than {BULK_MAX} are done at a time: come again for the others."
            self.message_user(request, text, messages.WARNING)

    def show_secrets(self, request: HttpRequest, secrets: list[tuple[Any, ShownOnce]]) -> TemplateResponse:
        """The only page that ever has them."""
        context = {
            **self.admin_site.each_context(request),
            "title": "The new secret" if len(secrets) == 1 else "The new secrets",
            "opts": self.opts,
            "secrets": secrets,
            "next": page_url(secrets[0][0]) if len(secrets) == 1 else self.list_url,
        }
        return TemplateResponse(request, "admin/webhooks/parts/secrets.html", context)

    def back_to(self, request: HttpRequest, records: list[Model]) -> str:
        """Where an operator came from."""
        is_page = "from_page" in request.POST and records
        return page_url(records[0]) if is_page else request.get_full_path()

    @property
    def list_url(self) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
