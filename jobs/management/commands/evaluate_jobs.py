"""`manage.py evaluate_jobs`: judges all work that is to be judged, now rather than at the next ten minutes."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from jobs.evaluator.runs import evaluate
from jobs.models import EvaluationRun


class Command(BaseCommand):
    help = "Say of all work that has ended or is overdue whether it is truly done: made, attested, its user told."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(report(evaluate()))


def report(run: EvaluationRun) -> str:
    """A run in lines: how much, how long, and what was found."""
    lines = [
        f"{run.evaluated_count:,} evaluated in {run.duration_ms:,} ms; {run.waiting_count:,} too early to say"
    ]
    lines += [f"  {category:<24} {count:>10,}" for category, count in sorted(run.categories.items())]
    if run.problems:
        lines.append("problems")
        lines += [f"  {problem:<24} {count:>10,}" for problem, count in sorted(run.problems.items())]
    return "\n".join(lines)
