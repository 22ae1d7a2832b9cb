"""Takes due deliveries under a lease and stores how they went: the sending side's statements."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from jobs.statements import AWAY, batch, run
from webhooks.models import Delivery, Endpoint, Reason
from webhooks.sending.attempts import Outcome
from webhooks.sending.counting import count_attempts
from webhooks.sending.workers import is_known_dead
from webhooks.services.deliveries import note_notified, settle_deliveries
from webhooks.services.messages import SQL, Event, Takers, iso, write_messages

logger = logging.getLogger(__name__)

QUEUE = "webhooks"
# Longer than an attempt can take and be stored: nobody else sends what is still being sent.
LEASE_SECONDS = 30.0
# One lock for all who claim: what is counted under it stays so.
CLAIM_LOCK = 0x_AFF1_DA71
# A delivery whose sending process was lost so often is given up: it may be what ends them.
LOST_MAX = 100

# An endpoint with fewer in flight than this finds room where those with more do not.
FEW = 2
BY_HAND_IN_FLIGHT_MAX = 5  # at an endpoint, beside what is in flight by schedule

FAILURES_MAX = 10  # in a row, until the breaker opens
REST_SECONDS = 30.0  # the first time; twice as long each time more
REST_SECONDS_MAX = 600.0
DAYS_MAX = 5  # of nothing but failures, until an endpoint is disabled


def claim_deliveries(worker: str, *, room: int, shared_room: int | None = None) -> list[Any]:
    """Claim up to `room` due deliveries; rows as named by claim_deliveries.sql.

    Up to `shared_room` of them (all, unless it is given) for endpoints with FEW or more in flight.
    """
    with transaction.atomic():
        _lock_claims()
        return run(
            "claim_deliveries",
            {
                "room": room,
                "shared_room": room if shared_room is None else shared_room,
                "few": FEW,
                "by_hand_max": BY_HAND_IN_FLIGHT_MAX,
                "worker": worker,
                "queue": QUEUE,
                "lease_seconds": LEASE_SECONDS,
            },
            folder=SQL,
        )


def sweep_deliveries() -> int:
    """Give back what processes that died have left behind; how many deliveries."""
    detail = "The process that sent it ended before the outcome was known"
    with transaction.atomic():
        _lock_claims()
        sending = Delivery.objects.filter(status=Delivery.Status.SENDING).order_by()
        workers = sending.values_list("worker", flat=True).distinct()
        rows = run(
            "sweep_deliveries",
            {
                "dead": [worker for worker in workers if is_known_dead(worker)],
                "lease_seconds": LEASE_SECONDS,
                "lost_max": LOST_MAX,
                "detail": f"{detail}; it is sent again.",
                "last_detail": f"{detail}, for the {LOST_MAX + 1}st time; it is given up.",
            },
            folder=SQL,
        )
        note_notified(rows)
        return len(rows)


def finish_deliveries(outcomes: Sequence[Outcome]) -> set[UUID]:
    """Store outcomes whose lease is still live; the answer names the deliveries whose outcome counted.

    Raises one of AWAY, with nothing stored, when the database is away. Where the batch can't be stored each
    outcome is tried by itself; one that can't be is logged and lapses.
    """
    try:
        return _finish(outcomes)
    except AWAY:
        raise
    except Exception:
        logger.exception("outcomes of deliveries not stored together", extra={"deliveries": len(outcomes)})
    return {key for outcome in outcomes for key in _finish_alone(outcome)}


def _finish_alone(outcome: Outcome) -> set[UUID]:
    try:
        return _finish([outcome])
    except AWAY:
        raise
    except Exception:
        logger.exception("outcome of a delivery not stored", extra={"deliveryId": str(outcome.record["id"])})
        return set()


def _finish(outcomes: Sequence[Outcome]) -> set[UUID]:
    with transaction.atomic():
        rows = run(
            "finish_deliveries",
            {"outcomes": batch([outcome.record for outcome in outcomes])},
            folder=SQL,
        )
        stored = {row.id for row in rows}
        _note_health([outcome for outcome in outcomes if outcome.record["id"] in stored])
        note_notified(rows)
        count_attempts(outcomes, rows)
    return stored


def _lock_claims() -> None:
    with connection.cursor() as cursor:
        # A host that freezes in here must not hold the lock until TCP gives it up.
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '10s'")
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [CLAIM_LOCK])


def _note_health(outcomes: Sequence[Outcome]) -> None:
    """How the endpoints have fared; what was asked for by hand, and our own faults, say nothing of that."""
    by_endpoint: dict[UUID, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        if not outcome.is_manual and not outcome.record["is_our_fault"]:
            by_endpoint[outcome.endpoint_id].append(outcome)
    if not by_endpoint:
        return
    rows = run(
        "note_health",
        {
            "health": batch([_health(endpoint_id, mine) for endpoint_id, mine in by_endpoint.items()]),
            "failures_max": FAILURES_MAX,
            "rest_seconds": REST_SECONDS,
            "rest_seconds_max": REST_SECONDS_MAX,
            "days_max": DAYS_MAX,
        },
        folder=SQL,
    )
    for row in rows:
        if row.is_newly_disabled:
            _tell_disabled(row)


def _health(endpoint_id: UUID, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """A row of note_health.sql: what the outcomes, in their order, say of an endpoint."""
    failures = 0
    for outcome in outcomes:
        failures = failures + 1 if outcome.verdict.reason else 0
    reasons = {outcome.verdict.reason for outcome in outcomes}
    return {
        "endpoint_id": endpoint_id,
        "has_succeeded": "" in reasons,
        "has_failed": reasons != {""},
        "failures": failures,
        "is_gone": Reason.GONE in reasons,
    }


def _tell_disabled(row: Any) -> None:
    """Tell the other endpoints of a tenant that one has just been disabled, and hold what waits for it."""
    transaction.on_commit(lambda: settle_deliveries(row.id))
    logger.warning("endpoint disabled", extra={"endpointId": str(row.id), "reason": row.disabled_reason})
    failing_since: datetime | None = row.failing_since
    data = {
        "endpoint_id": str(row.id),
        "host": urlsplit(row.url).hostname,
        "description": row.description,
        "reason": row.disabled_reason,
        "failing_since": iso(failing_since),
    }
    write_messages(
        [Event(tenant_id=row.tenant_id, type="endpoint.disabled", data=data, at=timezone.now())],
        Takers(Endpoint.objects.kept().of_tenant(row.tenant_id).exclude(pk=row.id)),
    )
