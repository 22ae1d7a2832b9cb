"""Schedules: the rows of django-q2's table, which follow `jobs.schedules` at every migrate."""

from __future__ import annotations

from typing import Any

from django_q.models import Schedule as EngineSchedule

PAUSED, FOREVER = 0, -1  # of `repeats`, as django-q2's scheduler reads it


class Schedule(EngineSchedule):  # type: ignore[misc]
    """A kind of job that is enqueued again and again; what it is says the code, and an operator pauses it."""

    class Meta:
        proxy = True
        verbose_name = "schedule"
        ordering = ["name", "pk"]

    def __str__(self) -> str:
        return str(self.name or self.func)

    @property
    def kind(self) -> str:
        """The kind of job that it enqueues."""
        return str(self.func)

    @property
    def is_paused(self) -> bool:
        return bool(self.repeats == PAUSED)

    @property
    def cadence(self) -> str:
        """How often, in words: every 10 minutes, every hour."""
        if self.schedule_type == self.CRON:
            return f"by cron: {self.cron}"
        if self.schedule_type == self.MINUTES:
            return _every(int(self.minutes or 1))
        return _words(self).get(self.schedule_type, str(self.get_schedule_type_display()).lower())


def _every(minutes: int) -> str:
    """Minutes in the largest unit that they are a multiple of."""
    for size, unit in ((1_440, "day"), (60, "hour"), (1, "minute")):
        if minutes % size == 0:
            count = minutes // size
            return f"every {unit}" if count == 1 else f"every {count} {unit}s"
    raise ValueError(minutes)


def _words(schedule: Any) -> dict[str, str]:
    return {
        schedule.ONCE: "once",
        schedule.HOURLY: "every hour",
        schedule.DAILY: "every day",
        schedule.WEEKLY: "every week",
        schedule.BIWEEKLY: "every 2 weeks",
        schedule.MONTHLY: "every month",
        schedule.BIMONTHLY: "every 2 months",
        schedule.QUARTERLY: "every 3 months",
        schedule.YEARLY: "every year",
    }
