"""Seeds: makes the tenants, then writes batch by batch, each in a transaction of its own, in one process or several."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import datetime
from multiprocessing import get_context
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from jobs.demo.seeding import catalogue
from jobs.demo.seeding.batches import Plan, SeededTenant, beginnings, parts
from jobs.demo.seeding.counting import count_jobs, write_rollups
from jobs.demo.seeding.judging import judge_batch
from jobs.demo.seeding.planning import batch_count, make_batch
from jobs.demo.seeding.units import write_units
from jobs.demo.seeding.workers import write_workers
from jobs.models import Collection, EvaluationRun, Tenant
from jobs.rollups.folding import sample_queues
from jobs.tenancy.services import create_tenant

Verdicts = Counter[tuple[datetime, str, str]]


def ensure_tenants(count: int) -> tuple[SeededTenant, ...]:
    """The tenants of the demo with their collections, made where they are not there."""
    named = [(slug, name) for slug, name, _ in catalogue.TENANTS]
    named += [(slug, slug.removeprefix("demo-").title()) for slug in catalogue.MORE_TENANTS]
    return tuple(_ensure_tenant(slug, name) for slug, name in named[:count])


def _ensure_tenant(slug: str, name: str) -> SeededTenant:
    tenant = Tenant.objects.filter(slug=slug).first() or create_tenant(slug, name=name)
    keys = tuple(_ensure_collection(tenant, name, services) for name, services, _ in catalogue.RECIPES)
    return SeededTenant(id=tenant.pk, slug=slug, collections=keys)


def _ensure_collection(tenant: Tenant, name: str, services: tuple[catalogue.Service, ...]) -> UUID:
    steps = catalogue.steps_of(services)
    return Collection.objects.get_or_create(tenant=tenant, name=name, defaults={"steps": steps})[0].pk


def seed(plan: Plan, *, processes: int, on_progress: Callable[[int], None]) -> None:
    """Write all batches of a plan; `on_progress` hears after each how many jobs there are by now."""
    with transaction.atomic():
        for beginning in beginnings:
            beginning(plan)
    verdicts: Verdicts = Counter()
    done = 0
    for jobs, said in _written(plan, processes):
        done += jobs
        verdicts += said
        on_progress(done)
    with transaction.atomic():
        _write_evaluations(verdicts)
    sample_queues()


def _written(plan: Plan, processes: int) -> Iterator[tuple[int, Verdicts]]:
    numbers = range(batch_count(plan))
    if min(processes, len(numbers)) <= 1:
        for number in numbers:
            yield write_batch(plan, number)
        return
    connection.close()  # no two processes on one connection
    with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
        for future in as_completed([pool.submit(write_batch, plan, number) for number in numbers]):
            yield future.result()


def write_batch(plan: Plan, number: int) -> tuple[int, Verdicts]:
    """Write one batch; how many jobs it has, and what the evaluator said when."""
    batch = make_batch(plan, number)
    with transaction.atomic():
        write_units(batch)
        write_workers(batch)
        for part in parts:
            part(batch)
        count_jobs(batch)
        judge_batch(batch)
        write_rollups(batch)
    return len(batch.jobs), batch.verdicts


def _write_evaluations(verdicts: Verdicts) -> None:
    """A record for each run of the evaluator that has said something."""
    by_run: dict[datetime, list[tuple[str, str, int]]] = defaultdict(list)
    for (at, category, problem), count in verdicts.items():
        by_run[at].append((category, problem, count))
    for at, said in sorted(by_run.items()):
        EvaluationRun.objects.create(**_evaluation(at, said))


def _evaluation(at: datetime, said: list[tuple[str, str, int]]) -> dict[str, Any]:
    categories: Counter[str] = Counter()
    problems: Counter[str] = Counter()
    for category, problem, count in said:
        categories[category] += count
        if problem:
            problems[problem] += count
    return {
        "started_at": at,
        "finished_at": at,
        "evaluated_count": categories.total(),
        "categories": dict(categories),
        "problems": dict(problems),
    }


def settle() -> None:
    """Bring the planner's statistics up to date, rather than when autovacuum happens to come by."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
