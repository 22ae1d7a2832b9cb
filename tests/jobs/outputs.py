"""Completed workflows with outputs, and what is seen of them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from jobs.evaluator.outputs import check_outputs, find_mistyped
from jobs.evaluator.rules import Finding, Units
from jobs.models import ProblemType, Tenant, Workflow
from jobs.workflows.advance import outputs_of
from tests.factories import make_job, make_workflow
from tests.receivers import Receiver, answer

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 32
JPEG = b"\xff\xd8\xff\xe0" + b"\0" * 32
MISMATCH, MISSING = ProblemType.CONTENT_TYPE_MISMATCH, ProblemType.MISSING_OUTPUT


def made(tenant: Tenant, result: Any, **fields: Any) -> Workflow:
    """A completed workflow whose last step answered `result`."""
    workflow = make_workflow(tenant, status="completed", total_steps=1, outputs=outputs_of(result), **fields)
    step = {"workflow": workflow, "step_index": 0, "step_name": "paint"}
    make_job(tenant, service_required="artgen", status="completed", result=result, **step)
    return workflow


def look(*workflows: Workflow, seconds: float = 10.0) -> None:
    check_outputs([workflow.pk for workflow in workflows], budget_seconds=seconds)


def find(*workflows: Workflow) -> list[Finding]:
    return list(find_mistyped(Units(model=Workflow, ids=[workflow.pk for workflow in workflows])))


def verdicts_on(*workflows: Workflow) -> dict[UUID, ProblemType | str]:
    look(*workflows)
    return {finding.unit_id: finding.problem_type for finding in find(*workflows)}


def at(receiver: Receiver, name: str) -> str:
    return receiver.url.removesuffix("hook") + name


def typed(content_type: str, body: bytes = b"weights") -> Any:
    return answer(200, [("Content-Type", content_type)], body)
