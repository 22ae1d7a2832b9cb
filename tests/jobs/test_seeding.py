"""`manage.py seed_demo`: made-up histories that the platform would itself have left."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Sum
from django.utils import timezone

from attestations.models import Attestation
from jobs.demo.seeding.batches import Plan
from jobs.demo.seeding.planning import make_batch
from jobs.demo.seeding.run import ensure_tenants
from jobs.evaluator.runs import evaluate
from jobs.models import ErrorGroup, EvaluationRun, Event, Job, Measure, Rollup, Tenant, Worker, Workflow
from jobs.models.evaluation import NOT_EVALUATED
from jobs.models.rollups import EVERYONE
from tests.factories import make_tenant
from webhooks.models import Delivery, Endpoint, Receipt

pytestmark = pytest.mark.django_db

JOBS = 600


def seed(**options: Any) -> str:
    said = StringIO()
    call_command("seed_demo", stdout=said, stderr=StringIO(), **{"jobs": JOBS, "processes": 1, **options})
    return said.getvalue()


def verdicts() -> list[Any]:
    """What stands written of all units that were evaluated, but for when."""
    columns = ("pk", "is_cleanup_evaluated", "status_category", "problem_type")
    return [
        list(model.objects.filter(is_cleanup_evaluated=True).order_by("pk").values_list(*columns))
        for model in (Workflow, Job)
    ]


def test_as_many_jobs_as_asked_for_with_all_that_goes_with_them() -> None:
    said = seed()

    assert said == "600 jobs over 7 days, of 3 tenants.\n"
    assert Job.objects.count() == JOBS
    assert set(Job.objects.values_list("status", flat=True)) >= {"completed", "failed", "cancelled"}
    assert not Job.objects.filter(status="running").exists()
    assert Tenant.objects.filter(slug__startswith="demo-", jobs__isnull=False).distinct().count() == 3
    filled = (Attestation, Delivery, ErrorGroup, EvaluationRun, Event, Receipt, Worker, Workflow)
    assert all(model.objects.exists() for model in filled)


def test_every_attestation_is_intact_and_every_attempt_has_one() -> None:
    seed()

    assert all(attestation.is_intact for attestation in Attestation.objects.all())
    attempts = Job.objects.aggregate(all=Sum("attempt"))["all"]
    assert Attestation.objects.filter(entity_type="job").count() == attempts


def test_the_evaluator_has_nothing_to_change_in_what_it_is_said_to_have_said() -> None:
    seed(jobs=2_000)
    said = verdicts()
    evaluated = [[row[0] for row in rows] for rows in said]
    Workflow.objects.filter(pk__in=evaluated[0]).update(**NOT_EVALUATED)
    Job.objects.filter(pk__in=evaluated[1]).update(**NOT_EVALUATED)

    evaluate()

    again = [
        [row for row in rows if row[0] in set(keys)] for rows, keys in zip(verdicts(), evaluated, strict=True)
    ]
    assert again == said


def test_rollups_count_what_the_jobs_say() -> None:
    seed(days=2)

    ended = Rollup.objects.filter(scope=EVERYONE, measure=Measure.ENDED, grain=3_600)
    completed = ended.filter(key="completed").aggregate(all=Sum("count"))["all"]
    assert completed == Job.objects.filter(status="completed").count()
    errors = Rollup.objects.filter(scope=EVERYONE, measure=Measure.ERROR, grain=3_600)
    assert errors.aggregate(all=Sum("count"))["all"] == ErrorGroup.objects.aggregate(all=Sum("count"))["all"]
    groups = set(ErrorGroup.objects.values_list("pk", flat=True))
    assert set(Job.objects.filter(status="failed").values_list("error_fingerprint", flat=True)) <= groups


def test_nothing_is_left_to_be_sent() -> None:
    seed()

    assert all(endpoint.state in ("paused", "disabled") for endpoint in Endpoint.objects.all())
    assert not Delivery.objects.filter(status__in=["pending", "sending"]).exists()


def test_the_same_number_makes_up_the_same() -> None:
    plan = Plan(jobs=200, days=3, seed=4, now=timezone.now(), tenants=ensure_tenants(2))

    first, second = make_batch(plan, 0), make_batch(plan, 0)

    assert first.jobs == second.jobs
    assert first.workflows == second.workflows


def test_another_run_adds_to_the_first() -> None:
    seed(jobs=100)
    seed(jobs=100)

    assert Job.objects.count() == 200
    assert Tenant.objects.count() == 3


def test_nothing_was_asked_for_later_than_now() -> None:
    seed()

    assert not Job.objects.filter(created_at__gt=timezone.now()).exists()
    assert Job.objects.filter(created_at__lt=timezone.now() - timedelta(days=6)).exists()


def test_beside_tenants_of_its_own_only_when_told_so() -> None:
    make_tenant("acme")

    with pytest.raises(CommandError, match="acme"):
        seed(jobs=10)
    assert not Job.objects.exists()
    seed(jobs=10, yes=True)

    assert Job.objects.count() == 10


@pytest.mark.parametrize("wrong", [{"jobs": 0}, {"tenants": 0}, {"tenants": 99}, {"days": 0}])
def test_numbers_out_of_bounds_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(CommandError):
        seed(**wrong)
