"""`manage.py seed_demo --jobs N`: adds the history of some busy days, under tenants named demo-…"""

from __future__ import annotations

import os
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from jobs.demo.seeding import catalogue
from jobs.demo.seeding.batches import Plan
from jobs.demo.seeding.run import ensure_tenants, seed, settle
from jobs.models import Tenant

TENANTS_MAX = len(catalogue.TENANTS) + len(catalogue.MORE_TENANTS)


class Command(BaseCommand):
    help = (
        "Add made-up work of some days: jobs, workflows, attestations, webhooks, evaluations, charts. It only adds, "
        "under tenants named demo-…, and has nothing sent or run."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--jobs", type=int, default=10_000, help="how many (default: 10,000)")
        parser.add_argument(
            "--tenants", type=int, default=3, help=f"over how many, up to {TENANTS_MAX} (default: 3)"
        )
        parser.add_argument("--days", type=float, default=7, help="of how many days (default: 7)")
        parser.add_argument(
            "--seed", type=int, default=1, help="the same number makes up the same (default: 1)"
        )
        parser.add_argument(
            "--processes", type=int, default=0, help="that write (default: one per core, up to 4)"
        )
        parser.add_argument("--yes", action="store_true", help="also where there are tenants of other names")

    def handle(
        self,
        *args: Any,
        jobs: int,
        tenants: int,
        days: float,
        seed: int,
        processes: int,
        yes: bool,
        **options: Any,
    ) -> None:
        self._check(jobs, tenants, days, yes)
        plan = Plan(jobs=jobs, days=days, seed=seed, now=timezone.now(), tenants=ensure_tenants(tenants))
        self._seed(plan, processes or min(os.cpu_count() or 1, 4))

    def _check(self, jobs: int, tenants: int, days: float, yes: bool) -> None:
        if jobs < 1 or not 1 <= tenants <= TENANTS_MAX or not 0 < days <= 90:
            raise CommandError(f"At least one job, 1 to {TENANTS_MAX} tenants, and up to 90 days.")
        others = Tenant.objects.exclude(slug__startswith="demo")
        if not yes and others.exists():
            raise CommandError(
                f"This platform has tenants of its own, like {others[0].slug}. Say --yes to add made-up work beside theirs."
            )

    def _seed(self, plan: Plan, processes: int) -> None:
        seed(plan, processes=processes, on_progress=lambda done: self._tell(done, plan.jobs))
        settle()
        self.stdout.write(f"{plan.jobs:,} jobs over {plan.days:g} days, of {len(plan.tenants)} tenants.")

    def _tell(self, done: int, total: int) -> None:
        end = "\n" if done >= total else "\r" if self.stderr.isatty() else "\n"
        self.stderr.write(f"{done:,} of {total:,} jobs", ending=end)
