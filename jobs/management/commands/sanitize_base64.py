"""`manage.py sanitize_base64`: takes base64 out of what was stored before it was kept out."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from jobs.hygiene.cleaning import stores
from jobs.services.cleaning import (
    BATCH,
    Report,
    clean_store,
    disk_bytes,
    has_changed,
    restart_cleaning,
    vacuum_store,
)

BAR_CHARS = 30


class Command(BaseCommand):
    help = (
        "Replace base64 in stored results, errors, events, attestations and receipts by its size and digest. "
        "Goes on where an earlier run has stopped, and reports bytes before and after per table."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only say what would become of the rows")
        parser.add_argument("--restart", action="store_true", help="begin with the first rows again")
        parser.add_argument("--batch", type=int, default=BATCH, help=f"rows per transaction ({BATCH})")
        parser.add_argument(
            "--vacuum-full",
            action="store_true",
            help="rewrite the tables that changed, so that their space returns to the system; locks each meanwhile",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        is_dry = options["dry_run"]
        if options["restart"] and not is_dry:
            restart_cleaning(stores)
        total = Report(table="in all")
        for store in stores:
            report = clean_store(
                store,
                batch=max(options["batch"], 1),
                is_dry=is_dry,
                is_restarted=options["restart"],
                progress=self.show,
            )
            if options["vacuum_full"] and not is_dry and has_changed(store):
                report.disk_after = vacuum_store(store)
            self.tell(report, is_dry=is_dry)
            total.add(report)
            total.disk_before += report.disk_before
            total.disk_after += disk_bytes(store)
        self.tell(total, is_dry=is_dry)
        self.advise(total, options)

    def show(self, report: Report, expected: int) -> None:
        """Draw how far a table has come, on one line; nothing off a terminal, where the report follows."""
        if not self.stderr.isatty():
            return
        share = min(report.rows / expected, 1.0) if expected else 1.0
        bar = "█" * round(share * BAR_CHARS)
        end = "\r" if share < 1 else "\r\033[K"
        self.stderr.write(
            f"\r{report.table:<28} {bar:░<{BAR_CHARS}} {report.rows:,} of {expected:,} rows", ending=end
        )
        self.stderr.flush()

    def tell(self, report: Report, *, is_dry: bool) -> None:
        would = "would change" if is_dry else "changed"
        self.stdout.write(
            f"{report.table}: {report.rows:,} rows read, {report.changed:,} {would}; "
            f"documents {size(report.bytes_before)} → {size(report.bytes_after)} (−{report.reduction:.1%}); "
            f"on disk {size(report.disk_before)} → {size(report.disk_after)}"
        )
        if report.refused:
            self.stdout.write(
                f"{report.table}: {report.refused:,} rows were left as they are, being locked or not intact; "
                "`--restart` comes to them again"
            )

    def advise(self, total: Report, options: dict[str, Any]) -> None:
        if options["dry_run"]:
            self.stdout.write("Nothing was changed.")
        elif total.changed and not options["vacuum_full"]:
            self.stdout.write(
                "PostgreSQL uses the free space for new rows; it returns to the system with VACUUM FULL "
                "(`--vacuum-full`), which locks each table while it is rewritten."
            )


def size(count: int) -> str:
    """Bytes for people."""
    if count < 1_000:
        return f"{count} B"
    return f"{count / 1_000:,.1f} kB" if count < 1_000_000 else f"{count / 1_000_000:,.1f} MB"
