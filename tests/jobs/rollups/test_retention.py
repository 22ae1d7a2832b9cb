"""How long the monitor's own records are kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from jobs.hygiene.retention import Retention, retentions
from jobs.models import AuditEntry, BulkOperation, ErrorGroup, Measure, Rollup
from jobs.models.rollups import EVERYONE
from jobs.services import retention as ground
from tests.factories import make_audit_entry, make_error_group

pytestmark = pytest.mark.django_db


def retention(name: str) -> Retention:
    (found,) = (each for each in retentions if each.name == name)
    return found


def make_rollup(grain: int, age: timedelta, key: str = "completed") -> Rollup:
    return Rollup.objects.create(
        grain=grain, scope=EVERYONE, measure=Measure.ENDED, at=timezone.now() - age, name="artgen", key=key, count=1
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "grain", "kept_for"),
    [
        ("counts by 1 minute", 60, timedelta(hours=6)),
        ("counts by 10 minutes", 600, timedelta(days=3)),
        ("counts by 1 hour", 3_600, timedelta(days=90)),
    ],
)
def test_counts_are_kept_the_longer_the_coarser(name: str, grain: int, kept_for: timedelta) -> None:
    each = retention(name)
    for other in {60, 600, 3_600} - {grain}:
        make_rollup(other, timedelta(days=1_000))
    make_rollup(grain, kept_for - timedelta(minutes=1))
    gone = make_rollup(grain, kept_for + timedelta(minutes=1))

    old = each.find_old()
    count = each.forget()

    assert (old.count, old.oldest) == (1, gone.at)
    assert count == 1
    assert Rollup.objects.count() == 3
    assert not Rollup.objects.filter(grain=grain, at=gone.at).exists()
    assert each.kept_for() == kept_for


def test_more_than_a_batch_of_the_same_moment_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground, "BATCH", 3)
    age = timedelta(days=1)
    moment = make_rollup(60, age).at
    for number in range(7):
        make_rollup(60, age, key=f"key-{number}")
    Rollup.objects.filter(grain=60).update(at=moment)
    make_rollup(60, 2 * age)

    assert retention("counts by 1 minute").forget() == 9

    assert not Rollup.objects.exists()


def test_errors_are_kept_while_they_are_seen() -> None:
    now = timezone.now()
    long_ago = now - timedelta(days=300)
    kept = make_error_group(first_seen_at=long_ago, last_seen_at=now - timedelta(days=29))
    make_error_group(first_seen_at=long_ago, last_seen_at=now - timedelta(days=31))

    assert retention("errors").find_old().count == 1
    assert retention("errors").forget() == 1

    assert list(ErrorGroup.objects.all()) == [kept]


def test_the_audit_log_is_kept_as_long_as_the_setting_says(settings: Any) -> None:
    settings.AUDIT_RETENTION_DAYS = 10
    now = timezone.now()
    make_audit_entry(at=now - timedelta(days=11))
    kept = make_audit_entry(at=now - timedelta(days=9))

    assert retention("audit log").find_old().count == 1
    assert retention("audit log").forget() == 1

    assert list(AuditEntry.objects.all()) == [kept]
    assert retention("audit log").kept_for() == timedelta(days=10)


def test_bulk_operations_are_kept_from_their_end_on() -> None:
    now = timezone.now()
    given: dict[str, Any] = {
        "model": "jobs.Job",
        "verb": "retry_jobs",
        "title": "Retry",
        "keys": [],
        "total_count": 0,
    }
    given |= {"actor": "alice", "user_id": 1}
    running = BulkOperation.objects.create(**given, status="running")
    recent = BulkOperation.objects.create(**given, status="completed", ended_at=now - timedelta(days=89))
    BulkOperation.objects.create(**given, status="completed", ended_at=now - timedelta(days=91))
    BulkOperation.objects.update(created_at=now - timedelta(days=200))

    assert retention("bulk operations").find_old().count == 1
    assert retention("bulk operations").forget() == 1

    assert set(BulkOperation.objects.all()) == {running, recent}


def test_each_is_registered_once() -> None:
    names = [each.name for each in ground.RETENTIONS]

    assert len(names) == len(set(names))
