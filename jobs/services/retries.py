"""Running again what ended without success: what the retry of a workflow and that of a job share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from psycopg.errors import UniqueViolation

from jobs.errors import InvalidTransition
from jobs.models import Event, Job, Workflow
from jobs.models.evaluation import NOT_EVALUATED
from jobs.queue import wakeups
from jobs.queue.outcomes import code_and_message
from jobs.services.events import record_event
from jobs.workflows.templates import UnknownName, resolve

# What upper floors know of failed workflows that are not to run again: each raises InvalidTransition for those.
retry_refusals: list[Callable[[Workflow], None]] = []

SINGLETON = "job_singleton"  # the index that lets one job live under a key

# What every step that runs again, or waits again for its turn, begins with.
AS_NEW: dict[str, Any] = {
    "expires_at": None,  # it has been overtaken
    "progress": 0,
    "cancel_requested_at": None,
    "failed_at": None,
    "cancelled_at": None,
    **NOT_EVALUATED,
}


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Who asks for it and why; for one job perhaps with another payload than its own."""

    by: str
    reason: str = ""
    payload: dict[str, Any] | None = None


def rerun_workflow(workflow: Workflow, steps: Sequence[Job], retry: Retry) -> None:
    """Begin another run of a failed workflow, which is locked with all its steps: only what failed runs.

    What has completed keeps its results. The first step that has not is queued for one attempt more, where it
    does not live anyhow; those after it wait for it, whatever had become of them. Raises InvalidTransition.
    """
    if workflow.status != Workflow.Status.FAILED:
        raise InvalidTransition(f"The workflow is {workflow.status}; only a failed one is retried.")
    for refuse in retry_refusals:
        refuse(workflow)
    kept = [step for step in steps if step.status == Job.Status.COMPLETED]
    rerun = [step for step in steps if step.status != Job.Status.COMPLETED]
    if not rerun:
        raise InvalidTransition("All steps of the workflow have completed: nothing is left to be retried.")
    first, *later = rerun
    _refuse_while_stopping(first)
    _reopen(workflow, retry, kept, rerun)
    _wait_again([step for step in later if not step.singleton_key])
    change: dict[str, Any] = {}
    # Singleton keys are taken in the order in which new jobs take them, so that nobody waits for anybody's in a circle.
    for step in sorted([first, *(step for step in later if step.singleton_key)], key=_key_of):
        if step is first:
            change = _begin_again(first, workflow, kept, retry)
        else:
            _wait_again([step])
    record_event(workflow, Event.Type.RETRIED, {"by": retry.by, "reason": retry.reason, **change})


def queue_again(job: Job, retry: Retry, *, before: Any) -> dict[str, Any]:
    """Queue a job that has ended, and is locked, for one attempt more; how its payload `before` has changed.

    The first payload is kept in `original_payload`. Raises InvalidTransition where another job has taken the
    singleton key.
    """
    after = before if retry.payload is None else retry.payload
    change = {} if after == before else {"before": before, "after": after}
    is_first_edit = bool(change) and job.original_payload is None
    with _no_singleton_taken():
        Job.objects.filter(pk=job.pk).update(
            status=Job.Status.QUEUED,
            payload=after,
            original_payload=before if is_first_edit else job.original_payload,
            is_filled_in=True,
            max_attempts=F("attempt") + 1,
            batch_size=1,  # the attempt is not to be lost to a neighbour
            run_at=Now(),
            **AS_NEW,
        )
    record_event(job, Event.Type.RETRIED, {"by": retry.by, "reason": retry.reason, **change})
    wakeups.announce_on_commit([(job.tenant_id, job.queue, job.is_remote)])
    return change


def _refuse_while_stopping(step: Job) -> None:
    """Its worker may have heard that it is to stop: it would end as cancelled, and for good its workflow with it."""
    if step.status == Job.Status.RUNNING and step.cancel_requested_at:
        raise InvalidTransition(f"Step {step.step_name!r} is being cancelled: retry when it has ended.")


def _key_of(step: Job) -> tuple[str, str, str]:
    return step.kind, step.service_required, step.singleton_key


def _wait_again(steps: Sequence[Job]) -> None:
    """Let steps wait for their turn, whatever had become of them."""
    with _no_singleton_taken():
        Job.objects.filter(pk__in=[step.pk for step in steps]).update(
            status=Job.Status.WAITING, error=None, error_fingerprint=None, **AS_NEW
        )


def _begin_again(step: Job, workflow: Workflow, kept: Sequence[Job], retry: Retry) -> dict[str, Any]:
    """Queue the step that a workflow goes on with, where it does not live anyhow; how its payload has changed."""
    if step.status in (Job.Status.QUEUED, Job.Status.RUNNING):
        Job.objects.filter(pk=step.pk).update(expires_at=None, cancel_requested_at=None)
        return {}
    before = _filled_in(step, workflow, kept) if retry.payload is None else step.payload
    return queue_again(step, retry, before=before)


def _reopen(workflow: Workflow, retry: Retry, kept: Sequence[Job], rerun: Sequence[Job]) -> None:
    """Let a workflow run again, and note of which run before; what it was started with stays as it is."""
    Workflow.objects.filter(pk=workflow.pk).update(
        status=Workflow.Status.RUNNING,
        attempt=workflow.attempt + 1,
        failed_at=None,
        error=None,
        outputs=[],
        notification_status=Workflow.NotificationStatus.NONE,  # of this run's end nobody has been told
        last_retry_attempt=workflow.attempt,
        retry_completed_at=None,
        retry_execution_data={
            "run": workflow.attempt + 1,
            "by": retry.by,
            "reason": retry.reason,
            "requested_at": timezone.now().isoformat(),
            "previous": _previous(workflow),
            "kept_steps": [step.step_name for step in kept],
            "rerun_steps": [step.step_name for step in rerun],
        },
        **NOT_EVALUATED,
    )


def _previous(workflow: Workflow) -> dict[str, Any]:
    """What the run before has come to."""
    return {
        "status": workflow.status,
        "error": code_and_message(workflow.error),
        "failed_at": workflow.failed_at.isoformat() if workflow.failed_at else None,
        "outputs": workflow.outputs,
    }


def _filled_in(job: Job, workflow: Workflow, earlier: Sequence[Job]) -> Any:
    """The payload of a step, also of one that has not had its turn: what has had it is no template any more.

    Raises InvalidTransition where it names what does not exist.
    """
    if not earlier or job.is_filled_in or job.attempt:
        return job.payload
    results = {step.step_name: step.result for step in earlier}
    try:
        return resolve(job.payload, workflow.data.get("variables", {}), results)
    except UnknownName as missing:
        raise InvalidTransition(f"It needs ${{{missing.args[0]}}}, which does not exist.") from missing


@contextmanager
def _no_singleton_taken() -> Iterator[None]:
    """Refuse what would have two live jobs under one singleton key: to be let through to the end of the transaction."""
    try:
        with transaction.atomic(savepoint=False):
            yield
    except IntegrityError as error:
        if (
            not isinstance(error.__cause__, UniqueViolation)
            or error.__cause__.diag.constraint_name != SINGLETON
        ):
            raise
        raise InvalidTransition(
            "Another job lives under its singleton key; let that one end first."
        ) from error
