"""`manage.py reseal`: seals every secret anew with the first of ENCRYPTION_KEYS."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from jobs.tenancy.resealing import reseal_all


class Command(BaseCommand):
    help = (
        "Seal every secret in the database anew with the first of ENCRYPTION_KEYS (webhook secrets and headers, "
        "creators' keys), so that the others can be dropped. Fails, and they must stay, where one can't be read."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        resealed = reseal_all()
        if resealed.unread:
            raise CommandError(
                f"{resealed.unread} of {resealed.count} are opened by none of the keys, and were left as they are."
            )
        self.stdout.write(f"{resealed.count} sealed anew.")
