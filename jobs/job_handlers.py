"""The built-in kinds of the ground floor."""

from __future__ import annotations

from datetime import timedelta

from django.db.models.functions import Now

from jobs.models import Worker
from jobs.queue.envelope import JobEnvelope
from jobs.queue.handlers import NoPayload, handler
from jobs.services.idempotency import forget_keys

FORGET_WORKERS_AFTER = timedelta(days=1)


@handler("system.ping", payload=NoPayload, batch_size=100)
def ping(envelope: JobEnvelope[NoPayload]) -> dict[str, str]:
    """Answer: shows that the queue runs, end to end."""
    return {"pong": envelope.trace_id}


@handler("system.forget_workers", payload=NoPayload, is_attested=False, is_internal=True)
def forget_workers(envelope: JobEnvelope[NoPayload]) -> dict[str, int]:
    """Delete the records of workers that have not been heard of for a day."""
    forgotten, _ = Worker.objects.filter(last_seen_at__lt=Now() - FORGET_WORKERS_AFTER).delete()
    return {"forgotten": forgotten}


@handler("system.forget_idempotency_keys", payload=NoPayload, is_attested=False, is_internal=True)
def forget_idempotency_keys(envelope: JobEnvelope[NoPayload]) -> dict[str, int]:
    """Delete the keys of requests that are too old to be asked again."""
    return {"forgotten": forget_keys()}
