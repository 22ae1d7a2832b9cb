"""The platform's own recurring work, as code; django-q2's scheduler table follows it at every migrate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Recurring:
    """A kind of job enqueued every `minutes`, never while the last one has not ended."""

    name: str
    kind: str
    minutes: int


SCHEDULES = [
    Recurring(name="evaluate", kind="system.evaluate", minutes=10),
    Recurring(name="apply-retention", kind="system.apply_retention", minutes=60),
]


def add_schedules(recurring: Iterable[Recurring]) -> None:
    """Add the recurring work of an upper floor."""
    SCHEDULES.extend(recurring)


def sync_schedules(**_: Any) -> None:
    """Make django-q2's Schedule rows what SCHEDULES says; a row keeps its next run."""
    from django_q.models import Schedule

    for recurring in SCHEDULES:
        Schedule.objects.update_or_create(
            name=recurring.name,
            defaults={
                "func": recurring.kind,
                "schedule_type": Schedule.MINUTES,
                "minutes": recurring.minutes,
                "cluster": "default",
            },
        )
    Schedule.objects.exclude(name__in=[recurring.name for recurring in SCHEDULES]).delete()
