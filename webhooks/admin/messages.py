"""Messages: what was told, to whom, and how that went."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.contrib import admin
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from jobs.admin.access.revealing import shown
from jobs.admin.displays import copyable, link, moment, titled, words
from jobs.admin.documents import document
from jobs.admin.lists.scans import Scan
from jobs.admin.records import RecordAdmin, RecordList
from jobs.admin.searches import as_uuid, named_workflows
from webhooks.admin.deliveries import as_message_id
from webhooks.admin.lists import MESSAGE_FILTERS
from webhooks.admin.sections import rows_of_deliveries
from webhooks.models import Delivery, Message

DELIVERIES_MAX = 100


class MessageList(RecordList):
    """Each with what has become of its deliveries."""

    def dress(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        mine = Delivery.objects.filter(message=OuterRef("pk")).order_by()
        dressed: QuerySet[Any] = rows.annotate(statuses=ArraySubquery(mine.values("status")[:DELIVERIES_MAX]))
        return dressed


@admin.register(Message)
class MessageAdmin(RecordAdmin):
    list_display = ["what", "became", "tenant_slug", "on_workflow", "on_job", "created"]
    list_display_links = ["what"]
    list_filter = MESSAGE_FILTERS
    list_empty = "One is written for each event that an endpoint asks for."
    list_deferred = ("body",)
    search_fields = ["id"]
    search_help_text = "Message, job, workflow, trace"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        rows: QuerySet[Message] = super().get_queryset(request)
        # By joins: what a message speaks of may be gone. Of it, no more than its name is needed.
        return rows.select_related("tenant", "job", "workflow").only(
            "type",
            "body",
            "workflow_run",
            "trace_id",
            "request_id",
            "created_at",
            "tenant__slug",
            "job__kind",
            "job__service_required",
            "workflow__workflow_id",
        )

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[RecordList]:
        return MessageList

    def find(self, rows: QuerySet[Any], term: str) -> QuerySet[Any] | Scan:
        if key := as_uuid(term) or as_message_id(term):
            return rows.filter(Q(pk=key) | Q(job=key) | Q(workflow=key))
        if workflows := named_workflows(term):
            return rows.filter(workflow__in=workflows)
        return Scan(Q(trace_id=term) | Q(request_id=term))

    @admin.display(description="Message")
    def what(self, message: Message) -> SafeString:
        return titled(message.type, message.webhook_id)

    @admin.display(description="Deliveries")
    def became(self, message: Any) -> SafeString:
        return words(f"{count} {status}" for status, count in Counter(message.statuses).items())

    @admin.display(description="Tenant")
    def tenant_slug(self, message: Message) -> str:
        return message.tenant.slug

    @admin.display(description="Workflow", empty_value="–")
    def on_workflow(self, message: Message) -> SafeString | None:
        return link(message.workflow)

    @admin.display(description="Job", empty_value="–")
    def on_job(self, message: Message) -> SafeString | None:
        return link(message.job, message.job.name) if message.job else None

    @admin.display(description="Created")
    def created(self, message: Message) -> SafeString | None:
        return moment(message.created_at)

    def page(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        message: Message = record
        facts = [
            ("webhook-id", copyable(message.webhook_id)),
            ("Message", copyable(str(message.pk))),
            ("Tenant", link(message.tenant)),
            ("Workflow", link(message.workflow)),
            ("Run", message.workflow_run),
            ("Job", link(message.job, message.job.name) if message.job else None),
            ("Trace", copyable(message.trace_id)),
            ("Request", message.request_id),
            ("Size", f"{len(message.body):,} bytes"),
            ("Created", moment(message.created_at)),
        ]
        may_see = self.admin_site.get_model_admin(Delivery).has_view_or_change_permission(request)
        return {
            "heading": message.type,
            "facts": [(name, value) for name, value in facts if value not in (None, "")],
            "rows": rows_of_deliveries(message.deliveries.all()) if may_see else None,
            "documents": [document("Body", shown(request, message.content))],
        }
