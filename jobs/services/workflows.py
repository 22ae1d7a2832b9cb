"""Starting workflows, retrying and cancelling them: the verbs."""

from __future__ import annotations

import itertools
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from config.tracing import current_trace
from jobs.errors import FieldProblem, InvalidInput, InvalidTransition, WorkflowExists
from jobs.models import Collection, Event, Job, Tenant, Workflow
from jobs.queue.enqueue import NewJob, enqueue_jobs
from jobs.queue.finish import end_unstarted_jobs
from jobs.queue.outcomes import make_error
from jobs.services.events import record_event
from jobs.services.jobs import ask_to_stop
from jobs.services.retries import Retry, rerun_workflow
from jobs.signals import announce
from jobs.workflows.advance import end_workflows
from jobs.workflows.locks import lock_with_steps
from jobs.workflows.templates import resolve, unknown_names


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """What a user asks a collection for; `workflow_id` empty lets the platform name it."""

    variables: dict[str, Any]
    user_id: str = ""
    workflow_id: str = ""
    workflow_priority: int = 50
    session_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One job of a workflow to be; `payload` may hold placeholders unless it is the first."""

    name: str
    payload: Any
    service_required: str = ""
    kind: str = ""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class NewWorkflow:
    """A workflow to be started; `data` is the request it came from, which is never overwritten."""

    workflow_id: str
    steps: list[Step]
    actor_id: str
    data: dict[str, Any]
    miniapp_req: dict[str, Any] | None = None
    kind: str = Workflow.Kind.GENERATION
    collection: Collection | None = None
    user_id: str = ""
    session_id: str = ""
    priority: int = 50


def make_workflow_id() -> str:
    """A name for a workflow whose client gave none."""
    return f"workflow-{secrets.token_hex(12)}"


def start_generation(
    collection: Collection, request: GenerationRequest, *, actor_id: str
) -> tuple[Workflow, list[Job]]:
    """Run a collection's steps over a user's variables.

    `miniapp_req` is built here, from the request as it was validated, and travels in each job's ctx. Raises
    InvalidInput for a variable that a step names and the request lacks, and WorkflowExists.
    """
    _refuse_unknown_names(collection, request.variables)
    workflow_id = request.workflow_id or make_workflow_id()
    miniapp_req = {
        "request_body": {
            "variables": request.variables,
            "workflow_id": workflow_id,
            "workflow_priority": request.workflow_priority,
        },
        "user_context": {"user_id": request.user_id or None, "collection_id": str(collection.pk)},
        "metadata": {"timestamp": time.time_ns() // 1_000_000, "request_id": workflow_id},
    }
    # The first payload is filled in here and now; the others wait for the results they name.
    first, *others = [Step(**step) for step in collection.steps]
    first = replace(first, payload=resolve(first.payload, request.variables, {}))
    return start_workflow(
        collection.tenant,
        workflow_id=workflow_id,
        steps=[first, *others],
        actor_id=actor_id,
        collection=collection,
        user_id=request.user_id,
        session_id=request.session_id,
        priority=request.workflow_priority,
        miniapp_req=miniapp_req,
        data={
            "collection_id": str(collection.pk),
            "collection_name": collection.name,
            "variables": request.variables,
            "steps": collection.steps,
        },
    )


def start_workflow(tenant: Tenant, **fields: Any) -> tuple[Workflow, list[Job]]:
    """Start one workflow; `fields` are those of NewWorkflow. Raises WorkflowExists."""
    return start_workflows(tenant, [NewWorkflow(**fields)])[0]


def start_workflows(tenant: Tenant, new_workflows: Sequence[NewWorkflow]) -> list[tuple[Workflow, list[Job]]]:
    """Store workflows with all their jobs, all or none: the first job of each queued, the others waiting.

    A workflow of one whose job finds its singleton key taken is not stored, and is answered with the job that
    holds the key. The number of statements does not grow with the workflows. Raises WorkflowExists, naming
    those whose `workflow_id` is taken.
    """
    with transaction.atomic():
        stored = store_workflows(tenant, new_workflows)
        jobs = iter(add_jobs([new for _, new_jobs in stored for new in new_jobs]))
    return [(workflow, list(itertools.islice(jobs, workflow.total_steps))) for workflow, _ in stored]


def store_workflows(
    tenant: Tenant, new_workflows: Sequence[NewWorkflow]
) -> list[tuple[Workflow, list[NewJob]]]:
    """Store workflows alone, all or none, each with the jobs to be added in the same transaction.

    Raises WorkflowExists, naming those whose `workflow_id` is taken.
    """
    workflows = _named(tenant, new_workflows)
    return [
        (workflow, [_job_of(workflow, index, step) for index, step in enumerate(new.steps)])
        for workflow, new in zip(workflows, new_workflows, strict=True)
    ]


def add_jobs(new_jobs: Sequence[NewJob]) -> list[Job]:
    """Add jobs, of workflows or not, and return them in the order given, in the caller's transaction.

    Where a live job holds the singleton key, that one is returned, and the workflow of the job that is not
    added is removed. All that a caller wants must come in one call: in it the keys are taken in one order, so
    that two callers never wait for each other's.
    """
    ordered = sorted(new_jobs, key=lambda new: (new.kind, new.service_required, new.singleton_key))
    ids = {new.id: id_ for new, id_ in zip(ordered, enqueue_jobs(ordered), strict=True)}
    refused = [new.workflow_id for new in new_jobs if new.workflow_id and new.id != ids[new.id]]
    if refused:
        Workflow.objects.filter(pk__in=refused).delete()
    stored = Job.objects.select_related("workflow").in_bulk(ids.values())
    return [stored[ids[new.id]] for new in new_jobs]


def retry_workflow(workflow: Workflow, *, by: str, reason: str = "") -> Workflow:
    """Run a failed workflow again: only what failed, for one attempt more; what has completed keeps its results.

    What it was started with stays as it is; `retry_execution_data` says of the run before, and who wanted another.
    Raises InvalidTransition unless it has failed, or where another job has taken the singleton key of a step.
    """
    with transaction.atomic():
        locked, steps = lock_with_steps(workflow.pk)
        rerun_workflow(locked, steps, Retry(by=by, reason=reason))
    workflow.refresh_from_db()
    return workflow


def cancel_workflow(workflow: Workflow, *, by: str, reason: str = "") -> Workflow:
    """Stop a workflow: at once where no step runs, else when the running step has ended.

    Steps that have not begun end together with it. Raises InvalidTransition when it has ended.
    """
    with transaction.atomic():
        locked, steps = lock_with_steps(workflow.pk)
        if locked.status != Workflow.Status.RUNNING:
            raise InvalidTransition(
                f"The workflow is {locked.status}; only one that has not ended is cancelled."
            )
        running = [step for step in steps if step.status == Job.Status.RUNNING]
        type_ = Event.Type.CANCEL_REQUESTED if running else Event.Type.CANCELLED
        record_event(locked, type_, {"by": by, "reason": reason})
        if running:
            _stop_after(running, steps, by=by)
        else:
            _cancel_now(locked, steps, by=by)
    workflow.refresh_from_db()
    return workflow


def _stop_after(running: list[Job], steps: list[Job], *, by: str) -> None:
    """Ask running steps to stop, and mark the others: whatever becomes of these, none of those begins."""
    for step in running:
        ask_to_stop(step, by=by)
    unbegun = [step.pk for step in steps if step.status in (Job.Status.WAITING, Job.Status.QUEUED)]
    Job.objects.filter(pk__in=unbegun).update(cancel_requested_at=Now())


def _cancel_now(workflow: Workflow, steps: list[Job], *, by: str) -> None:
    error = make_error("cancelled", f"Cancelled by {by}.")
    if unbegun := [step for step in steps if not step.is_final]:
        end_unstarted_jobs(unbegun, Job.Status.CANCELLED, error)
    else:
        # Nothing lives that could end it.
        announce([], end_workflows({workflow.pk: (Workflow.Status.CANCELLED, [], error)}))


def _named(tenant: Tenant, new_workflows: Sequence[NewWorkflow]) -> list[Workflow]:
    trace = current_trace()
    workflows = [
        Workflow(
            tenant=tenant,
            workflow_id=new.workflow_id,
            kind=new.kind,
            total_steps=len(new.steps),
            data=new.data,
            miniapp_req=new.miniapp_req,
            collection=new.collection,
            user_id=new.user_id,
            session_id=new.session_id,
            priority=new.priority,
            actor_id=new.actor_id,
            trace_id=trace.trace_id,
            request_id=trace.request_id,
        )
        for new in new_workflows
    ]
    times = Counter(workflow.workflow_id for workflow in workflows)
    if doubled := [name for name, count in times.items() if count > 1]:
        raise WorkflowExists(f"Given more than once: {_listed(doubled)}.")
    try:
        with transaction.atomic():
            # In one order, so that two callers never wait for each other's names.
            Workflow.objects.bulk_create(sorted(workflows, key=lambda workflow: workflow.workflow_id))
    except IntegrityError as error:
        taken = Workflow.objects.of_tenant(tenant).filter(workflow_id__in=times)
        names = list(taken.values_list("workflow_id", flat=True))
        if not names:
            raise
        raise WorkflowExists(f"Taken by an earlier workflow: {_listed(names)}.") from error
    return workflows


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names))


def _job_of(workflow: Workflow, index: int, step: Step) -> NewJob:
    ctx = {**step.options.get("ctx", {}), "workflow_id": workflow.workflow_id}
    if workflow.miniapp_req is not None:
        ctx["miniapp_req"] = workflow.miniapp_req
    return NewJob(
        tenant_id=workflow.tenant_id,
        kind=step.kind,
        service_required=step.service_required,
        payload=step.payload,
        priority=workflow.priority,
        actor_id=workflow.actor_id,
        workflow_id=workflow.pk,
        step_index=index,
        step_name=step.name,
        is_waiting=index > 0,
        **{**step.options, "ctx": ctx},
    )


def _refuse_unknown_names(collection: Collection, variables: dict[str, Any]) -> None:
    missing = {
        name: f"Step {step['name']!r} needs ${{{name}}}, which the request does not give."
        for index, step in enumerate(collection.steps)
        for _, name in unknown_names(
            step["payload"], variables, [earlier["name"] for earlier in collection.steps[:index]]
        )
    }
    if missing:
        raise InvalidInput(
            "The collection's steps need what the request does not give.",
            errors=[
                FieldProblem("/" + name.replace(".", "/"), "unknown_name", detail)
                for name, detail in missing.items()
            ],
        )
