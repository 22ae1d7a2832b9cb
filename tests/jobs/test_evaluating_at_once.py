"""Runs of the evaluator beside each other and beside everything else: nothing is judged twice, nobody waits."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any

import pytest
from django.db import close_old_connections, connection, transaction

from jobs.evaluator import runs
from jobs.evaluator.rules import Units, rules
from jobs.evaluator.runs import evaluate
from jobs.models import EvaluationRun, Job, ProblemAlert, Tenant, Workflow
from jobs.queue.claim import claim_in_house
from jobs.services.jobs import retry_job
from tests.factories import make_job, make_tenant
from tests.jobs.together import at_once
from tests.units import Place, make_generation, make_lone_job

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def place() -> Place:
    return Place.of(make_tenant("acme"))


@contextmanager
def locked(unit: Job | Workflow) -> Iterator[None]:
    """Somebody else is at a unit."""

    def hold(begun: Barrier, over: Barrier) -> None:
        try:
            with transaction.atomic():
                type(unit).objects.select_for_update().get(pk=unit.pk)
                begun.wait(10)
                over.wait(10)
        finally:
            connection.close()

    begun, over = Barrier(2), Barrier(2)
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(hold, begun, over)
        begun.wait(10)
        try:
            yield
        finally:
            over.wait(10)
        held.result(10)


def test_runs_at_once_share_the_work(place: Place) -> None:
    for _ in range(40):
        make_generation(place, outputs=[])
        make_lone_job(place, status="failed", attempt=1, error={"code": "oom", "message": "no"})

    made = at_once(*[lambda: evaluate(chunk=7)] * 3)

    # what one has locked another passes over, and may end before it; so none is left, and none is told of twice
    evaluate()
    assert sum(run.evaluated_count for run in EvaluationRun.objects.all()) == 80
    assert not Workflow.objects.filter(is_cleanup_evaluated=False).exists()
    assert len(made) == 3
    told = {alert.problem_type: alert.untold_count for alert in ProblemAlert.objects.all()}
    assert told.keys() == {"missing_output", "worker_failed"}


@pytest.mark.parametrize("make", [make_generation, make_lone_job])
def test_a_unit_that_somebody_is_at_is_passed_over(place: Place, make: Any) -> None:
    mine, other = make(place), make(place)

    with locked(mine):
        assert evaluate().evaluated_count == 1

    mine.refresh_from_db()
    other.refresh_from_db()
    assert (mine.is_cleanup_evaluated, other.is_cleanup_evaluated) == (False, True)
    assert evaluate().evaluated_count == 1


def test_claims_pass_over_what_is_being_judged(place: Place) -> None:
    jobs = [make_job(place.tenant) for _ in range(3)]
    with locked(jobs[0]):
        claimed = claim_in_house("default", "worker-1")

    assert [row.id for row in claimed] == [jobs[1].pk]


def test_a_retry_that_comes_in_between_is_evaluated_anew(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The retry waits for the verdict that is being stored, and clears it."""
    job = make_lone_job(place, status="failed", attempt=1, error={"code": "oom", "message": "no"})
    judging, retrying = Barrier(2), Barrier(2)

    def pause(units: Units) -> list[Any]:
        if units.model is Job:
            judging.wait(10)
            retrying.wait(10)
        return []

    monkeypatch.setattr(runs, "rules", [*rules, pause])

    def retry() -> None:
        judging.wait(10)
        close_old_connections()
        retrying.wait(10)
        try:
            retry_job(Job.objects.get(pk=job.pk), by="ann")
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(retry)
        evaluate()
        waiting.result(10)

    job.refresh_from_db()
    assert (job.status, job.is_cleanup_evaluated, job.problem_type) == ("queued", False, "")


def test_a_run_that_is_cut_off_loses_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(6):
        make_generation(place, outputs=[])
    chunks = 0

    def fail_at_the_second(units: Units) -> list[Any]:
        nonlocal chunks
        chunks += 1
        if chunks == 2:
            raise KeyboardInterrupt  # as the process ends
        return []

    with monkeypatch.context() as patched:
        patched.setattr(runs, "rules", [*rules, fail_at_the_second])
        with pytest.raises(KeyboardInterrupt):
            evaluate(chunk=2)
    assert Workflow.objects.filter(is_cleanup_evaluated=True).count() == 2
    assert ProblemAlert.objects.get().untold_count == 2
    assert EvaluationRun.objects.get().finished_at is None

    assert evaluate().evaluated_count == 4
    assert not Workflow.objects.filter(is_cleanup_evaluated=False).exists()


def test_tenants_are_told_apart(place: Place) -> None:
    other: Tenant = make_tenant("globex")
    make_generation(place, outputs=[])
    make_generation(Place.of(other), outputs=[])

    evaluate()

    assert set(ProblemAlert.objects.values_list("tenant__slug", "problem_type")) == {
        ("acme", "missing_output"),
        ("globex", "missing_output"),
    }
