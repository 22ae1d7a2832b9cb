"""Starting workflows: the verbs."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, transaction

from config.tracing import current_trace
from jobs.errors import FieldProblem, InvalidInput, WorkflowExists
from jobs.models import Collection, Job, Tenant, Workflow
from jobs.queue.enqueue import NewJob, enqueue_jobs
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
    return start_workflow(
        collection.tenant,
        workflow_id=workflow_id,
        steps=[Step(**step) for step in collection.steps],
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


def start_workflow(
    tenant: Tenant,
    *,
    workflow_id: str,
    steps: list[Step],
    actor_id: str,
    data: dict[str, Any],
    miniapp_req: dict[str, Any] | None = None,
    priority: int = 50,
    **fields: Any,
) -> tuple[Workflow, list[Job]]:
    """Store a workflow with all its jobs: the first queued, the others waiting for the one before.

    Raises WorkflowExists when the tenant has one of this name.
    """
    trace = current_trace()
    with transaction.atomic():
        try:
            with transaction.atomic():
                workflow = Workflow.objects.create(
                    tenant=tenant,
                    workflow_id=workflow_id,
                    total_steps=len(steps),
                    data=data,
                    miniapp_req=miniapp_req,
                    priority=priority,
                    actor_id=actor_id,
                    trace_id=trace.trace_id,
                    request_id=trace.request_id,
                    **fields,
                )
        except IntegrityError as error:
            raise WorkflowExists(f"There is a workflow {workflow_id!r} already.") from error
        ids = enqueue_jobs([_job_of(workflow, index, step) for index, step in enumerate(steps)])
        jobs = list(Job.objects.filter(pk__in=ids).order_by("step_index"))
    return workflow, jobs


def _job_of(workflow: Workflow, index: int, step: Step) -> NewJob:
    is_first = index == 0
    variables = workflow.data.get("variables", {})
    ctx = {**step.options.get("ctx", {}), "workflow_id": workflow.workflow_id}
    if workflow.miniapp_req is not None:
        ctx["miniapp_req"] = workflow.miniapp_req
    return NewJob(
        tenant_id=workflow.tenant_id,
        kind=step.kind,
        service_required=step.service_required,
        payload=resolve(step.payload, variables, {}) if is_first else step.payload,
        priority=workflow.priority,
        actor_id=workflow.actor_id,
        workflow_id=workflow.pk,
        step_index=index,
        step_name=step.name,
        is_waiting=not is_first,
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
