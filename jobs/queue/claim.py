"""Takes due jobs under a lease: the attempt is counted and committed before any work begins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings

from jobs.models.jobs import PLATFORM
from jobs.queue.limits import room_in
from jobs.queue.wakeups import announce_changes_on_commit
from jobs.statements import run

# A claim looks this many batches deep, so that several processes claiming at once don't all see the same rows.
WINDOW_BATCHES = 4
LARGEST_BATCH = 100


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to end one attempt of a job, as long as it is renewed."""

    job_id: UUID
    token: UUID


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a renewed lease answers."""

    expires_at: datetime
    is_cancel_requested: bool


def claim_in_house(
    queue: str, worker: str, *, after: UUID = PLATFORM, limit: int = LARGEST_BATCH
) -> list[Any]:
    """Claim the most urgent due job of `queue`, with more of its kind as far as its batch size goes.

    Tenants take turns; the first one is the next behind `after` that has something due. Returns rows as named
    by claim_in_house.sql, `limit` at most, in no particular order.
    """
    with room_in([queue], is_remote=False) as room:
        limit = min(limit, room.get(queue, limit))
        if limit == 0:
            return []
        rows = run(
            "claim_in_house",
            {
                "queue": queue,
                "worker": worker,
                "after": after,
                "limit": limit,
                "window": limit * WINDOW_BATCHES,
                "lease_seconds": settings.LEASE_SECONDS,
            },
        )
        # Those claimed together are light, and over before anybody could see that they run.
        if len(rows) == 1:
            _announce_changes([(rows[0].id, rows[0].workflow_id)])
    return rows


def first_in_turn(rows: Sequence[Any], after: UUID) -> UUID:
    """The tenant a claim behind `after` began with: the next one goes on behind it.

    Not behind the last, though it was served as well: a batch has one kind, and leaves out the tenants in
    between that have only others.
    """
    tenants = {row.tenant_id or PLATFORM for row in rows}
    return min(tenants, key=lambda tenant: (tenant <= after, tenant), default=after)


def claim_remote(tenant_id: UUID, services: Sequence[str], worker: str, *, limit: int) -> list[Any]:
    """Claim up to `limit` due jobs of one tenant for `services`, the most urgent first.

    Returns rows as named by claim_remote.sql, ordered by priority, due time and id.
    """
    with room_in(services, is_remote=True) as room:
        open_services = [service for service in services if room.get(service, limit) > 0]
        rows = run(
            "claim_remote",
            {
                "tenant": tenant_id,
                "services": open_services,
                "rooms": [room.get(service) for service in open_services],
                "worker": worker,
                "limit": limit,
                "window": limit * WINDOW_BATCHES,
                "lease_seconds": settings.LEASE_SECONDS,
            },
        )
        _announce_changes((row.id, row.workflow_pk) for row in rows)
    return sorted(rows, key=lambda row: (-row.priority, row.run_at, row.id))


def _announce_changes(begun: Iterable[tuple[UUID, UUID | None]]) -> None:
    """Have those who watch look at jobs that have begun, and at their workflows."""
    announce_changes_on_commit(key for keys in begun for key in keys)


def renew(leases: Sequence[Lease]) -> dict[UUID, Renewal]:
    """Put off the end of these leases; the answer, by job id, leaves out those that were lost."""
    rows = run(
        "renew",
        {
            "ids": [lease.job_id for lease in leases],
            "tokens": [lease.token for lease in leases],
            "lease_seconds": settings.LEASE_SECONDS,
        },
    )
    return {row.id: Renewal(row.lease_expires_at, row.is_cancel_requested) for row in rows}
