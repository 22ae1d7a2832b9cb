"""`manage.py evaluate_jobs`: judges all work that is to be judged, now rather than at the next ten minutes."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs.evaluator.runs import NotEvaluated, evaluate, reopen
from jobs.models import EvaluationRun, ProblemType


class Command(BaseCommand):
    help = "Say of all work that has ended or is overdue whether it is truly done: made, attested, its user told."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--again",
            choices=ProblemType.values,
            metavar="PROBLEM",
            help="look anew at all work that has this problem, whose cause was mended outside the platform",
        )

    def handle(self, *args: Any, again: str | None, **options: Any) -> None:
        if again:
            self.stdout.write(f"{reopen(ProblemType(again)):,} to be looked at anew")
        try:
            self.stdout.write(report(evaluate()))
        except NotEvaluated as failure:
            raise CommandError(str(failure)) from failure


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
