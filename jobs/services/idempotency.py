"""What was answered to requests that carry an `Idempotency-Key`: the verbs."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db import connection
from django.utils import timezone

from jobs.errors import IdempotencyKeyInFlight, IdempotencyKeyReused
from jobs.models import IdempotencyKey
from jobs.statements import lock_number

KEEP_FOR = timedelta(hours=24)


def lock_key(tenant_id: UUID, key: str) -> None:
    """Hold a tenant's key until the transaction at hand ends; raises IdempotencyKeyInFlight where it is held."""
    number = lock_number(f"idempotency {tenant_id} {key}")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        if not cursor.fetchone()[0]:
            raise IdempotencyKeyInFlight("A request with this Idempotency-Key is being worked on.")


def find_answer(tenant_id: UUID, key: str, fingerprint: str) -> IdempotencyKey | None:
    """What this request was answered before, if it was; the key is locked by the caller.

    The lock comes in a statement of its own before this one, so that this one sees what the last holder has
    committed. Raises IdempotencyKeyReused where the key belongs to another request.
    """
    found = IdempotencyKey.objects.of_tenant(tenant_id).filter(key=key).first()
    if found is None:
        return None
    if found.created_at < timezone.now() - KEEP_FOR:
        found.delete()
        return None
    if found.fingerprint != fingerprint:
        raise IdempotencyKeyReused("This Idempotency-Key was sent before, with another address or body.")
    return found
