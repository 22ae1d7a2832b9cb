"""`manage.py create_api_key SLUG --name … --scopes submit,read`: adds a key and prints its text alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from jobs.errors import DomainError
from jobs.models import Scope, Tenant
from jobs.tenancy.services import create_api_key


class Command(BaseCommand):
    help = "Add an API key to a tenant; prints the key, which can't be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="the tenant's slug")
        parser.add_argument("--name", required=True, help="what the key is for")
        parser.add_argument("--scopes", required=True, help=f"some of {','.join(Scope.values)}")
        parser.add_argument(
            "--expires-in-days", type=int, help="days until it stops working (default: never)"
        )

    def handle(
        self, *args: Any, slug: str, name: str, scopes: str, expires_in_days: int | None, **options: Any
    ) -> None:
        tenant = Tenant.objects.filter(slug=slug).first()
        if tenant is None:
            raise CommandError(f"There is no tenant {slug!r}; create_tenant adds one.")
        expires_at = timezone.now() + timedelta(days=expires_in_days) if expires_in_days else None
        try:
            _, text = create_api_key(tenant, name=name, scopes=scopes.split(","), expires_at=expires_at)
        except DomainError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(text.text)
