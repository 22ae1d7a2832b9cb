"""How long the evaluator takes over a million units, and over none; and what a claim costs meanwhile."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from django.db import connection, transaction

from benchmarks.database import empty_tables, query
from benchmarks.jobs import the_tenant
from benchmarks.processes import running
from jobs.evaluator.runs import evaluate
from jobs.models import EvaluationRun
from jobs.models.jobs import PLATFORM
from jobs.queue.claim import claim_in_house

FILL = (Path(__file__).parent / "sql" / "fill_units.sql").read_text()
PLANS = Path(__file__).parent / "results" / "evaluate_plans.txt"
TABLES = ("jobs_job", "jobs_workflow", "attestations_attestation")
IDLE_RUNS = 20
CLAIMS_BEFORE = 200
HEAD_CHARS = 300
LONG_LIST = re.compile(r"\{[^{}]{200,}\}")
PATIENCE_SECONDS = 900.0


def measure(*, is_quick: bool) -> dict[str, float]:
    """Evaluate a fresh million in a process of its own while claims go on here, and then what is left: nothing."""
    jobs, workflows, queued = (8_000, 2_000, 40_000) if is_quick else (800_000, 200_000, 120_000)
    fill(jobs=jobs, workflows=workflows, queued=queued)
    before = [_claim() for _ in range(CLAIMS_BEFORE)]
    with running("manage.py", "evaluate_jobs") as process:
        beside = _claims_until(lambda: not process.is_running)
        process.wait_for_end(seconds=PATIENCE_SECONDS)
    run = EvaluationRun.objects.latest("pk")
    assert run.evaluated_count == jobs + workflows, (
        f"{run.evaluated_count} of {jobs + workflows} were evaluated"
    )
    assert run.duration_ms is not None
    print(f"  {run.categories} {run.problems}", file=sys.stderr)
    print(f"  claim p50 {median(before):.1f} ms, beside {median(beside):.1f} ms", file=sys.stderr)
    query("VACUUM ANALYZE jobs_job")
    idle = [_millis(evaluate) for _ in range(IDLE_RUNS)]
    write_plans()
    return {
        "evaluate_1m_s": run.duration_ms / 1000 * 1_000_000 / run.evaluated_count,
        "evaluate_idle_ms": median(idle),
        "claim_ratio_while_evaluating": median(beside) / median(before),
    }


def fill(*, jobs: int, workflows: int, queued: int) -> None:
    """Forget all work; add units that have ended and jobs that are due."""
    empty_tables()
    the_tenant()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(FILL, {"jobs": jobs, "workflows": workflows, "queued": queued})
    for table in TABLES:
        query(f"VACUUM ANALYZE {table}")


def _claim() -> float:
    """The milliseconds of one claim of a batch of light jobs."""
    began = time.perf_counter()
    rows = claim_in_house("default", "bench", after=PLATFORM)
    took = (time.perf_counter() - began) * 1000
    assert rows, "the queue is empty"
    return took


def _claims_until(is_over: Callable[[], bool]) -> list[float]:
    """Claims at the pace of a cluster that has some work to do between them."""
    took = []
    while not is_over():
        took.append(_claim())
        time.sleep(0.25)
    return took


def _millis(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def write_plans() -> None:
    """Evaluate one more chunk of each sort, and write down by which plans."""
    with transaction.atomic():
        query(
            "UPDATE jobs_workflow SET is_cleanup_evaluated = false WHERE id IN (SELECT id FROM jobs_workflow LIMIT 2000)"
        )
        query(
            "UPDATE jobs_job SET is_cleanup_evaluated = false"
            " WHERE id IN (SELECT id FROM jobs_job WHERE workflow_id IS NULL AND status = 'completed' LIMIT 2000)"
        )
        with _explained() as plans:
            evaluate()
        transaction.set_rollback(True)
    PLANS.write_text("\n\n".join(plans) + "\n")


@contextmanager
def _explained() -> Iterator[list[str]]:
    """The plans of the statements that go through psycopg meanwhile, each taken just before it is run."""
    plans: list[str] = []
    real = psycopg.Cursor.execute

    def explaining(self: Any, text: Any, params: Any = None, **options: Any) -> Any:
        words = text.decode() if isinstance(text, bytes) else str(text)
        if _has_plan(words):
            plans.append(_plan(real, self.connection, words, params))
        return real(self, text, params, **options)

    psycopg.Cursor.execute = explaining  # type: ignore[method-assign,assignment]
    try:
        yield plans
    finally:
        psycopg.Cursor.execute = real  # type: ignore[method-assign]


def _plan(execute: Any, raw: psycopg.Connection[Any], text: str, params: Any) -> str:
    """The beginning of a statement, and the plan it is run by; what it writes is taken back."""
    with psycopg.Cursor(raw) as cursor:
        execute(cursor, "SAVEPOINT plan")
        execute(cursor, f"EXPLAIN (ANALYZE, TIMING OFF, COSTS OFF, SUMMARY OFF, BUFFERS OFF) {text}", params)
        plan = "\n".join(LONG_LIST.sub("{…}", row[0]) for row in cursor.fetchall())
        execute(cursor, "ROLLBACK TO SAVEPOINT plan")
    return f"{text.strip()[:HEAD_CHARS]}\n\n{plan}"


def _has_plan(text: str) -> bool:
    first = next((line for line in text.splitlines() if line and not line.startswith("--")), "")
    return first.split()[0] in {"SELECT", "WITH", "INSERT", "UPDATE"}
