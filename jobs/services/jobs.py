"""What people and workers do to a job: the verbs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Greatest, Now

from jobs.errors import InvalidTransition, LeaseLost, OutcomeNotStored
from jobs.models import Event, Job, Tenant, Workflow
from jobs.queue import wakeups
from jobs.queue.claim import Lease, Renewal, renew
from jobs.queue.finish import end_unstarted_jobs, finish
from jobs.queue.handlers import get_handler
from jobs.queue.outcomes import Outcome, failed_or_retried, make_error, policy_of
from jobs.workflows.templates import UnknownName, resolve


def cancel_job(job: Job, *, by: str) -> Job:
    """Stop a job: at once where it has not begun, at its worker's next word or checkpoint where it runs.

    Raises InvalidTransition when it has ended, or waits in a workflow that has failed.
    """
    with transaction.atomic():
        if job.status == Job.Status.WAITING and job.workflow_id:
            # First the workflow: whoever completes the step before locks that before this one.
            _refuse_of_failed_workflow(Workflow.objects.select_for_update().get(pk=job.workflow_id))
        locked = Job.objects.select_for_update(of=("self",)).get(pk=job.pk)
        if locked.status == Job.Status.RUNNING:
            Job.objects.filter(pk=job.pk).update(cancel_requested_at=Coalesce("cancel_requested_at", Now()))
            _record(locked, Event.Type.CANCEL_REQUESTED, {"by": by})
        elif locked.is_final:
            raise InvalidTransition(
                f"The job is {locked.status}; only a job that has not ended is cancelled."
            )
        else:
            end_unstarted_jobs([locked], Job.Status.CANCELLED, make_error("cancelled", f"Cancelled by {by}."))
            _record(locked, Event.Type.CANCELLED, {"by": by})
    job.refresh_from_db()
    return job


def _refuse_of_failed_workflow(workflow: Workflow) -> None:
    if workflow.status == Workflow.Status.FAILED:
        raise InvalidTransition("Its workflow has failed: the job waits for a retry, or for ever.")


def retry_job(job: Job, *, by: str, reason: str = "", payload: dict[str, Any] | None = None) -> Job:
    """Queue a failed or cancelled job again for one attempt more, perhaps with another payload.

    The count of attempts goes on; the first payload is kept in `original_payload`, and who, why, before and
    after in an event. A failed workflow runs again with its job. Raises InvalidTransition for a job that has
    not ended so, whose workflow can't go on or whose singleton key another job has taken, and InvalidInput for
    a payload its kind does not take.
    """
    if payload is not None and job.kind:
        get_handler(job.kind).parse(payload)
    with transaction.atomic():
        locked = Job.objects.select_for_update(of=("self",)).get(pk=job.pk)
        if Job.Status.QUEUED not in Job.TRANSITIONS[Job.Status(locked.status)] or not locked.is_final:
            raise InvalidTransition(f"The job is {locked.status}; only a failed or cancelled job is retried.")
        earlier = _reopen_workflow(locked)
        before = _filled_in(locked, earlier) if payload is None else locked.payload
        after = before if payload is None else payload
        if after != before and locked.original_payload is None:
            locked.original_payload = before
        try:
            with transaction.atomic():
                Job.objects.filter(pk=job.pk).update(
                    status=Job.Status.QUEUED,
                    payload=after,
                    original_payload=locked.original_payload,
                    max_attempts=Greatest("max_attempts", F("attempt") + 1),
                    batch_size=1,  # the attempt is not to be lost to a neighbour
                    run_at=Now(),
                    expires_at=None,
                    progress=0,
                    cancel_requested_at=None,
                    failed_at=None,
                    cancelled_at=None,
                )
        except IntegrityError as error:
            raise InvalidTransition(
                "Another job lives under its singleton key; let that one end first."
            ) from error
        change = {} if after == before else {"before": before, "after": after}
        _record(locked, Event.Type.RETRIED, {"by": by, "reason": reason, **change})
        wakeups.announce_on_commit([(locked.tenant_id, locked.queue, locked.is_remote)])
    job.refresh_from_db()
    return job


def _reopen_workflow(job: Job) -> list[Job]:
    """Let the workflow that failed with this job go on; the steps before it, whose results it may name."""
    if job.workflow_id is None:
        return []
    failed = Workflow.objects.filter(pk=job.workflow_id, status=Workflow.Status.FAILED)
    if not failed.update(
        status=Workflow.Status.RUNNING,
        attempt=F("attempt") + 1,
        failed_at=None,
        error=None,
        notification_status=Workflow.NotificationStatus.NONE,  # of this run's end nobody has been told
    ):
        raise InvalidTransition("The job's workflow has not failed, so its job can't run again.")
    steps = Job.objects.filter(workflow=job.workflow_id).exclude(pk=job.pk).order_by("step_index")
    earlier = [step for step in steps if (step.step_index or 0) < (job.step_index or 0)]
    later = [step for step in steps if step not in earlier]
    if any(step.status != Job.Status.COMPLETED for step in earlier) or any(
        step.status != Job.Status.WAITING for step in later
    ):
        raise InvalidTransition(
            "A step runs again when those before it have completed and those after it wait."
        )
    return earlier


def _filled_in(job: Job, earlier: list[Job]) -> Any:
    """The payload of a step, also where it ended while it still waited for the one before.

    Raises InvalidTransition where it names what does not exist.
    """
    if not earlier or _was_queued_after(earlier[-1], job):
        return job.payload
    workflow = earlier[-1].workflow
    assert workflow is not None
    variables = workflow.data.get("variables", {})
    try:
        return resolve(job.payload, variables, {step.step_name: step.result for step in earlier})
    except UnknownName as missing:
        raise InvalidTransition(f"It needs ${{{missing.args[0]}}}, which does not exist.") from missing


def _was_queued_after(before: Job, job: Job) -> bool:
    """Whether the step was queued once, which fills it in, and happens together with the end of the one before."""
    is_for_want_of_input = bool(job.error and job.error["code"] == "missing_input")
    ended_later = bool(job.ended_at and before.ended_at and job.ended_at >= before.ended_at)
    return ended_later and not is_for_want_of_input


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
        Job.objects.filter(pk=job.pk).update(progress=progress)
        _record(job, Event.Type.PROGRESS, {"progress": progress, "message": message})
    return renewal


def append_log(job: Job, token: UUID, lines: list[str]) -> Renewal:
    """Keep lines a worker has printed; renews its lease. Raises LeaseLost."""
    with transaction.atomic():
        renewal = heartbeat(job, token)
        _record(job, Event.Type.LOG, {"lines": lines})
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


def _record(job: Job, type_: str, data: dict[str, Any]) -> None:
    Event.objects.create(
        tenant_id=job.tenant_id, job_id=job.pk, workflow_id=job.workflow_id, type=type_, data=data
    )
