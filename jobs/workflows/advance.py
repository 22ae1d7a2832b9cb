"""Moves workflows on when their jobs end, in the transaction that ended them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from jobs.models import Job, Workflow
from jobs.models.evaluation import NOT_EVALUATED
from jobs.queue.outcomes import digest_of_error
from jobs.signals import FinishedWorkflow
from jobs.statements import batch, run
from jobs.workflows.templates import UnknownName, resolve

Lane = tuple[UUID | None, str, bool]


@dataclass(slots=True)
class Advance:
    """What the end of some jobs has meant for their workflows."""

    workflows: dict[UUID, Workflow] = field(default_factory=dict)  # as they were before
    finished: list[FinishedWorkflow] = field(default_factory=list)
    stopped: list[Any] = field(default_factory=list)  # rows of end_jobs.sql: steps that won't start any more
    lanes: list[Lane] = field(default_factory=list)  # where a next step has been queued


@dataclass(slots=True)
class _Decision:
    """What is to be written, gathered over the batch."""

    start: dict[UUID, Any] = field(default_factory=dict)  # payload by job
    # (status, error) by job that is not to start any more
    stop: dict[UUID, tuple[str, dict[str, Any] | None]] = field(default_factory=dict)
    end: dict[UUID, tuple[str, list[str], dict[str, Any] | None]] = field(default_factory=dict)


def advance_workflows(ended: Sequence[Any]) -> Advance:
    """Queue the next steps of the workflows these jobs belong to, or end them.

    `ended` are rows with `id`, `workflow_id`, `status`, `step_index` and `error`; rows of jobs that go back to
    the queue only have their workflow named. The number of statements does not depend on how many there are.
    """
    keys = {row.workflow_id for row in ended if row.workflow_id}
    if not keys:
        return Advance()
    # Locked in id order, after the jobs: everyone who locks both does it in this order.
    workflows = {w.pk: w for w in Workflow.objects.filter(pk__in=keys).order_by("pk").select_for_update()}
    if evaluated := [key for key, workflow in workflows.items() if workflow.is_cleanup_evaluated]:
        # Found stuck, and yet it moves.
        Workflow.objects.filter(pk__in=evaluated).update(**NOT_EVALUATED)
    advance = Advance(workflows=workflows)
    final = [row for row in ended if row.workflow_id and row.status != Job.Status.QUEUED]
    if final:
        steps = _steps_of({row.workflow_id for row in final})
        decision = _Decision()
        for row in final:
            if workflows[row.workflow_id].status == Workflow.Status.RUNNING:
                _decide(row, workflows[row.workflow_id], steps[row.workflow_id], decision)
        _write(decision, advance)
    return advance


def outputs_of(result: Any) -> list[str]:
    """The http(s) URLs in a result, in order, each once."""
    if isinstance(result, str):
        return [result] if result.startswith(("http://", "https://")) else []
    items = result.values() if isinstance(result, dict) else result if isinstance(result, list) else []
    return list(dict.fromkeys(url for item in items for url in outputs_of(item)))


def _steps_of(keys: set[UUID]) -> dict[UUID, list[Job]]:
    steps: dict[UUID, list[Job]] = {key: [] for key in keys}
    fields = ("workflow_id", "step_index", "step_name", "status", "payload", "result", "error")
    jobs = Job.objects.filter(workflow__in=keys).order_by("workflow", "step_index")
    for job in jobs.only(*fields, "cancel_requested_at"):
        steps[job.workflow_id].append(job)  # type: ignore[index]
    return steps


def _decide(row: Any, workflow: Workflow, steps: list[Job], decision: _Decision) -> None:
    if row.status == Job.Status.CANCELLED:
        _decide_cancelled(row.error, workflow, steps, decision)
        return
    if row.status != Job.Status.COMPLETED:
        decision.end[workflow.pk] = (row.status, [], row.error)
        return
    following = next((step for step in steps if step.status != Job.Status.COMPLETED), None)
    if following is None:
        decision.end[workflow.pk] = (Workflow.Status.COMPLETED, outputs_of(steps[-1].result), None)
    elif following.status == Job.Status.WAITING and following.cancel_requested_at:
        # Its workflow was cancelled while the one before ran, and that one did not hear of it in time.
        error = {"code": "cancelled", "message": "The workflow was cancelled."}
        _decide_cancelled(error, workflow, steps, decision)
    elif following.status == Job.Status.WAITING:
        _decide_next(following, workflow, steps, decision)
    elif following.is_final:
        # It ended before its turn came, and nothing will end the workflow if this does not.
        decision.end[workflow.pk] = (following.status, [], following.error)


def _decide_cancelled(
    error: dict[str, Any] | None, workflow: Workflow, steps: list[Job], decision: _Decision
) -> None:
    """End a workflow with the steps that wait: nothing can start them any more, as after a failure a retry can."""
    waiting = [step for step in steps if step.status == Job.Status.WAITING]
    decision.stop |= {step.pk: (Job.Status.CANCELLED, error) for step in waiting}
    decision.end[workflow.pk] = (Workflow.Status.CANCELLED, [], error)


def _decide_next(following: Job, workflow: Workflow, steps: list[Job], decision: _Decision) -> None:
    results = {step.step_name: step.result for step in steps if step.status == Job.Status.COMPLETED}
    try:
        decision.start[following.pk] = resolve(following.payload, workflow.data.get("variables", {}), results)
    except UnknownName as missing:
        error = {
            "code": "missing_input",
            "message": f"Step {following.step_name!r} needs ${{{missing.args[0]}}}, which does not exist.",
        }
        decision.stop[following.pk] = (Job.Status.FAILED, error)
        decision.end[workflow.pk] = (Workflow.Status.FAILED, [], error)


def _write(decision: _Decision, advance: Advance) -> None:
    if decision.start:
        starts = [{"id": key, "payload": payload} for key, payload in decision.start.items()]
        rows = run("start_steps", {"starts": batch(starts)})
        advance.lanes += [(row.tenant_id, row.queue, bool(row.service_required)) for row in rows]
    if decision.stop:
        ends = [
            {"id": key, "status": how, "error": why, "error_digest": digest_of_error(why)}
            for key, (how, why) in decision.stop.items()
        ]
        advance.stopped += run("end_jobs", {"ends": batch(ends)})
    if decision.end:
        advance.finished += end_workflows(decision.end)


def end_workflows(
    ends: dict[UUID, tuple[str, list[str], dict[str, Any] | None]],
) -> list[FinishedWorkflow]:
    """End running workflows with (status, outputs, error) each; those that had ended already are left alone."""
    rows = run(
        "end_workflows",
        {
            "ends": batch(
                [
                    {"id": key, "status": status, "outputs": outputs, "error": error}
                    for key, (status, outputs, error) in ends.items()
                ]
            )
        },
    )
    return [
        FinishedWorkflow(
            pk=row.id,
            tenant_id=row.tenant_id,
            workflow_id=row.workflow_id,
            kind=row.kind,
            user_id=row.user_id,
            attempt=row.attempt,
            status=row.status,
            miniapp_req=row.first_req,
            outputs=row.outputs,
            error=row.error,
            total_steps=row.total_steps,
            completed_steps=row.completed_steps,
            trace_id=row.trace_id,
            request_id=row.request_id,
            ended_at=row.ended_at,
        )
        for row in rows
    ]
