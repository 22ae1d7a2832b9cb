"""Verbs that give new secrets: asked first, answered with a page that is the only one ever to show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.debug import sensitive_variables

from jobs.admin.access.revealing import reason_of
from jobs.admin.api_keys import ShownOnce
from jobs.admin.displays import page_url
from jobs.admin.selections import selection_of
from jobs.admin.verbs import Verb, VerbAdmin
from jobs.services.audit import Actor, record_audit

# Each is a transaction of its own, and the confirmation names every one.
BULK_MAX = 200
GIVEN = "given a new secret"


@dataclass(frozen=True, kw_only=True)
class SecretVerb(Verb):
    """A verb whose `run` answers a secret: no job ever does it, for nobody would see what it gives."""


def no_word_of_it(secret: Any) -> str:
    """What is told of a secret anywhere but on its page."""
    return GIVEN


class SecretsAdmin(VerbAdmin):
    """Records with verbs, some of which give new secrets."""

    def act(self, request: HttpRequest, queryset: QuerySet[Any], verb: Verb) -> HttpResponse | None:
        if not isinstance(verb, SecretVerb):
            return super().act(request, queryset, verb)
        if "confirmed" not in request.POST:
            return self.ask(request, selection_of(self, request, queryset), verb)
        return self.give_secrets(request, list(queryset[:BULK_MAX]), verb)

    @sensitive_variables("secrets")
    def give_secrets(self, request: HttpRequest, records: list[Any], verb: SecretVerb) -> HttpResponse | None:
        """Give each a new secret and show them in the answer, and nowhere else."""
        if not records:
            self.message_user(request, f"There are no {self.opts.verbose_name_plural} among those.")
            return None
        by, reason, secrets = Actor.of_request(request), reason_of(request), []
        # All or none: a secret that was given and is not shown would be lost.
        with transaction.atomic():
            for record in records:
                secrets.append((record, ShownOnce(verb.run(record, by.name, reason))))
                record_audit(by, verb.word, record, reason=reason, outcome=GIVEN)
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

    @property
    def list_url(self) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
