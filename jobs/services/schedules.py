"""What operators do to schedules: the verbs."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from jobs.models import Schedule
from jobs.models.schedules import FOREVER, PAUSED
from jobs.queue.enqueue import NewJob, enqueue_jobs
from jobs.services.audit import Actor, record_audit


def run_schedule(schedule: Schedule, *, by: Actor, reason: str = "") -> tuple[UUID, bool]:
    """Enqueue its job now, as the scheduler would; the job's id, and whether it is new.

    While the last one has not ended there is none to be added: that one's id is answered, and nothing is noted. When
    the next one is due stays as it is.
    """
    new = NewJob(
        kind=schedule.kind,
        payload={},
        tenant_id=None,
        singleton_key=str(schedule.name or ""),
        actor_id=by.name,
    )
    with transaction.atomic():
        job_id = enqueue_jobs([new])[0]
        if is_new := job_id == new.id:
            record_audit(by, "run now", schedule, after={"job": str(job_id)}, reason=reason)
    return job_id, is_new


def pause_schedule(schedule: Schedule, *, by: Actor, reason: str = "") -> bool:
    """Let it enqueue nothing more; False when it was paused."""
    return _switch(schedule, PAUSED, by=by, action="pause", reason=reason)


def resume_schedule(schedule: Schedule, *, by: Actor, reason: str = "") -> bool:
    """Let it enqueue again, at once where a turn has passed meanwhile; False when it was not paused."""
    return _switch(schedule, FOREVER, by=by, action="resume", reason=reason)


def _switch(schedule: Schedule, repeats: int, *, by: Actor, action: str, reason: str) -> bool:
    with transaction.atomic():
        # The scheduler locks the rows it works on, and saves them whole: this waits for it, or it reads this.
        rows = Schedule.objects.filter(pk=schedule.pk)
        rows = rows.exclude(repeats=PAUSED) if repeats == PAUSED else rows.filter(repeats=PAUSED)
        if not rows.update(repeats=repeats):
            return False
        is_paused = repeats == PAUSED
        record_audit(
            by,
            action,
            schedule,
            before={"is_paused": not is_paused},
            after={"is_paused": is_paused},
            reason=reason,
        )
    schedule.refresh_from_db()
    return True
