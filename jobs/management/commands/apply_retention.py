"""`manage.py apply_retention [--dry-run]`: forgets what has been kept long enough, now rather than within the hour."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs.hygiene.retention import Old, RetentionFailed, apply_retentions, retentions

LINE = "{:<20} {:>8} {:>12}  {:<17} {}"


class Command(BaseCommand):
    help = "Delete what has been kept long enough; with --dry-run, say what that would be and delete nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="count, and delete nothing")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        olds = {retention.name: retention.find_old() for retention in retentions}
        if dry_run:
            self._report(olds, {name: old.count for name, old in olds.items()}, "would go")
            return
        try:
            self._report(olds, apply_retentions(), "gone")
        except RetentionFailed as error:
            self._report(olds, error.gone, "gone")
            raise CommandError(str(error)) from error

    def _report(self, olds: Mapping[str, Old], counts: Mapping[str, int], heading: str) -> None:
        self.stdout.write(LINE.format("", "kept for", heading, "oldest", "which of them"))
        for retention in retentions:
            count, oldest = counts.get(retention.name), olds[retention.name].oldest
            line = LINE.format(
                retention.name,
                _words(retention.kept_for()),
                "failed" if count is None else f"{count:,}",
                f"{oldest:%Y-%m-%d %H:%M}" if oldest else "–",
                retention.condition,
            )
            self.stdout.write(line.rstrip())


def _words(length: timedelta) -> str:
    return f"{length.days} d" if length.days > 1 else f"{length.total_seconds() / 3_600:.0f} h"
