"""Tells of new problems: at most once per tenant, type and hour, and never nothing of what was found in between.

The evaluator counts in ProblemAlert what it finds, in the transaction of its verdicts; here that is handed on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from jobs.models import ProblemAlert, ProblemType
from jobs.models.evaluation import CATEGORIES
from jobs.queue.enqueue import enqueue_job

QUIET = timedelta(hours=1)  # between two alerts of one tenant and type
MAIL_JOB = "system.mail_problems"

WHAT_TO_DO: dict[ProblemType, str] = {
    ProblemType.NOTIFICATION_FAILED: (
        "See why the endpoint refuses the delivery, resume it where it is disabled, then re-notify: nothing runs again."
    ),
    ProblemType.NOTIFICATION_MISSING: (
        "The app took the webhook or had none, and never called user_notified: look at the app, then re-notify."
    ),
    ProblemType.WORKER_FAILED: "Read the error of the last attempt, mend its cause, then retry: only what failed runs.",
    ProblemType.TIMED_OUT: "See whether the worker hangs or the time is too short for the work, then retry.",
    ProblemType.EXPIRED: "Nobody began it in time: add workers, or let it wait longer, then submit it anew or retry.",
    ProblemType.CANCELLED: "Somebody stopped it: ask who and why; a job can be retried, else submit it anew.",
    ProblemType.STUCK: "See whether its worker lives and its queue is neither paused nor full; else cancel it and submit it anew.",
    ProblemType.NO_WORKER: "Start a worker that offers the service: the work is begun by itself then.",
    ProblemType.MISSING_OUTPUT: "It completed without what it was to make: read the worker's log, mend it, run it anew.",
    ProblemType.ATTESTATION_MISSING: "It ended without its record: see the log of that time, and keep what else proves it.",
    ProblemType.CONTENT_TYPE_MISMATCH: "The file is not what its name or its worker says: mend the worker, run it anew.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """New problems of one type of one tenant (or, without a tenant, of the platform's own work)."""

    tenant_id: UUID | None
    tenant: str  # its slug
    problem_type: str
    count: int
    workflow_ids: list[str]  # some of them
    job_ids: list[str]
    since: datetime  # when the first of them was found

    @property
    def status_category(self) -> str:
        return CATEGORIES[ProblemType(self.problem_type)]

    @property
    def what_to_do(self) -> str:
        return WHAT_TO_DO[ProblemType(self.problem_type)]


AlertListener = Callable[[Sequence[Alert]], object]
listeners: list[AlertListener] = []


def alert_listener(function: AlertListener) -> AlertListener:
    """Register one who is told, inside the transaction that marks the alerts as told; twice changes nothing."""
    if function not in listeners:
        listeners.append(function)
    return function


def tell_problems() -> int:
    """Tell the listeners, and operators by e-mail, of what has been found and may be told of by now; how many alerts.

    What was told of within the hour waits, and is told with what has come to it. Two at once tell once. Where a
    listener fails nothing has been told: it is all tried again by the next run.
    """
    with transaction.atomic():
        due = _lock_due()
        if not due:
            return 0
        alerts = [_alert_of(row) for row in due]
        for listener in listeners:
            listener(alerts)
        if settings.PROBLEM_EMAIL_TO:
            enqueue_job(MAIL_JOB, {"problems": [_as_payload(alert) for alert in alerts]})
        _mark_told(due)
    return len(due)


def _lock_due() -> list[ProblemAlert]:
    """By the database's clock; what another process is telling, or adding to, is passed over."""
    quiet_over = Q(told_at=None) | Q(told_at__lte=Now() - QUIET)
    due = ProblemAlert.objects.filter(quiet_over, untold_count__gt=0).order_by("pk")
    return list(due.select_related("tenant").select_for_update(skip_locked=True, of=("self",)))


def _alert_of(row: ProblemAlert) -> Alert:
    assert row.since
    return Alert(
        tenant_id=row.tenant_id,
        tenant=row.tenant.slug if row.tenant else "",
        problem_type=row.problem_type,
        count=row.untold_count,
        workflow_ids=row.workflow_ids,
        job_ids=row.job_ids,
        since=row.since,
    )


def _as_payload(alert: Alert) -> dict[str, object]:
    """As the payload of the e-mail's job, which is JSON."""
    told = asdict(alert)
    del told["tenant_id"]
    return told | {"since": alert.since.isoformat()}


def _mark_told(rows: Sequence[ProblemAlert]) -> None:
    ProblemAlert.objects.filter(pk__in=[row.pk for row in rows]).update(
        untold_count=0, workflow_ids=[], job_ids=[], since=None, told_at=Now()
    )
