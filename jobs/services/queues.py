"""What operators do to queues: the verbs."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from jobs.models import Queue
from jobs.queue import wakeups


def ensure_queues(**_: Any) -> None:
    """Keep a record of each queue of the clusters (run after every migrate)."""
    Queue.objects.bulk_create([Queue(name=name) for name in settings.QUEUES], ignore_conflicts=True)


def pause_queue(queue: Queue, *, by: str) -> bool:
    """Let nothing more of it start; what runs goes on, what is queued stays. False when it was paused."""
    paused = Queue.objects.filter(pk=queue.pk, paused_at__isnull=True).update(paused_at=Now(), paused_by=by)
    queue.refresh_from_db()
    return bool(paused)


def resume_queue(queue: Queue) -> bool:
    """Let its jobs start again; False when it was not paused."""
    with transaction.atomic():
        resumed = Queue.objects.filter(pk=queue.pk, paused_at__isnull=False).update(
            paused_at=None, paused_by=""
        )
        _announce(queue)
    queue.refresh_from_db()
    return bool(resumed)


def limit_queue(queue: Queue, max_running: int | None) -> None:
    """Say how many of its jobs may run at a time; None takes the limit off. What runs already goes on."""
    with transaction.atomic():
        Queue.objects.filter(pk=queue.pk).update(max_running=max_running)
        _announce(queue)
    queue.refresh_from_db()


def _announce(queue: Queue) -> None:
    """Wake the clusters; remote workers, who wait by tenant, look once a second by themselves."""
    if not queue.is_remote:
        wakeups.announce_on_commit([(None, queue.name, False)])
