"""Proof sessions: those that were run, the form that runs one, and the console to watch it."""

from __future__ import annotations

import secrets
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Prefetch, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminRadioSelectWidget, UnfoldAdminTextInputWidget

from attestations.admin.console import console_of, reached_by
from attestations.admin.lists import SESSION_FILTERS
from attestations.models import ProofSession, Submission
from attestations.sessions.starting import name_of, start_session
from jobs.admin.access.scoping import scoped
from jobs.admin.displays import badge, moment, page_url, span, titled
from jobs.admin.forms import ServiceForm
from jobs.admin.lists.scans import Scan
from jobs.admin.searches import as_uuid, named_workflows
from jobs.admin.sections import workflow_sections
from jobs.admin.verbs import Verb, VerbAdmin
from jobs.admin.workflows import CANCEL, RETRY
from jobs.errors import FieldProblem
from jobs.models import Job, Tenant, Workflow

System = Submission.ProofSystem
TYPE_LABELS = {
    System.GROTH16: "Groth16: small proofs, which the contract verifies itself",
    System.PLONK: "PlonK: verified off chain, its digest is recorded",
    System.STARK: "STARK: no prover is installed with the platform; the run says so",
}
# What the platform calls them, and what the form does.
FIELDS = {"sessionId": "session_id", "proofType": "proof_type"}


class SessionForm(ServiceForm):
    actor = ""  # who runs it; each request has a form class of its own

    proof_type = forms.ChoiceField(
        choices=list(TYPE_LABELS.items()), initial=System.GROTH16, widget=UnfoldAdminRadioSelectWidget
    )
    session_id = forms.CharField(
        max_length=100,
        initial=lambda: f"console-{secrets.token_hex(4)}",
        widget=UnfoldAdminTextInputWidget,
        label="Session id",
        help_text="Its name; clients watch it by this.",
    )

    class Meta:
        model = ProofSession
        fields = ["tenant", "session_id"]

    def clean_tenant(self) -> Tenant:
        tenant: Tenant = self.cleaned_data["tenant"]
        if not tenant.is_active:
            raise forms.ValidationError("This tenant is inactive.")
        return tenant

    def serve(self) -> None:
        asked = self.cleaned_data
        self.session, is_new = start_session(
            asked["tenant"], asked["session_id"], asked["proof_type"], actor_id=self.actor
        )
        if not is_new:
            self.add_error("session_id", "There is a session of this name already.")

    def at_field(self, problem: FieldProblem) -> tuple[str | None, str]:
        return FIELDS.get(problem.pointer.removeprefix("/"), "session_id"), problem.detail


@admin.register(ProofSession)
class ProofSessionAdmin(VerbAdmin):
    audited_fields = ("status", "attempt")
    form = SessionForm
    add_form_template = "admin/attestations/proofsession/add_form.html"
    list_before_template = "admin/attestations/proofsession/run.html"
    autocomplete_fields = ["tenant"]
    list_display = ["what", "state", "tenant_slug", "system", "reached", "created", "took"]
    list_display_links = ["what"]
    list_filter = SESSION_FILTERS
    list_empty = "Run one: it makes a proof, checks it and records it, and shows how."
    list_deferred = ("miniapp_req", "outputs", "error", "retry_execution_data", "problem_details")
    search_fields = ["session_id"]
    search_help_text = "Session, id, workflow, trace, actor"

    def verbs(self) -> list[Verb]:
        return [RETRY, CANCEL]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("attestations.add_proofsession")

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Its verbs are its workflow's."""
        return not self.is_out_of_reach(request, obj) and request.user.has_perm("jobs.change_workflow")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ProofSession]:
        rows: QuerySet[ProofSession] = super().get_queryset(request)
        steps = Job.objects.only("workflow", "status", "step_index").order_by("step_index")
        return rows.select_related("tenant").prefetch_related(Prefetch("jobs", steps, to_attr="steps"))

    def find(self, rows: QuerySet[Any], term: str) -> QuerySet[Any] | Scan:
        if key := as_uuid(term):
            return rows.filter(pk=key)
        if keys := [*named_workflows(name_of(term)), *named_workflows(term)]:
            return rows.filter(pk__in=keys)
        return Scan(Q(session_id__startswith=term) | Q(trace_id=term) | Q(actor_id=term))

    @admin.display(description="Session")
    def what(self, session: ProofSession) -> SafeString:
        return titled(session.session_id, f"by {session.actor_id}" if session.actor_id else "")

    @admin.display(description="Status")
    def state(self, session: ProofSession) -> SafeString:
        return badge(session.status)

    @admin.display(description="Tenant")
    def tenant_slug(self, session: ProofSession) -> str:
        return session.tenant.slug

    @admin.display(description="Proof type")
    def system(self, session: ProofSession) -> str:
        return str(dict(System.choices)[session.data["proofType"]])

    @admin.display(description="Phase reached")
    def reached(self, session: Any) -> str:
        return reached_by(session, session.steps)

    @admin.display(description="Started")
    def created(self, session: ProofSession) -> SafeString | None:
        return moment(session.created_at)

    @admin.display(description="Took")
    def took(self, session: ProofSession) -> str:
        return span((session.ended_at or timezone.now()) - session.created_at)

    def get_fields(self, request: HttpRequest, obj: ProofSession | None = None) -> list[str]:
        return ["id"] if obj else ["tenant", "proof_type", "session_id"]

    def get_form(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        form = super().get_form(request, *args, **options)
        form.actor = request.user.get_username()
        return form

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """The tenant, where there is no choice."""
        active = Tenant.objects.filter(is_active=True)
        tenants = scoped(active, request.user, path="pk").values_list("pk", flat=True)[:2]
        only = {"tenant": tenants[0]} if len(tenants) == 1 else {}
        return {**only, **super().get_changeform_initial_data(request)}

    def save_model(self, request: HttpRequest, obj: ProofSession, form: Any, change: bool) -> None:
        obj.pk = form.session.pk

    def response_add(
        self, request: HttpRequest, obj: ProofSession, post_url_continue: str | None = None
    ) -> HttpResponse:
        return HttpResponseRedirect(page_url(obj))

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        titles = {"title": "Run a proof session", **(extra_context or {})}
        response: HttpResponse = super().add_view(request, form_url, titles)
        return response

    def page(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        if record is None:
            return {}
        return {**console_of(request, record), **self.offered(request, record)}


def console_of_workflow(request: HttpRequest, workflow: Workflow) -> SafeString | str:
    """On the page of a session's workflow: its console."""
    model_admin: Any = admin.site.get_model_admin(ProofSession)
    if workflow.kind != Workflow.Kind.PROOF or not model_admin.has_view_or_change_permission(request):
        return ""
    session = ProofSession.objects.select_related("tenant").get(pk=workflow.pk)
    row = {
        "url": page_url(session),
        "title": model_admin.what(session),
        "badge": badge(session.status),
        "at": moment(session.created_at),
    }
    return render_to_string("admin/attestations/proofsession/section.html", {"rows": [row]})


workflow_sections.append(console_of_workflow)
