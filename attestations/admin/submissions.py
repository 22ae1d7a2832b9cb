"""Submissions: the queue of those to be reviewed, the page of each, and the reviewer's verbs."""

from __future__ import annotations

import json
import re
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString

from attestations.admin.attestations import attestations_of_runs
from attestations.admin.lists import SUBMISSION_FILTERS
from attestations.admin.pipeline import pipeline_of, what_to_do
from attestations.admin.transactions import transaction_cell, transactions_of
from attestations.chain.explorers import explorer_url
from attestations.models import ChainTransaction, Submission
from attestations.services.submissions import approve_submission, publish_submission, reject_submission
from attestations.submission_timeline import TYPES
from jobs.admin.access.revealing import shown
from jobs.admin.access.scoping import scoped
from jobs.admin.displays import badge, copyable, link, moment, noted, page_url, titled
from jobs.admin.documents import Document, document
from jobs.admin.lists.scans import Scan
from jobs.admin.searches import NAMESAKES_MAX, as_uuid
from jobs.admin.sections import overview_warnings, workflow_sections
from jobs.admin.timelines import timeline_permissions
from jobs.admin.verbs import Verb, VerbAdmin
from jobs.models import Job, Workflow

AWAITING = Submission.Status.AWAITING_REVIEW
COUNTED_MAX = 1_000  # of those that await their review
RUNS_MAX = 50
THUMBNAIL_MAX_BYTES = 2_097_152  # it is the picture itself, made small by the browser
HEX_64 = re.compile(r"(0x)?([0-9a-f]{64})")
RUN = re.compile(r"submission-([0-9a-f-]{36})(-run-[0-9]+)?")
SIZES = ((1_048_576, "MB"), (1_024, "KB"), (1, "bytes"))

APPROVE = Verb(
    action="approve_submissions",
    word="approve",
    title="Approve",
    icon="check_circle",
    question="Each is proved and then published, by two jobs. What a chain has recorded can't be taken back.",
    is_offered=lambda submission: submission.status == AWAITING,
    run=lambda submission, by, reason: approve_submission(submission, by=by, reason=reason),
    outcome=lambda submission: "approved",
)
REJECT = Verb(
    action="reject_submissions",
    word="reject",
    title="Reject",
    icon="block",
    question="Where no job is at it, it ends at once; else when its running job has stopped. Its creator is told why, "
    "and may submit the picture again.",
    is_grave=True,
    needs_reason=True,
    is_offered=lambda submission: not submission.is_final,
    run=lambda submission, by, reason: reject_submission(submission, by=by, reason=reason),
    outcome=lambda submission: "rejected" if submission.is_final else "being stopped, then rejected",
)
PUBLISH = Verb(
    action="publish_submissions",
    word="publish",
    title="Publish",
    icon="publish",
    question="Each is published on the chain that is configured now. The proof that is stored is used, where it is bound "
    "to the address that publishes; else another is made first.",
    is_offered=lambda submission: is_skipped(submission),
    run=lambda submission, by, reason: publish_submission(submission, by=by, reason=reason),
    outcome=lambda submission: "on the way to the chain",
)


