"""Shows what was measured, and keeps it in `results/latest.json`."""

from __future__ import annotations

import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.database import query
from benchmarks.figures import FIGURES, is_met

LATEST = Path(__file__).parent / "results" / "latest.json"
COLUMNS = ("figure", "value", "unit", "target", "met")


def machine_facts(*, is_quick: bool) -> dict[str, Any]:
    """What the figures depend on besides the code."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "postgresql": query("SHOW server_version")[0],
        "load_average": round(os.getloadavg()[0], 1),  # before it began: what else the machine was doing
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "is_quick": is_quick,
    }


def write_results(values: dict[str, float], machine: dict[str, Any]) -> None:
    """Write `{"<figure>": {"value", "unit", "target", "met"}, …, "machine": {…}}`."""
    results: dict[str, Any] = {
        name: {
            "value": round(value, 3),
            "unit": FIGURES[name].unit,
            "target": FIGURES[name].target,
            "met": is_met(name, values),
        }
        for name, value in values.items()
    }
    LATEST.parent.mkdir(exist_ok=True)
    LATEST.write_text(json.dumps(results | {"machine": machine}, indent=2) + "\n")


def show_results(values: dict[str, float]) -> None:
    """Print a table; off a terminal, lines of plain text."""
    rows = [
        (
            name,
            f"{value:,.0f}" if value >= 100 else f"{value:.2f}",
            FIGURES[name].unit,
            FIGURES[name].target,
            "yes" if is_met(name, values) else "NO",
        )
        for name, value in values.items()
    ]
    if sys.stdout.isatty():
        table = Table(*COLUMNS)
        for row in rows:
            table.add_row(*row)
        Console().print(table)
    else:
        for row in (COLUMNS, *rows):
            print("{:<26} {:>10} {:<11} {:<9} {}".format(*row))
