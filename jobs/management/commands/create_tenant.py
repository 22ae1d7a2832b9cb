"""`manage.py create_tenant SLUG`: adds a tenant and prints its id."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs.errors import DomainError
from jobs.tenancy.services import create_tenant


class Command(BaseCommand):
    help = "Add a tenant; prints its id."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="lowercase letters, digits and hyphens")
        parser.add_argument("--name", default="", help="what people call it (default: the slug)")

    def handle(self, *args: Any, slug: str, name: str, **options: Any) -> None:
        try:
            tenant = create_tenant(slug, name=name)
        except DomainError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(str(tenant.pk))
