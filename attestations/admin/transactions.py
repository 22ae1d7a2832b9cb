"""Transactions: what was signed and sent for submissions, for proof sessions or by hand, and what became of it."""

from __future__ import annotations

import re
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from attestations.admin.lists import TRANSACTION_FILTERS
from attestations.chain.explorers import explorer_url
from attestations.chain.fees import in_gwei
from attestations.models import ChainTransaction, Submission
from jobs.admin.displays import badge, copyable, link, moment, page_url, titled
from jobs.admin.lists.scans import Scan
from jobs.admin.records import RecordAdmin
from jobs.admin.searches import as_uuid, named_workflows

HASH = re.compile(r"[0-9a-fA-F]{64}")
SHOWN_MAX = 50  # of one submission
WORKFLOW_DEFERRED = ("miniapp_req", "data", "outputs", "retry_execution_data", "error")


@admin.register(ChainTransaction)
class ChainTransactionAdmin(RecordAdmin):
    list_display = ["what", "state", "of", "place", "number", "fee", "gas", "created"]
    list_display_links = ["what"]
    list_filter = TRANSACTION_FILTERS
    list_empty = "Each is one that was signed for a submission or a proof session."
    list_deferred = ("raw", "submission__proof_json", *(f"workflow__{name}" for name in WORKFLOW_DEFERRED))
    search_fields = ["transaction_id"]
    search_help_text = "Transaction, submission, workflow, hash, sender"

    def get_queryset(self, request: HttpRequest) -> QuerySet[ChainTransaction]:
        rows: QuerySet[ChainTransaction] = super().get_queryset(request)
        return rows.select_related("submission", "workflow")

    def find(self, rows: QuerySet[Any], term: str) -> QuerySet[Any] | Scan:
        if key := as_uuid(term):
            return rows.filter(Q(submission=key) | Q(workflow=key))
        if HASH.fullmatch(term):
            return rows.filter(sha256_hash=term.lower())
        if keys := named_workflows(term):
            return rows.filter(workflow__in=keys)
        return Scan(Q(transaction_id__startswith=term.lower()) | Q(sender__iexact=term))

    @admin.display(description="Transaction")
    def what(self, transaction: ChainTransaction) -> SafeString:
        return titled(f"{transaction.transaction_id[:14]}…", f"from {transaction.sender}")

    @admin.display(description="Status")
    def state(self, transaction: ChainTransaction) -> SafeString:
        return badge(transaction.status)

    @admin.display(description="Of", empty_value="by hand")
    def of(self, transaction: ChainTransaction) -> SafeString | str | None:
        return link(transaction.submission) or _session(transaction)

    @admin.display(description="Chain")
    def place(self, transaction: ChainTransaction) -> str:
        return str(transaction.chain_id)

    @admin.display(description="Nonce")
    def number(self, transaction: ChainTransaction) -> str:
        return f"{transaction.nonce:,}"

    @admin.display(description="Most it pays")
    def fee(self, transaction: ChainTransaction) -> str:
        return _fee(transaction.max_fee_per_gas)

    @admin.display(description="Gas", empty_value="–")
    def gas(self, transaction: ChainTransaction) -> str | None:
        return f"{transaction.gas_used:,}" if transaction.gas_used is not None else None

    @admin.display(description="Signed")
    def created(self, transaction: ChainTransaction) -> SafeString | None:
        return moment(transaction.created_at)

    def page(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        transaction: ChainTransaction = record
        return {
            "heading": f"{transaction.transaction_id[:18]}…",
            "badges": [badge(transaction.status)],
            "facts": facts_of(transaction),
            "error": {"message": transaction.error} if transaction.error else None,
            "raw": transaction.raw,
        }


def facts_of(transaction: ChainTransaction) -> list[tuple[str, Any]]:
    """What is known of a transaction; what is not is left out."""
    is_shown = explorer_url(transaction.chain_id, transaction.transaction_id) is not None
    facts: list[tuple[str, Any]] = [
        ("Transaction", copyable(transaction.transaction_id)),
        ("See it", transaction_cell(transaction.chain_id, transaction.transaction_id) if is_shown else None),
        ("Submission", link(transaction.submission)),
        ("Session", _session(transaction)),
        ("SHA-256", copyable(transaction.sha256_hash)),
        ("Chain", transaction.chain_id),
        ("Sender", copyable(transaction.sender)),
        ("Contract", copyable(transaction.contract_address)),
        ("Nonce", f"{transaction.nonce:,}"),
        ("Most it pays per gas", _fee(transaction.max_fee_per_gas)),
        ("Of that for the block's maker", _fee(transaction.max_priority_fee_per_gas)),
        ("Block", f"{transaction.block_number:,}" if transaction.block_number is not None else None),
        ("Gas", f"{transaction.gas_used:,}" if transaction.gas_used is not None else None),
        ("Signed", moment(transaction.created_at)),
        ("Ended", moment(transaction.ended_at)),
    ]
    return [(name, value) for name, value in facts if value not in (None, "")]


def transactions_of(request: HttpRequest, submission: Submission) -> list[dict[str, Any]] | None:
    """The transactions of a submission as its page lists them; None for an account that may not see them."""
    if not admin.site.get_model_admin(ChainTransaction).has_view_or_change_permission(request):
        return None
    return [
        {
            "row": row,
            "url": page_url(row),
            "name": f"{row.transaction_id[:14]}…",
            "badge": badge(row.status),
            "fee": _fee(row.max_fee_per_gas),
            "tip": _fee(row.max_priority_fee_per_gas),
            "at": moment(row.created_at),
        }
        for row in submission.transactions.defer("raw").order_by("-id")[:SHOWN_MAX]
    ]


def transaction_cell(chain_id: int | None, transaction_id: str) -> SafeString | None:
    """A transaction in short, which leads to its explorer's page where its chain has an explorer."""
    if not transaction_id:
        return None
    shown = {"url": explorer_url(chain_id, transaction_id), "short": f"{transaction_id[:10]}…"}
    return render_to_string("admin/attestations/submission/transaction.html", shown)


def _session(transaction: ChainTransaction) -> SafeString | str | None:
    """The workflow of its proof session; its key alone where that is forgotten."""
    return link(transaction.workflow) or (str(transaction.workflow_id) if transaction.workflow_id else None)


def _fee(wei: int) -> str:
    return f"{in_gwei(wei)} gwei"
