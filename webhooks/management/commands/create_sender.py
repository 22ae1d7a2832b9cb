"""`manage.py create_sender SLUG --name …`: adds a sender and prints its secret alone."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs.errors import DomainError
from jobs.models import Tenant
from webhooks.models import Sender
from webhooks.services.senders import create_sender, rotate_sender_secret


class Command(BaseCommand):
    help = (
        "Add a system whose signed calls a tenant listens to; prints its secret, which can't be shown again."
    )

    stealth_options = (
        "secret",
    )  # of call_command() alone: an argument is in the process list and the history

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="the tenant's slug")
        parser.add_argument("--name", required=True, help="what calls")
        parser.add_argument(
            "--rotate", action="store_true", help="where there is one of this name, give it a new secret"
        )
        parser.add_argument(
            "--secret-from-stdin", action="store_true", help="read the secret, do not make one"
        )

    def handle(
        self,
        *args: Any,
        slug: str,
        name: str,
        rotate: bool,
        secret_from_stdin: bool,
        secret: str = "",
        **options: Any,
    ) -> None:
        tenant = Tenant.objects.filter(slug=slug).first()
        if tenant is None:
            raise CommandError(f"There is no tenant {slug!r}; create_tenant adds one.")
        given = sys.stdin.readline().strip() if secret_from_stdin else secret
        if secret_from_stdin and not given:
            raise CommandError("There is no secret on standard input.")
        sender = Sender.objects.of_tenant(tenant).filter(name=name).first() if rotate else None
        try:
            if sender is None:
                _, text = create_sender(tenant, name=name, secret=given)
            else:
                text = rotate_sender_secret(sender, secret=given)
        except DomainError as error:
            raise CommandError(error.detail) from error
        if not given:
            self.stdout.write(text)
