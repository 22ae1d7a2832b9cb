"""The top floor's rule: whoever was to be told of completed work has been told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings

from jobs.evaluator.rules import TOO_EARLY, Finding, Units
from jobs.models import Job, ProblemType
from jobs.statements import run
from webhooks.models import Delivery
from webhooks.services.explanations import explain, is_sending_paused
from webhooks.services.messages import SQL

# Of a message's deliveries the one to speak of: as long as any is left, not one that has failed.
_TELLING = (Delivery.Status.HELD, Delivery.Status.PENDING, Delivery.Status.SENDING, Delivery.Status.FAILED)


def find_untold(units: Units) -> Iterator[Finding]:
    """Completed units whose user, or whose endpoints, have not been told; TOO_EARLY while they may still be."""
    name = "find_untold_jobs" if units.model is Job else "find_untold_workflows"
    rows = run(name, {"ids": list(units.ids), "grace": settings.NOTIFY_GRACE_SECONDS}, folder=SQL)
    problems = []
    for row in rows:
        if row.is_early and not row.has_failed:
            yield Finding(unit_id=row.id, problem_type=TOO_EARLY)
        else:
            problems.append(row)
    if problems:
        yield from _described(problems)


def _described(rows: Sequence[Any]) -> Iterator[Finding]:
    deliveries = _last_deliveries([row.message_id for row in rows if row.message_id])
    is_paused = is_sending_paused()
    for row in rows:
        delivery = deliveries.get(row.message_id)
        missing, what_to_do = _words(row, delivery, is_paused=is_paused)
        failed, untold = ProblemType.NOTIFICATION_FAILED, ProblemType.NOTIFICATION_MISSING
        yield Finding(
            unit_id=row.id,
            problem_type=failed if row.has_failed else untold,
            missing=missing,
            where=_where(row, delivery),
            since=row.since,
            what_to_do=what_to_do,
        )


def _last_deliveries(messages: Sequence[UUID]) -> dict[UUID, Delivery]:
    """Of each message the delivery to speak of; of those that stand alike the newest."""
    found = Delivery.objects.filter(message__in=messages).select_related("endpoint").order_by("pk")
    untaken = found.exclude(status=Delivery.Status.DELIVERED)
    ranked = sorted(untaken, key=lambda delivery: -_TELLING.index(Delivery.Status(delivery.status)))
    return {delivery.message_id: delivery for delivery in ranked}


def _words(row: Any, delivery: Delivery | None, *, is_paused: bool) -> tuple[str, list[str]]:
    """What is missing, and what to do."""
    renotify = f"POST {_path(row)}/renotify: it is told once more, and nothing is run again."
    if delivery is not None and row.notification_status != "delivered":
        why = _why(delivery, is_paused=is_paused)
        lead = "could not be delivered" if row.has_failed else "has not been delivered"
        return f"The webhook {row.event_type} {lead} to {_host(delivery)}: {why}", [
            f"Mend the endpoint {delivery.endpoint.description or _host(delivery)}, then {renotify}"
        ]
    if row.notification_status == "delivered":
        return f"The app took the webhook, but nobody has confirmed that the user {row.user_id} knows.", [
            "Have the app call POST /api/user_notified once its user has seen the outcome.",
            f"Or {renotify}",
        ]
    return f"The user {row.user_id} is to be told, and no endpoint takes {row.event_type}.", [
        f"Register an endpoint that takes {row.event_type}, then {renotify}"
    ]


def _why(delivery: Delivery, *, is_paused: bool) -> str:
    """Why it has not been taken; of one that is still tried nothing that is otherwise with the next attempt."""
    if delivery.status in (Delivery.Status.FAILED, Delivery.Status.HELD):
        return explain(delivery, is_paused=is_paused)
    return f"{delivery.detail or 'it waits for its turn.'} It is tried again by itself."


def _path(row: Any) -> str:
    return f"/api/workflows/{row.workflow_id}" if row.workflow_id else f"/api/jobs/{row.job_id}"


def _host(delivery: Delivery) -> str:
    return urlsplit(delivery.endpoint.url).hostname or "its endpoint"


def _where(row: Any, delivery: Delivery | None) -> dict[str, Any]:
    where: dict[str, Any] = {
        "workflow_id": row.workflow_id,
        "run": row.run,
        "job_id": row.job_id,
        "user_id": row.user_id,
        "notification_status": row.notification_status,
        "message_id": row.message_id,
        "trace_id": row.trace_id,
    }
    if delivery is not None:
        where |= {
            "delivery_id": delivery.pk,
            "delivery_status": delivery.status,
            "endpoint_id": delivery.endpoint_id,
            "endpoint_host": _host(delivery),
            "attempt": delivery.attempt_count,
            "status_code": delivery.status_code,
            "reason": delivery.reason,
        }
    return {name: value for name, value in where.items() if value not in (None, "")}