@admin.register(Submission)
class SubmissionAdmin(VerbAdmin):
    audited_fields = ("status", "decision", "decided_by", "skipped_reason", "workflow_id")
    list_display = ["what", "digest", "state", "tenant_slug", "system", "decided", "age", "transaction"]
    list_display_links = ["what"]
    list_filter = SUBMISSION_FILTERS
    list_empty = "The first comes with a picture, or its hash, that a creator submits."
    list_deferred = ("proof_json", "failure_reason", "generation_stages", "publishing_stages")
    search_fields = ["id"]
    search_help_text = "Hash, transaction, id, user, trace, workflow"

    def verbs(self) -> list[Verb]:
        return [APPROVE, REJECT, PUBLISH]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Submission]:
        rows: QuerySet[Submission] = super().get_queryset(request)
        return rows.select_related("tenant")

    def find(self, rows: QuerySet[Any], term: str) -> QuerySet[Any] | Scan:
        if key := as_uuid(term):
            return rows.filter(Q(pk=key) | Q(workflow=key))
        if (run := RUN.fullmatch(term)) and (key := as_uuid(run[1])):
            return rows.filter(pk=key)
        if found := HEX_64.fullmatch(term.lower()):
            if keys := named_by(found[2]):
                return rows.filter(pk__in=keys)
            return Scan(Q(transaction_id=f"0x{found[2]}"))
        return Scan(
            Q(trace_id=term)
            | Q(request_id=term)
            | Q(user_id=term)
            | Q(actor_id=term)
            | Q(decided_by=term)
            | Q(sha256_hash__startswith=term.lower())
            | Q(transaction_id__startswith=term.lower())
        )

    @admin.display(description="Picture")
    def what(self, submission: Submission) -> SafeString:
        whose = submission.user_id or submission.actor_id or str(submission.pk)
        is_light = (submission.image_bytes or 0) <= THUMBNAIL_MAX_BYTES
        return render_to_string(
            "admin/attestations/submission/pictured.html",
            {
                "picture": picture_of(submission) if is_light else "",
                "icon": "image" if submission.image else "tag",
                "cell": titled(_kind_of(submission), whose),
            },
        )

    @admin.display(description="SHA-256")
    def digest(self, submission: Submission) -> SafeString | None:
        return copyable(submission.sha256_hash, shown=f"{submission.sha256_hash[:10]}…")

    @admin.display(description="Status")
    def state(self, submission: Submission) -> SafeString:
        note = f"skipped: {submission.skipped_reason}" if is_skipped(submission) else ""
        return noted(badge(word_of(submission)), note)

    @admin.display(description="Tenant")
    def tenant_slug(self, submission: Submission) -> str:
        return submission.tenant.slug

    @admin.display(description="Proof system")
    def system(self, submission: Submission) -> str:
        return submission.get_proof_system_display()

    @admin.display(description="Decided by", empty_value="–")
    def decided(self, submission: Submission) -> str | None:
        return submission.decided_by or None

    @admin.display(description="Age")
    def age(self, submission: Submission) -> SafeString | None:
        return moment(submission.created_at)

    @admin.display(description="Transaction", empty_value="–")
    def transaction(self, submission: Submission) -> SafeString | None:
        return transaction_cell(submission.chain_id, submission.transaction_id)

    def page(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        submission: Submission = record
        runs = runs_of(submission)
        jobs = list(Job.objects.filter(workflow__in=runs).order_by("pk").defer(*JOB_DEFERRED))
        return {
            "submission": submission,
            "heading": f"{submission.sha256_hash[:16]}…",
            "badges": [badge(word_of(submission)), *([badge("skipped")] if is_skipped(submission) else [])],
            "picture": picture_of(submission),
            "facts": facts_of(submission, runs),
            "pipeline": pipeline_of(submission, jobs),
            "to_do": what_to_do(submission, jobs),
            "statement": statement_of(submission),
            "proof": _proof_of(request, submission),
            "chain": chain_of(submission),
            "transactions": transactions_of(request, submission),
            "attestations": attestations_of_runs(request, runs),
            **self.offered(request, submission),
        }


JOB_DEFERRED = ("payload", "original_payload", "ctx", "result")


def _proof_of(request: HttpRequest, submission: Submission) -> Document | None:
    """The proof, as long as it is stored."""
    text = submission.proof_json
    return document("Proof", shown(request, json.loads(text))) if text else None


def named_by(hexadecimal: str) -> list[Any]:
    """The submissions of this hash, or for which a transaction of this id was signed: each has an index."""
    hashed = Submission.objects.filter(sha256_hash=hexadecimal).values_list("pk", flat=True)
    sent = ChainTransaction.objects.filter(transaction_id=f"0x{hexadecimal}", submission__isnull=False)
    return [*hashed[:NAMESAKES_MAX], *sent.values_list("submission", flat=True)]


def is_skipped(submission: Submission) -> bool:
    """Whether its proof waits for somebody to publish it."""
    return submission.status == Submission.Status.PROOF_PUBLISHING and bool(submission.skipped_reason)


def word_of(submission: Submission) -> str:
    """Its status as a badge says it."""
    return submission.status.replace("_", " ")


def picture_of(submission: Submission) -> str:
    """The path at which its picture is shown; "" where none was sent."""
    return reverse("artifact", args=[submission.image]) if submission.image else ""


def runs_of(submission: Submission) -> list[Workflow]:
    """The workflows that were started for it and are kept, the latest last."""
    first = f"submission-{submission.pk}"
    names = [first, *(f"{first}-run-{number}" for number in range(2, min(submission.runs, RUNS_MAX) + 1))]
    runs = Workflow.objects.filter(tenant=submission.tenant_id).filter(
        Q(workflow_id__in=names) | Q(pk=submission.workflow_id)
    )
    return list(runs.only("workflow_id", "status").order_by("pk"))


def facts_of(submission: Submission, runs: list[Workflow]) -> list[tuple[str, Any]]:
    """What stands beside the picture; what is not known is left out."""
    facts: list[tuple[str, Any]] = [
        ("SHA-256", copyable(submission.sha256_hash)),
        ("Submission", copyable(str(submission.pk))),
        ("Tenant", link(submission.tenant)),
        ("Picture", _kind_of(submission)),
        ("Proof system", submission.get_proof_system_display()),
        ("User", submission.user_id),
        ("Actor", submission.actor_id),
        *(
            (f"Workflow{f', run {number}' if number > 1 else ''}", link(run))
            for number, run in enumerate(runs, 1)
        ),
        ("Trace", copyable(submission.trace_id)),
        ("Request", submission.request_id),
        ("Submitted", moment(submission.created_at)),
        ("Confirmed", moment(submission.verified_at)),
        ("Rejected", moment(submission.failed_at)),
    ]
    return [(name, value) for name, value in facts if value not in (None, "")]


def statement_of(submission: Submission) -> list[tuple[str, Any]]:
    """What is proved: the four public inputs, as the circuit takes them."""
    missing = "never proved" if submission.is_final else "known once it is proved"
    high, low = submission.sha256_hash[:32], submission.sha256_hash[32:]
    return [
        ("Commitment to the creator's key", copyable(submission.commitment) or missing),
        ("Digest, high 128 bits", copyable(f"0x{high}")),
        ("Digest, low 128 bits", copyable(f"0x{low}")),
        ("Submitter", copyable(submission.submitter) or missing),
    ]


def chain_of(submission: Submission) -> list[tuple[str, Any]]:
    """Where the chain has it; nothing before it does."""
    if not submission.transaction_id:
        return []
    url = explorer_url(submission.chain_id, submission.transaction_id)
    how = {
        True: "by the contract, which verified the proof itself",
        False: "here, before its digest was recorded: the contract does not verify this proof system",
    }
    facts: list[tuple[str, Any]] = [
        ("Transaction", copyable(submission.transaction_id)),
        ("See it", transaction_cell(submission.chain_id, submission.transaction_id) if url else None),
        ("Chain", f"{submission.chain_id}" if url else f"{submission.chain_id}, which no explorer shows"),
        ("Contract", copyable(submission.contract_address)),
        ("Block", f"{submission.block_number:,}" if submission.block_number is not None else None),
        ("Verified", how.get(submission.is_verified_on_chain)),  # type: ignore[arg-type]
        ("SHA-256 of the proof", copyable(submission.proof_digest)),
    ]
    return [(name, value) for name, value in facts if value not in (None, "")]


def submission_of_workflow(request: HttpRequest, workflow: Workflow) -> SafeString | str:
    """On the page of a submission's workflow: which one it works at."""
    model_admin: Any = admin.site.get_model_admin(Submission)
    if workflow.kind != Workflow.Kind.SUBMISSION or not model_admin.has_view_or_change_permission(request):
        return ""
    run = RUN.fullmatch(workflow.workflow_id)
    mine = Q(pk=as_uuid(run[1])) if run else Q(workflow=workflow)
    submission = Submission.objects.filter(mine, tenant=workflow.tenant_id).defer("proof_json").first()
    if submission is None:
        return ""
    row = {
        "url": page_url(submission),
        "title": model_admin.what(submission),
        "badge": badge(word_of(submission)),
        "at": moment(submission.created_at),
    }
    return render_to_string("admin/attestations/submission/section.html", {"rows": [row]})


def submissions_to_review(request: HttpRequest) -> list[dict[str, Any]]:
    """A row for the overview where something awaits its review."""
    if not admin.site.get_model_admin(Submission).has_view_or_change_permission(request):
        return []
    mine = scoped(Submission.objects.filter(status=AWAITING), request.user)
    waiting = list(mine.order_by("id").values_list("created_at")[:COUNTED_MAX])
    if not waiting:
        return []
    count = f"{len(waiting):,}{'+' if len(waiting) == COUNTED_MAX else ''}"
    address = reverse("admin:attestations_submission_changelist")
    return [
        {
            "url": f"{address}?status={AWAITING}",
            "title": titled("Submissions", f"{count} to be reviewed, the oldest:"),
            "badge": badge("awaiting review"),
            "at": moment(waiting[0][0]),
        }
    ]


def _kind_of(submission: Submission) -> str:
    """What was sent: `PNG, 34 KB`."""
    if not submission.image:
        return "Hash alone"
    size = submission.image_bytes or 0
    unit, name = next(pair for pair in SIZES if size >= pair[0] or pair[0] == 1)
    return f"{submission.image_content_type.removeprefix('image/').upper()}, {size / unit:,.0f} {name}"


workflow_sections.append(submission_of_workflow)
overview_warnings.append(submissions_to_review)
timeline_permissions |= dict.fromkeys(TYPES, "attestations.view_submission")
