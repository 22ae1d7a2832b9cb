"""What people and workers do to a job: the verbs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Coalesce, Now

from jobs.errors import InvalidTransition, LeaseLost, OutcomeNotStored
from jobs.hygiene.sanitizer import sanitize_base64, sanitize_text
from jobs.models import Event, Job, Tenant, Workflow
from jobs.models.evaluation import NOT_EVALUATED
from jobs.queue.claim import Lease, Renewal, renew
from jobs.queue.finish import end_unstarted_jobs, finish
from jobs.queue.handlers import get_handler
from jobs.queue.outcomes import Outcome, failed_or_retried, make_error, policy_of
from jobs.services.events import record_event
from jobs.services.retries import Retry, queue_again, rerun_workflow
from jobs.workflows.locks import lock_with_steps

_RETRIED = (Job.Status.FAILED, Job.Status.CANCELLED)


def cancel_job(job: Job, *, by: str) -> Job:
    """Stop a job: at once where it has not begun, at its worker's next word or checkpoint where it runs.

    Raises InvalidTransition when it has ended, or waits in a workflow that has failed.
    """
    with transaction.atomic():
        locked, workflow, _ = _lock(job)
        if _is_stranded(locked, workflow):
            raise InvalidTransition("Its workflow has failed: the job waits for a retry, or for ever.")
        if locked.status == Job.Status.RUNNING:
            ask_to_stop(locked, by=by)
        elif locked.is_final:
            raise InvalidTransition(
                f"The job is {locked.status}; only a job that has not ended is cancelled."
            )
        else:
            end_unstarted_jobs([locked], Job.Status.CANCELLED, make_error("cancelled", f"Cancelled by {by}."))
            record_event(locked, Event.Type.CANCELLED, {"by": by})
    job.refresh_from_db()
    return job


def ask_to_stop(job: Job, *, by: str) -> None:
    """Ask for the end of a running job, which is locked: its worker hears it, and its attempt is the last."""
    Job.objects.filter(pk=job.pk).update(
        cancel_requested_at=Coalesce("cancel_requested_at", Now()), **NOT_EVALUATED
    )
    _look_anew(job.workflow_id)
    record_event(job, Event.Type.CANCEL_REQUESTED, {"by": by})


def _look_anew(workflow_id: UUID | None) -> None:
    """Have a workflow evaluated anew that was found stuck and whose step now moves."""
    if workflow_id:
        Workflow.objects.filter(pk=workflow_id, is_cleanup_evaluated=True).update(**NOT_EVALUATED)


def retry_job(job: Job, *, by: str, reason: str = "", payload: dict[str, Any] | None = None) -> Job:
    """Queue a failed or cancelled job again for one attempt more, perhaps with another payload.

    The count of attempts goes on; the first payload is kept in `original_payload`, and who, why, before and
    after in an event. A failed workflow runs again with its job, as retry_workflow() has it: also with a step that
    waits in it for what it lacks. Raises InvalidTransition for a job that is in no such state, whose workflow can't
    go on with it or whose singleton key another job has taken, and InvalidInput for a payload its kind does not take.
    """
    if payload is not None and job.kind:
        get_handler(job.kind).parse(payload)
    retry = Retry(by=by, reason=reason, payload=payload)
    with transaction.atomic():
        locked, workflow, steps = _lock(job)
        if locked.status not in _RETRIED and not _is_stranded(locked, workflow):
            raise InvalidTransition(f"The job is {locked.status}; only a failed or cancelled job is retried.")
        if workflow is None:
            queue_again(locked, retry, before=locked.payload)
        else:
            _refuse_out_of_turn(locked, workflow, steps)
            rerun_workflow(workflow, steps, retry)
    job.refresh_from_db()
    return job


def _is_stranded(job: Job, workflow: Workflow | None) -> bool:
    """Whether a step waits where nothing goes on unless there is a retry."""
    return job.status == Job.Status.WAITING and bool(workflow and workflow.status == Workflow.Status.FAILED)


def _lock(job: Job) -> tuple[Job, Workflow | None, list[Job]]:
    """Lock a job; a step with its workflow and all the steps of that."""
    if job.workflow_id is None:
        return Job.objects.select_for_update(of=("self",)).get(pk=job.pk), None, []
    workflow, steps = lock_with_steps(job.workflow_id)
    for step in steps:
        if step.pk == job.pk:
            return step, workflow, steps
    raise Job.DoesNotExist("The step has been deleted meanwhile.")


def _refuse_out_of_turn(job: Job, workflow: Workflow, steps: list[Job]) -> None:
    if workflow.status != Workflow.Status.FAILED:
        raise InvalidTransition("The job's workflow has not failed, so its job can't run again.")
    first = next(step for step in steps if step.status != Job.Status.COMPLETED)
    if first.pk != job.pk:
        raise InvalidTransition(f"Step {first.step_name!r} comes before it and has not completed.")


def heartbeat(job: Job, token: UUID) -> Renewal:
    """Put off the end of a worker's lease; raises LeaseLost."""
    renewal = renew([Lease(job.pk, token)]).get(job.pk)
    if renewal is None:
        raise LeaseLost("The lease is not this worker's any more; the job may be running elsewhere.")
    return renewal


