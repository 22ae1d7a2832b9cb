"""`manage.py reseal`: seals every secret anew with the first of ENCRYPTION_KEYS."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Model

from jobs.tenancy.sealing import Unreadable, seal, unseal
from webhooks.models import Endpoint, EndpointSecret, SenderSecret

# Where what is sealed rests.
COLUMNS: list[tuple[type[Model], str]] = [
    (EndpointSecret, "sealed"),
    (SenderSecret, "sealed"),
    (Endpoint, "sealed_headers"),
]


class Command(BaseCommand):
    help = (
        "Seal every webhook secret anew with the first of ENCRYPTION_KEYS, so that the others can be dropped."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        count, unread = 0, 0
        for model, column in COLUMNS:
            rows = model._default_manager.exclude(**{column: ""})
            for key, sealed in rows.values_list("pk", column).iterator():
                count += 1
                try:
                    anew = seal(unseal(sealed))
                except Unreadable:
                    unread += 1
                    continue
                # Where it has been changed meanwhile, that was sealed with the first key already.
                rows.filter(**{"pk": key, column: sealed}).update(**{column: anew})
        if unread:
            raise CommandError(
                f"{unread} of {count} are opened by none of the keys, and were left as they are."
            )
        self.stdout.write(f"{count} sealed anew.")
