"""How tests follow a verb from its question over its bulk operation to what came of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from django.urls import resolve

from jobs.admin.bulk import run_operation
from jobs.ids import uuid7
from jobs.models import AuditEntry, BulkOperation
from jobs.queue.envelope import JobEnvelope

OPERATION = re.compile(r'name="operation" value="([0-9a-f-]{36})"')


def operation_of(response: Any) -> BulkOperation:
    """The operation whose page an answer leads to."""
    assert response.status_code == 302, response.status_code
    return BulkOperation.objects.get(pk=resolve(response["Location"]).kwargs["object_id"])


def ended(response: Any, run_jobs: Callable[..., Any]) -> BulkOperation:
    """The operation that a confirmed verb has started, once its job has run."""
    operation = operation_of(response)
    run_jobs()
    operation.refresh_from_db()
    return operation


def ended_alone(response: Any) -> BulkOperation:
    """The same where no other job is to run: as its handler does it, without the queue."""
    operation = operation_of(response)
    run_operation(operation.pk, envelope_of(operation))
    operation.refresh_from_db()
    return operation


def envelope_of(operation: BulkOperation) -> JobEnvelope[Any]:
    """What the handler of its job is given."""
    return JobEnvelope(
        job_id=operation.job_id or uuid7(),
        attempt=1,
        tenant_id=None,
        actor_id=operation.actor,
        trace_id="0" * 31 + "1",
        request_id="",
        payload=None,
    )


def came_to(operation: BulkOperation) -> tuple[dict[str, int], dict[str, int]]:
    """What came of how many, and why how many were refused."""
    assert operation.done_count == sum(operation.outcomes.values())
    assert operation.refused_count == sum(operation.refusals.values())
    return operation.outcomes, operation.refusals


def entries_of(operation: BulkOperation) -> list[AuditEntry]:
    """The audit log's entries of the records of an operation, in their order."""
    return list(AuditEntry.objects.filter(operation_id=operation.pk, model=operation.model).order_by("id"))