def report_progress(job: Job, token: UUID, progress: int, message: str) -> Renewal:
    """Note how far a worker is, in percent; renews its lease. Raises LeaseLost."""
    with transaction.atomic():
        renewal = heartbeat(job, token)
        Job.objects.filter(pk=job.pk).update(progress=progress, **NOT_EVALUATED)
        _look_anew(job.workflow_id)
        record_event(job, Event.Type.PROGRESS, {"progress": progress, "message": sanitize_text(message)})
    return renewal


def append_log(job: Job, token: UUID, lines: list[str]) -> Renewal:
    """Keep lines a worker has printed; renews its lease. Raises LeaseLost."""
    with transaction.atomic():
        renewal = heartbeat(job, token)
        record_event(job, Event.Type.LOG, {"lines": sanitize_base64(lines, in_words=True)})
    return renewal


def complete_job(job: Job, token: UUID, result: Any) -> None:
    """Store a worker's result; raises LeaseLost when the lease is not live, OutcomeNotStored when we fail."""
    _finish_one(job, Outcome(lease=Lease(job.pk, token), status=Job.Status.COMPLETED, result=result))


def complete_jobs(tenant: Tenant, results: Mapping[Lease, Any]) -> dict[UUID, str]:
    """Store the results of a tenant's remote jobs; how each has ended whose lease was live.

    All others are left as they are: nobody learns whether they exist. The number of statements does not grow
    with the results.
    """
    remote = Job.objects.of_tenant(tenant).exclude(service_required="")
    known = set(remote.filter(pk__in=[lease.job_id for lease in results]).values_list("pk", flat=True))
    finished = finish(
        [
            Outcome(lease=lease, status=Job.Status.COMPLETED, result=result)
            for lease, result in results.items()
            if lease.job_id in known
        ]
    )
    return dict(Job.objects.filter(pk__in=finished).values_list("pk", "status"))


def fail_job(job: Job, token: UUID, code: str, message: str, *, is_retryable: bool) -> None:
    """End a worker's attempt as failed, or as cancelled when that was asked; raises LeaseLost."""
    lease, error = Lease(job.pk, token), make_error(code, message)
    _finish_one(job, failed_or_retried(job, lease, error, policy=policy_of(job), is_retryable=is_retryable))


def _finish_one(job: Job, outcome: Outcome) -> None:
    if finish([outcome]):
        return
    if Job.objects.filter(pk=job.pk, lease_token=outcome.lease.token).exists():
        raise OutcomeNotStored("The outcome could not be stored; the platform's log says why.")
    raise LeaseLost("The lease is not this worker's any more; nothing was stored.")
