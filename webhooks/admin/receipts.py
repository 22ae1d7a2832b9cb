"""Receipts: the calls that came in, and what became of each."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from jobs.admin.access.revealing import shown, shown_text
from jobs.admin.displays import badge, copyable, link, moment, titled
from jobs.admin.documents import document
from jobs.admin.records import RecordAdmin
from jobs.admin.searches import NAMESAKES_MAX, as_uuid, named_workflows, newest
from jobs.models import Tenant
from webhooks.admin.lists import RECEIPT_FILTERS
from webhooks.models import Receipt, Sender


@admin.register(Receipt)
class ReceiptAdmin(RecordAdmin):
    list_display = [
        "what",
        "state_badge",
        "sender_name",
        "tenant_slug",
        "speaks_of",
        "why",
        "bytes",
        "again",
        "created",
    ]
    list_display_links = ["what"]
    list_filter = RECEIPT_FILTERS
    list_empty = "Each is a call of a sender: add one, and give it the address that its page shows."
    list_deferred = ("headers", "body")
    search_fields = ["id"]
    search_help_text = "Receipt, webhook-id, digest, workflow"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Receipt]:
        rows: QuerySet[Receipt] = super().get_queryset(request)
        # By joins: the workflow may be gone. Of it, no more than its name is needed.
        heavy = ("miniapp_req", "data", "outputs", "error", "retry_execution_data", "problem_details")
        return rows.select_related("tenant", "sender", "workflow").defer(
            *(f"workflow__{name}" for name in heavy)
        )

    def find(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        if key := as_uuid(term):
            return rows.filter(Q(pk=key) | Q(workflow=key) | Q(pk__in=keyed_receipts(term)))
        return rows.filter(pk__in=[*keyed_receipts(term), *receipts_about(term)])

    @admin.display(description="Receipt")
    def what(self, receipt: Receipt) -> SafeString:
        return titled(receipt.path, str(receipt.pk))

    @admin.display(description="State")
    def state_badge(self, receipt: Receipt) -> SafeString:
        return badge(receipt.state)

    @admin.display(description="Sender", empty_value="–")
    def sender_name(self, receipt: Receipt) -> SafeString | None:
        return link(receipt.sender)

    @admin.display(description="Tenant", empty_value="–")
    def tenant_slug(self, receipt: Receipt) -> str | None:
        return receipt.tenant.slug if receipt.tenant else None

    @admin.display(description="Workflow", empty_value="–")
    def speaks_of(self, receipt: Receipt) -> SafeString | str | None:
        return link(receipt.workflow) or receipt.workflow_name or None

    @admin.display(description="Reason", empty_value="–")
    def why(self, receipt: Receipt) -> str | None:
        return receipt.reason or None

    @admin.display(description="Bytes")
    def bytes(self, receipt: Receipt) -> str:
        return f"{receipt.size:,}"

    @admin.display(description="Again", empty_value="–")
    def again(self, receipt: Receipt) -> str | None:
        return f"{receipt.duplicate_count:,} ×" if receipt.duplicate_count else None

    @admin.display(description="Came")
    def created(self, receipt: Receipt) -> SafeString | None:
        return moment(receipt.created_at)

    def page(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        receipt: Receipt = record
        again = f"{receipt.duplicate_count:,} ×" if receipt.duplicate_count else None
        facts: list[tuple[str, Any]] = [
            ("Receipt", copyable(str(receipt.pk))),
            ("Key", copyable(receipt.key)),
            ("SHA-256", copyable(receipt.digest)),
            ("Trace", copyable(receipt.trace_id)),
            ("Sender", link(receipt.sender)),
            ("Tenant", link(receipt.tenant)),
            ("Workflow", link(receipt.workflow) or receipt.workflow_name),
            ("User", receipt.user_id),
            ("Reason", receipt.reason),
            ("Size", f"{receipt.size:,} bytes"),
            ("From", receipt.remote_address),
            ("Came", moment(receipt.created_at)),
            ("Applied", moment(receipt.applied_at)),
            ("Came again", again),
            ("Last time", moment(receipt.last_duplicate_at)),
        ]
        return {
            "heading": receipt.path,
            "badges": [badge(receipt.state)],
            "facts": [(name, value) for name, value in facts if value not in (None, "")],
            "documents": [
                document("Body", _body_of(request, receipt)),
                document("Headers", shown(request, receipt.headers)),
            ],
        }


def _body_of(request: HttpRequest, receipt: Receipt) -> Any:
    """What was sent; of a refused call it is the beginning of a text, which may be that of JSON."""
    body = receipt.body
    return shown_text(request, body) if isinstance(body, str) else shown(request, body)


def keyed_receipts(term: str) -> list[UUID]:
    """The receipts of this key or digest: by the indexes that begin with the sender; of those refused, by theirs."""
    ours = Receipt.objects.filter(sender__in=Sender.objects.values("pk"))
    refused = Receipt.objects.filter(state=Receipt.State.REFUSED)
    keyed = ours.filter(path__in=Receipt.Path.values, key=term).exclude(key="")
    return _keys(keyed) + _keys(ours.filter(digest=term)) + _keys(refused.filter(digest=term))


def receipts_about(name: str) -> list[UUID]:
    """The receipts that speak of a workflow of this name, there or not yet; else among the newest."""
    waiting = Receipt.objects.filter(state=Receipt.State.WAITING, tenant__in=Tenant.objects.values("pk"))
    found = _keys(Receipt.objects.filter(workflow__in=named_workflows(name)))
    found += _keys(waiting.filter(workflow_name=name))
    return found or _keys(newest(Receipt.objects.all()).filter(workflow_name=name))


def _keys(receipts: QuerySet[Receipt]) -> list[UUID]:
    return list(receipts.order_by().values_list("pk", flat=True)[:NAMESAKES_MAX])
