"""`python -m benchmarks [figure ...] [--quick]`: measure, print a table, write results/latest.json."""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback

import django

from benchmarks.database import fresh_database, use_own_database
from benchmarks.figures import FIGURES


def main() -> int:
    """Measure the figures asked for; 1 where a measurement failed, whether or not targets are met."""
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measure what the platform promises.")
    parser.add_argument("figures", nargs="*", metavar="figure", help=f"some of: {', '.join(FIGURES)}")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it runs, not how fast")
    options = parser.parse_args()
    if unknown := set(options.figures) - FIGURES.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")

    server = use_own_database()
    django.setup()
    from benchmarks.report import machine_facts, show_results, write_results

    with fresh_database(server):
        machine = machine_facts(is_quick=options.quick)
        asked = [FIGURES[name].module for name in options.figures or FIGURES]
        values, has_failed = measure(list(dict.fromkeys(asked)), is_quick=options.quick)
    show_results(values)
    write_results(values, machine)
    return int(has_failed)


def measure(modules: list[str], *, is_quick: bool) -> tuple[dict[str, float], bool]:
    """Run the modules one after the other; one that fails doesn't take the others' figures with it."""
    values: dict[str, float] = {}
    has_failed = False
    for module in modules:
        print(f"measuring {module} …", file=sys.stderr)
        try:
            values |= importlib.import_module(f"benchmarks.{module}").measure(is_quick=is_quick)
        except Exception:
            traceback.print_exc()
            has_failed = True
    return values, has_failed


if __name__ == "__main__":
    sys.exit(main())
