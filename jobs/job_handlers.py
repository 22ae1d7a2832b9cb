"""The built-in kinds of the ground floor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from jobs.evaluator.mails import ProblemMail, send_problem_mail
from jobs.evaluator.runs import NotEvaluated, evaluate
from jobs.hygiene.retention import apply_retentions
from jobs.queue.backoff import RetryPolicy
from jobs.queue.envelope import JobEnvelope
from jobs.queue.handlers import NoPayload, PermanentError, handler
from jobs.services.operations import KIND


@handler("system.ping", payload=NoPayload, batch_size=100)
def ping(envelope: JobEnvelope[NoPayload]) -> dict[str, str]:
    """Answer: shows that the queue runs, end to end."""
    return {"pong": envelope.trace_id}


@handler(
    "system.apply_retention", payload=NoPayload, timeout_seconds=1_800, is_attested=False, is_internal=True
)
def apply_retention(envelope: JobEnvelope[NoPayload]) -> dict[str, int]:
    """Delete what has been kept long enough; what it does not get to is left for the next time."""
    return apply_retentions(between=envelope.checkpoint)


@handler("system.evaluate", payload=NoPayload, timeout_seconds=3_600, is_attested=False, is_internal=True)
def evaluate_work(envelope: JobEnvelope[NoPayload]) -> dict[str, Any]:
    """Say of all work that has ended or is overdue whether it is truly done."""
    try:
        run = evaluate()
    except NotEvaluated as failure:  # the next run is another try
        raise PermanentError(str(failure), code="not_evaluated") from failure
    return {"run": run.pk, "categories": run.categories, "problems": run.problems}


@handler(
    "system.mail_problems",
    payload=ProblemMail,
    retry=RetryPolicy(delays=(10, 60, 300, 900, 3_600, 3_600, 3_600)),
    timeout_seconds=60,
    is_attested=False,
    is_internal=True,
)
def mail_problems(envelope: JobEnvelope[ProblemMail]) -> dict[str, int]:
    """Tell operators by e-mail of new problems; fails, and is tried again, while the mail server does not take it."""
    return {"addresses": send_problem_mail(envelope.payload, job_id=envelope.job_id)}


@dataclass(frozen=True)
class OperationOfRecords:
    operation_id: str


@handler(
    KIND,
    payload=OperationOfRecords,
    # What an attempt has dealt with is dealt with for good: another goes on from there, as after a killed worker.
    retry=RetryPolicy(max_attempts=20, delay_seconds=1, cap_seconds=60),
    timeout_seconds=21_600,
    is_attested=False,
    is_internal=True,
)
def run_bulk_operation(envelope: JobEnvelope[OperationOfRecords]) -> dict[str, Any]:
    """Do what an operator asked for to each of many records."""
    # The verbs are the admin's, which is not loaded yet when kinds are registered.
    from jobs.admin.bulk import run_operation

    return run_operation(UUID(envelope.payload.operation_id), envelope)
