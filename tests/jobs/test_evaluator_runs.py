"""How a run of the evaluator goes: what it looks at, what it leaves, and who starts it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone
from django_q.models import Schedule

from jobs.evaluator import runs
from jobs.evaluator.rules import Finding, Units, rules
from jobs.evaluator.runs import evaluate
from jobs.models import EvaluationRun, ProblemAlert, Tenant, Workflow
from jobs.models.evaluation import NOT_EVALUATED
from jobs.queue.enqueue import enqueue_job
from jobs.schedules import sync_schedules
from jobs.testing import RunJobs
from tests.jobs.judging import verdict
from tests.units import (
    Place,
    make_failed,
    make_generation,
    make_lone_job,
    make_running,
)

OVERDUE = timedelta(minutes=30)


@pytest.fixture
def place(tenant: Tenant) -> Place:
    return Place.of(tenant)


def test_steps_of_workflows_are_no_units(place: Place) -> None:
    workflow = make_generation(place)

    evaluate()

    assert not workflow.jobs.filter(is_cleanup_evaluated=True).exists()


def test_what_was_evaluated_is_left_alone_until_it_changes(place: Place) -> None:
    workflow = make_generation(place)
    evaluate()
    workflow.refresh_from_db()
    before = workflow.evaluated_at

    run = evaluate()

    workflow.refresh_from_db()
    assert (run.evaluated_count, workflow.evaluated_at) == (0, before)


def test_a_run_is_recorded(place: Place) -> None:
    make_generation(place)
    make_generation(place, outputs=[])
    make_generation(place, notification_status="owed", completed_at=timezone.now())

    run = evaluate()

    assert (run.evaluated_count, run.waiting_count) == (2, 1)
    assert run.categories == {"complete": 1, "incomplete": 1}
    assert run.problems == {"missing_output": 1}
    assert run.finished_at is not None
    assert run.duration_ms is not None


def test_chunks_cover_everything_once(place: Place) -> None:
    made = [make_generation(place) for _ in range(5)] + [make_lone_job(place) for _ in range(5)]
    stuck = [make_running(place, run_at=timezone.now() - OVERDUE) for _ in range(5)]

    run = evaluate(chunk=2)

    assert run.categories == {"complete": len(made), "incomplete": len(stuck)}


def test_the_statements_do_not_grow_with_the_units(place: Place, statements: list[str]) -> None:
    def count() -> int:
        statements.clear()
        evaluate()
        return len(statements)

    make_generation(place, outputs=[], notification_status="failed")
    few = count()
    for _ in range(30):
        make_generation(place, outputs=[], notification_status="failed")
        make_generation(place)

    assert count() <= few


def test_evaluating_clears_what_it_said_before(place: Place) -> None:
    workflow = make_generation(place, outputs=[])
    assert verdict(workflow) == ("incomplete", "missing_output")
    Workflow.objects.filter(pk=workflow.pk).update(outputs=["https://cdn.example.com/a.png"], **NOT_EVALUATED)

    assert verdict(workflow) == ("complete", "")
    assert workflow.problem_details is None


def test_a_unit_that_no_rule_can_bear_holds_up_no_other(
    place: Place, monkeypatch: pytest.MonkeyPatch, run_jobs: RunJobs
) -> None:
    units = [make_generation(place, outputs=[]) for _ in range(9)]
    bad = units[4]

    def fail(chunk: Units) -> list[Finding]:
        if bad.pk in chunk.ids:
            raise ZeroDivisionError("a rule with a fault")
        return []

    monkeypatch.setattr(runs, "rules", [*rules, fail])
    with pytest.raises(runs.NotEvaluated, match="1 unit"):
        evaluate()

    judged = Workflow.objects.filter(is_cleanup_evaluated=True)
    assert set(judged) == {unit for unit in units if unit != bad}
    assert EvaluationRun.objects.get().evaluated_count == 8
    assert ProblemAlert.objects.get().told_at is not None
    enqueue_job("system.evaluate", {})
    (job,) = run_jobs()
    assert (job.status, job.error["code"], job.attempt) == ("failed", "not_evaluated", 1)

    monkeypatch.undo()
    assert verdict(bad) == ("incomplete", "missing_output")


def test_the_command_says_what_it_found(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    make_generation(place)
    make_generation(place, outputs=[])

    call_command("evaluate_jobs")

    said = capsys.readouterr().out.split()
    assert said[:2] == ["2", "evaluated"]
    assert ("missing_output", "1") in zip(said, said[1:], strict=False)


def test_the_command_looks_anew_at_what_has_a_problem(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    mended, other = make_generation(place, outputs=[]), make_failed(place, {"code": "oom", "message": "no"})
    evaluate()
    Workflow.objects.filter(pk=mended.pk).update(outputs=["https://cdn.example.com/a.png"])

    call_command("evaluate_jobs", again="missing_output")

    mended.refresh_from_db()
    assert mended.status_category == "complete"
    assert "1 to be looked at anew" in capsys.readouterr().out
    assert verdict(other) == ("incomplete", "worker_failed")


def test_the_schedule_evaluates_every_ten_minutes(db: None) -> None:
    sync_schedules()

    schedule = Schedule.objects.get(func="system.evaluate")

    assert (schedule.schedule_type, schedule.minutes) == (Schedule.MINUTES, 10)


def test_the_job_of_the_schedule_evaluates(place: Place, run_jobs: RunJobs) -> None:
    workflow = make_generation(place)
    enqueue_job("system.evaluate", {})

    (job,) = run_jobs()

    workflow.refresh_from_db()
    assert workflow.status_category == "complete"
    assert job.result["categories"] == {"complete": 1}
