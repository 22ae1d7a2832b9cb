"""Tells tenants of the problems that the evaluator has found in their work."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils import timezone

from config.tracing import current_trace
from jobs.evaluator.alerts import Alert
from webhooks.services.messages import Event, iso, write_messages


def tell_of_problems(alerts: Sequence[Alert]) -> None:
    """Write a message `evaluation.problem` for each alert of a tenant, in the caller's transaction.

    The platform's own problems are no tenant's business. The number of statements does not grow with the alerts.
    """
    write_messages([_event_of(alert) for alert in alerts if alert.tenant_id])


def _event_of(alert: Alert) -> Event:
    assert alert.tenant_id
    trace = current_trace()
    return Event(
        tenant_id=alert.tenant_id,
        type="evaluation.problem",
        at=timezone.now(),
        trace_id=trace.trace_id,
        request_id=trace.request_id,
        data={
            "problem_type": alert.problem_type,
            "status_category": alert.status_category,
            "count": alert.count,
            "workflow_ids": alert.workflow_ids,
            "job_ids": alert.job_ids,
            "since": iso(alert.since),
            "what_to_do": alert.what_to_do,
        },
    )
