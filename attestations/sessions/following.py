"""Tells a session's stream how it has ended, in the transaction that ended it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from attestations.sessions.phases import COMPLETE, phase_after
from jobs.models import Event, Workflow
from jobs.queue.wakeups import announce_changes_on_commit
from jobs.signals import FinishedWorkflow

NO_EXIT_CODE = -1
EXITED = re.compile(r"exit_(\d+)")


def tell_ends_of_sessions(*, workflows: Sequence[FinishedWorkflow], **_: Any) -> None:
    """Add `complete` or `error` to the stories of the sessions among these; their rows are locked.

    The number of statements does not grow with the batch.
    """
    ended = [workflow for workflow in workflows if workflow.kind == Workflow.Kind.PROOF]
    events = [event for workflow in ended for event in _last_words(workflow)]
    if events:
        Event.objects.bulk_create(events)
        announce_changes_on_commit([workflow.pk for workflow in ended])


def exit_error(exit_code: int | None) -> str:
    """The code of an attempt's error whose program has exited with this; None where a signal ended it."""
    return "killed" if exit_code is None else f"exit_{exit_code}"


def _last_words(workflow: FinishedWorkflow) -> list[Event]:
    if workflow.status == Workflow.Status.COMPLETED:
        said: list[tuple[str, dict[str, Any]]] = [(Event.Type.STATUS, COMPLETE), (Event.Type.COMPLETE, {})]
    else:
        said = [(Event.Type.ERROR, _error_of(workflow))]
    return [
        Event(tenant_id=workflow.tenant_id, workflow_id=workflow.pk, type=type_, data=data)
        for type_, data in said
    ]


def _error_of(workflow: FinishedWorkflow) -> dict[str, Any]:
    error = workflow.error or {}
    code = str(error.get("code", ""))
    exited = EXITED.fullmatch(code)
    return {
        "error": error.get("message") or code or f"The session was {workflow.status}.",
        "phase": phase_after(workflow.completed_steps).name,
        "code": int(exited[1]) if exited else NO_EXIT_CODE,
    }
