"""Folding: what the rollups say is exactly what was counted, however many write and fold at once."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.db import OperationalError, connection, transaction
from django.db.models import Sum
from django.utils import timezone

from jobs.models import ErrorGroup, Job, Measure, QueueGauge, Rollup, Tally, Tenant
from jobs.models.jobs import PLATFORM
from jobs.models.rollups import EVERYONE
from jobs.queue.broker import _keep_rollups
from jobs.queue.claim import Lease
from jobs.queue.finish import finish
from jobs.queue.outcomes import Outcome, make_error
from jobs.rollups import folding
from jobs.rollups.counting import Count, write_counts
from jobs.rollups.folding import GRAINS, Upkeep, fold, sample_queues
from tests.factories import make_job
from tests.jobs.together import at_once

AT = datetime(2026, 3, 4, 10, 37, 42, tzinfo=UTC)


def count_at(at: datetime, scope: UUID = PLATFORM, **fields: Any) -> Tally:
    fields = {"measure": Measure.ENDED, "name": "artgen", "key": "completed", "count": 1, **fields}
    return Tally.objects.create(at=at, scope=scope, **fields)


def count_error(fingerprint: UUID, at: datetime, job: UUID, count: int = 1, **details: Any) -> Tally:
    details = {"tenant": None, "code": "broken", "message": "It broke.", "job": str(job), **details}
    return count_at(at, measure=Measure.ERROR, key=str(fingerprint), count=count, details=details)


def rolled(**filters: Any) -> dict[tuple[Any, ...], int]:
    rows = Rollup.objects.filter(**filters)
    return {(row.grain, row.scope, row.at, row.name, row.key): row.count for row in rows}


# --- Rollups ---------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_each_count_is_in_every_grain_of_its_scope_and_of_everyones() -> None:
    scope = uuid4()
    count_at(AT, scope, count=3)

    assert fold() == 1

    begins = {
        60: AT.replace(second=0),
        600: AT.replace(minute=30, second=0),
        3_600: AT.replace(minute=0, second=0),
    }
    assert rolled() == {
        (grain, whose, begins[grain], "artgen", "completed"): 3
        for grain in GRAINS
        for whose in (scope, EVERYONE)
    }
    assert not Tally.objects.exists()


@pytest.mark.django_db
def test_what_comes_later_is_added() -> None:
    for at in (AT, AT + timedelta(seconds=10), AT + timedelta(seconds=20)):  # the last is in the next minute
        count_at(at, count=2)
        fold()

    assert [count for _, count in sorted(rolled(grain=60, scope=PLATFORM).items())] == [4, 2]
    assert [*rolled(grain=600, scope=EVERYONE).values()] == [6]


@pytest.mark.django_db
def test_everyone_is_the_sum_of_all_scopes() -> None:
    scopes = [uuid4(), uuid4(), PLATFORM]
    for number, scope in enumerate(scopes, start=1):
        count_at(AT, scope, count=number)

    fold()

    assert [*rolled(grain=60, scope=EVERYONE).values()] == [6]
    assert [sum(rolled(grain=60, scope=scope).values()) for scope in scopes] == [1, 2, 3]


@pytest.mark.django_db
def test_a_fold_takes_a_bounded_lot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "LOT", 4)
    for _ in range(10):
        count_at(AT)

    assert [fold() for _ in range(4)] == [4, 4, 2, 0]

    assert [*rolled(grain=3_600, scope=EVERYONE).values()] == [10]


@pytest.mark.django_db
def test_a_fold_that_is_cut_off_loses_and_doubles_nothing() -> None:
    count_at(AT, count=5)
    with pytest.raises(ConnectionError), transaction.atomic():
        fold()
        raise ConnectionError

    assert Tally.objects.count() == 1
    assert rolled() == {}
    fold()

    assert set(rolled().values()) == {5}


@pytest.mark.django_db(transaction=True)
def test_a_fold_whose_process_is_killed_loses_and_doubles_nothing() -> None:
    count_at(AT, count=5)

    def be_killed() -> int:
        with pytest.raises(OperationalError), transaction.atomic():
            assert fold() == 1
            kill_backend(connection.connection.info.backend_pid)
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        return Tally.objects.count()

    def kill_backend(pid: int) -> None:
        with psycopg.connect(**connection.get_connection_params() | {"cursor_factory": None}) as other:
            other.execute("SELECT pg_terminate_backend(%s)", [pid])

    assert at_once(be_killed) == [1]
    fold()

    assert set(rolled().values()) == {5}


@pytest.mark.django_db(transaction=True)
def test_nothing_is_lost_or_doubled_while_many_write_and_fold() -> None:
    def write(seed: int) -> Counter[tuple[UUID, str]]:
        chance, written = random.Random(seed), Counter[tuple[UUID, str]]()  # noqa: S311
        for turn in range(40):
            scope, name = UUID(int=chance.randrange(3)), f"kind-{chance.randrange(4)}"
            number = chance.randrange(1, 9)
            with transaction.atomic():
                write_counts(
                    [Count(scope=scope, measure=Measure.ENDED, name=name, key="failed", count=number)]
                )
                if is_kept := turn % 5 > 0:
                    written[scope, name] += number
                transaction.set_rollback(not is_kept)
        return written

    def keep_folding() -> Counter[tuple[UUID, str]]:
        for _ in range(60):
            fold()
        return Counter()

    def be_cut_off() -> Counter[tuple[UUID, str]]:
        for _ in range(40):
            with transaction.atomic():
                fold()
                transaction.set_rollback(True)
        return Counter()

    answers = at_once(
        *(lambda seed=seed: write(seed) for seed in range(4)), keep_folding, keep_folding, be_cut_off
    )
    fold()

    expected = sum(answers, Counter[tuple[UUID, str]]())
    assert expected.total() > 0
    for grain in GRAINS:
        own = Rollup.objects.filter(grain=grain).exclude(scope=EVERYONE)
        found = {
            (scope, name): total
            for scope, name, total in own.values_list("scope", "name").annotate(Sum("count"))
        }
        assert found == dict(expected)
        everyone = Rollup.objects.filter(grain=grain, scope=EVERYONE).aggregate(total=Sum("count"))
        assert everyone["total"] == expected.total()
    assert not Tally.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_fold_takes_nothing_while_another_is_at_it() -> None:
    count_at(AT)

    def fold_elsewhere() -> int:
        return fold()

    with transaction.atomic():
        fold()
        (elsewhere,) = at_once(fold_elsewhere)

    assert elsewhere == 0
    assert set(rolled().values()) == {1}


# --- Errors ----------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_an_error_group_keeps_its_first_and_last_time_and_the_latest_sample() -> None:
    fingerprint, jobs = uuid4(), [uuid4() for _ in range(4)]
    count_error(fingerprint, AT, jobs[0], count=2)
    count_error(fingerprint, AT + timedelta(minutes=1), jobs[1])
    fold()
    count_error(fingerprint, AT + timedelta(hours=1), jobs[2], count=4)
    count_error(fingerprint, AT - timedelta(hours=1), jobs[3])  # of a transaction that took its time
    fold()

    (group,) = ErrorGroup.objects.all()

    assert (group.fingerprint, group.name, group.code, group.message) == (
        fingerprint, "artgen", "broken", "It broke.",
    )  # fmt: skip
    assert (group.tenant_id, group.count, group.sample_job_id) == (None, 8, jobs[2])
    assert (group.first_seen_at, group.last_seen_at) == (AT - timedelta(hours=1), AT + timedelta(hours=1))


def test_failures_of_one_cause_make_one_group_per_tenant(tenant: Tenant, other_tenant: Tenant) -> None:
    jobs = [make_job(owner, status="running") for owner in (tenant, tenant, other_tenant, None)]
    finish(
        [
            Outcome(
                lease=Lease(job.pk, job.lease_token),  # type: ignore[arg-type]
                status="failed",
                error=make_error("broken", f"No room for {index}."),
            )
            for index, job in enumerate(jobs)
        ]
    )

    fold()

    groups = {group.tenant_id: group for group in ErrorGroup.objects.all()}
    assert {owner: group.count for owner, group in groups.items()} == {
        tenant.pk: 2,
        other_tenant.pk: 1,
        None: 1,
    }
    for job in Job.objects.all():
        assert job.error_fingerprint == groups[job.tenant_id].fingerprint


# --- Gauges ----------------------------------------------------------------------------------------


def test_queues_are_sampled_by_tenant(tenant: Tenant) -> None:
    now = timezone.now()
    oldest = make_job(tenant, run_at=now - timedelta(minutes=9))
    make_job(tenant)
    make_job(tenant, run_at=now + timedelta(hours=1))
    make_job(tenant, status="running")
    make_job(None)
    make_job(tenant, service_required="artgen")
    make_job(tenant, status="completed")

    sample_queues()

    gauges = {(each.name, each.is_remote, each.scope): each for each in QueueGauge.objects.all()}
    assert {key: (each.due_count, each.later_count, each.running_count) for key, each in gauges.items()} == {
        ("default", False, tenant.pk): (2, 1, 1),
        ("default", False, PLATFORM): (1, 0, 0),
        ("artgen", True, tenant.pk): (1, 0, 0),
    }
    assert gauges["default", False, tenant.pk].oldest_due_at == oldest.run_at


def test_what_has_nothing_to_do_any_more_is_forgotten(tenant: Tenant) -> None:
    gone, stays = make_job(tenant, service_required="artgen"), make_job(tenant, service_required="upscale")
    sample_queues()
    gone.delete()
    Job.objects.filter(pk=stays.pk).update(run_at=timezone.now() + timedelta(hours=1))

    sample_queues()

    (gauge,) = QueueGauge.objects.all()
    assert (gauge.name, gauge.due_count, gauge.later_count, gauge.oldest_due_at) == ("upscale", 0, 1, None)


# --- Upkeep ----------------------------------------------------------------------------------------


def test_a_turn_folds_all_there_is(monkeypatch: pytest.MonkeyPatch, tenant: Tenant) -> None:
    monkeypatch.setattr(folding, "LOT", 2)
    for _ in range(5):
        count_at(AT)

    Upkeep().turn()

    assert not Tally.objects.exists()


def test_a_turn_ends_however_much_there_is(monkeypatch: pytest.MonkeyPatch, tenant: Tenant) -> None:
    monkeypatch.setattr(folding, "LOT", 2)
    monkeypatch.setattr(folding, "FOLDS_MAX", 3)
    for _ in range(10):
        count_at(AT)

    Upkeep().turn()

    assert Tally.objects.count() == 4


def test_queues_are_not_looked_at_in_every_turn(tenant: Tenant) -> None:
    make_job(tenant)
    upkeep, other = Upkeep(), Upkeep()
    upkeep.turn()
    (first,) = QueueGauge.objects.all()

    upkeep.turn()
    other.turn()  # another process

    (after,) = QueueGauge.objects.all()
    assert after.sampled_at == first.sampled_at


def test_they_are_when_the_last_look_is_long_ago(tenant: Tenant) -> None:
    make_job(tenant)
    sample_queues()
    QueueGauge.objects.update(sampled_at=timezone.now() - timedelta(seconds=6))

    Upkeep().turn()

    (gauge,) = QueueGauge.objects.all()
    assert gauge.sampled_at > timezone.now() - timedelta(seconds=5)


@pytest.mark.django_db(transaction=True)
def test_a_look_that_takes_long_is_taken_less_often(tenant: Tenant) -> None:
    make_job(tenant)
    with connection.cursor() as cursor:
        cursor.execute("CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS "
                       "$$ BEGIN PERFORM pg_sleep(0.4); RETURN NEW; END $$")  # fmt: skip
        cursor.execute("CREATE TRIGGER dawdle BEFORE INSERT OR UPDATE ON jobs_queuegauge "
                       "FOR EACH ROW EXECUTE FUNCTION dawdle()")  # fmt: skip
    try:
        upkeep = Upkeep()
        upkeep.turn()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION dawdle() CASCADE")

    # Seven seconds later one that had been quick would look again.
    QueueGauge.objects.update(sampled_at=timezone.now() - timedelta(seconds=7))
    upkeep._not_before = 0.0
    upkeep.turn()

    (gauge,) = QueueGauge.objects.all()
    assert gauge.sampled_at < timezone.now() - timedelta(seconds=6)


@pytest.mark.django_db(transaction=True)
def test_a_turn_that_fails_is_logged_and_the_next_one_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    count_at(AT)
    upkeep = Upkeep()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE jobs_rollup RENAME TO jobs_rollup_away")
    try:
        _keep_rollups(upkeep)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE jobs_rollup_away RENAME TO jobs_rollup")
    assert [record.getMessage() for record in caplog.records] == ["rollups not kept"]
    assert Tally.objects.count() == 1

    _keep_rollups(upkeep)

    assert set(rolled().values()) == {1}
