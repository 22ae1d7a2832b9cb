"""Events: their list, and the story they make on the page of a job or workflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from jobs.admin.access.revealing import shown
from jobs.admin.displays import link, moment
from jobs.admin.documents import document
from jobs.admin.filters import CreatedFilter, TenantFilter, WorkflowFilter
from jobs.admin.lists.criteria import by_choice, by_key
from jobs.admin.records import RecordAdmin
from jobs.admin.searches import as_uuid, named_workflows
from jobs.hygiene.masking import mask
from jobs.models import Event

LINES_MAX = 200


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a story."""

    at: datetime
    type: str
    text: str
    step: str = ""  # on the page of a workflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What is known of a story up to now: its last lines, and the id of its last event."""

    lines: list[Line]
    last_id: int


def story_of(latest_first: QuerySet[Event], *, steps: Mapping[UUID, str] | None = None) -> Story:
    """The last LINES_MAX lines that these events make, the oldest first; `steps` names the jobs they are of."""
    rows = latest_first.only("type", "data", "created_at", "job_id")
    events = list(rows[:LINES_MAX])
    names = steps or {}
    lines = [
        Line(event.created_at, event.type, text, names.get(event.job_id, "") if event.job_id else "")
        for event in reversed(events)
        for text in _texts(event)
    ]
    return Story(lines=lines[-LINES_MAX:], last_id=events[0].pk if events else 0)


def _texts(event: Event) -> list[str]:
    data = event.data if isinstance(event.data, dict) else {}
    by = data.get("by", "somebody")
    match event.type:
        case Event.Type.LOG:
            return [str(line) for line in data.get("lines", [])]
        case Event.Type.PROGRESS:
            return [f"{data.get('progress', 0)} % {data.get('message', '')}".strip()]
        case Event.Type.CANCEL_REQUESTED:
            return [f"{by} asked it to stop{_why(data)}"]
        case Event.Type.CANCELLED:
            return [f"{by} cancelled it{_why(data)}"]
        case Event.Type.RETRIED:
            edited = ", with another payload" if "after" in data else ""
            return [f"{by} had it tried again{edited}{_why(data)}"]
        case Event.Type.RENOTIFIED:
            return [f"{by} had its user told once more{_why(data)}"]
        case Event.Type.REMINDER_DUE:
            return ["A reminder of it was asked for."]
        case Event.Type.USER_NOTIFIED:
            method = f", by {data['method']}" if data.get("method") else ""
            return [f"User {data.get('user_id', '?')} knows of it{method}."]
        case Event.Type.UPSTREAM_ENDED:
            return [f"An upstream says that it ended as {data.get('status') or 'it does not say what'}."]
        case Event.Type.STATUS:
            return [f"{data.get('step', '')}, {data.get('progress', 0)} %"]
        case Event.Type.TRANSACTION:
            return [f"Transaction {data.get('txHash', '?')}"]
        case Event.Type.COMPLETE:
            return ["The session is complete."]
        case Event.Type.ERROR:
            return [f"The session has ended while {data.get('phase', '?')}: {data.get('error', '')}"]
    return [str(mask(data, settings.MASKED_FIELDS))]


def _why(data: dict[str, Any]) -> str:
    return f": {data['reason']}" if data.get("reason") else "."


@admin.register(Event)
class EventAdmin(RecordAdmin):
    list_display = ["what", "text", "tenant_slug", "on_job", "on_workflow", "created"]
    list_display_links = ["what"]
    list_filter = [by_choice("type"), CreatedFilter, TenantFilter, by_key("job", field="job"), WorkflowFilter]
    list_empty = "Progress, log lines and what operators do are told here."
    search_fields = ["id"]
    search_help_text = "Job or workflow"
    ordering = ["-id"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        rows: QuerySet[Event] = super().get_queryset(request)
        # By joins: what an event speaks of may be gone. Of it, no more than its name is needed.
        return rows.select_related("tenant", "job", "workflow").only(
            "type",
            "data",
            "created_at",
            "tenant__slug",
            "job__kind",
            "job__service_required",
            "workflow__workflow_id",
        )

    def find(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        if key := as_uuid(term):
            return rows.filter(Q(job=key) | Q(workflow=key))
        if workflows := named_workflows(term):
            return rows.filter(workflow__in=workflows)
        return rows.filter(pk=int(term)) if term.isdecimal() and len(term) < 19 else rows.none()

    @admin.display(description="Event")
    def what(self, event: Event) -> str:
        return event.get_type_display()

    @admin.display(description="Text")
    def text(self, event: Event) -> str:
        first, *others = _texts(event) or [""]
        return f"{first[:120]} (+{len(others)})" if others else first[:120]

    @admin.display(description="Tenant", empty_value="platform")
    def tenant_slug(self, event: Event) -> str | None:
        return event.tenant.slug if event.tenant else None

    @admin.display(description="Job", empty_value="–")
    def on_job(self, event: Event) -> SafeString | None:
        return link(event.job, event.job.name) if event.job else None

    @admin.display(description="Workflow", empty_value="–")
    def on_workflow(self, event: Event) -> SafeString | None:
        return link(event.workflow)

    @admin.display(description="When")
    def created(self, event: Event) -> SafeString | None:
        return moment(event.created_at)

    def page(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        event: Event = record
        facts = [
            ("Type", event.get_type_display()),
            ("When", moment(event.created_at)),
            ("Tenant", link(event.tenant) or "platform"),
            ("Job", link(event.job)),
            ("Workflow", link(event.workflow)),
        ]
        return {
            "heading": _texts(event)[0][:200] if _texts(event) else event.get_type_display(),
            "facts": [(name, value) for name, value in facts if value],
            "documents": [document("Data", shown(request, event.data))],
        }
