"""Queues and services: what each has to do, paused, resumed and limited here."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Max, Min, OuterRef, QuerySet, Subquery, Sum
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextInputWidget

from config.admin import monitor_page
from jobs.admin.access.scoping import ScopedAdmin
from jobs.admin.displays import anchor, badge, moment, noted, page_url, span, titled
from jobs.admin.queue_page import figures
from jobs.api.fields import NAME
from jobs.models import Job, Queue, QueueGauge
from jobs.queue.outcomes import UNSTORABLE
from jobs.services.audit import Actor, record_audit
from jobs.services.queues import limit_queue, pause_queue, resume_queue

EVERY_SECONDS = 5
REASON_MAX = 1_000


class QueueForm(forms.ModelForm):  # type: ignore[type-arg]
    reason = forms.CharField(
        required=False,
        max_length=REASON_MAX,
        help_text="Why: kept in the audit log.",
        widget=UnfoldAdminTextInputWidget,
    )

    class Meta:
        model = Queue
        fields = ["name", "max_running"]
        labels = {"name": "Service", "max_running": "Limit"}
        help_texts = {
            "name": "Of remote workers, named as they offer it and jobs ask for it, like artgen. "
            "The queues of the clusters are here already."
        }

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if not re.match(NAME, name):
            raise ValidationError("A service is named by letters, digits and ._:@/- alone.")
        # The form does not know the side, so it can't ask for the constraint.
        if Queue.objects.filter(name=name, is_remote=True).exists():
            raise ValidationError("This service has a record already.")
        return name


@admin.register(Queue)
class QueueAdmin(ScopedAdmin):
    tenant_path = ""
    form = QueueForm
    list_display = ["what", "state", "limit", "running", "due", "oldest_due", "later", "as_of"]
    list_display_links = ["what"]
    search_fields = ["name__icontains"]
    search_help_text = "Name"
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 50
    actions = ["pause_queues", "resume_queues"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return with_gauges(super().get_queryset(request))

    def get_fields(self, request: HttpRequest, obj: Queue | None = None) -> list[str]:
        if obj is None:
            return ["name", "max_running", "reason"]
        return ["max_running", "reason"] if self.has_change_permission(request, obj) else ["max_running"]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        # Records are deleted from their pages, where it shows which of them may be.
        actions: dict[str, Any] = super().get_actions(request)
        return {name: action for name, action in actions.items() if name != "delete_selected"}

    def has_delete_permission(self, request: HttpRequest, obj: Queue | None = None) -> bool:
        # A queue of the clusters would be back, neither paused nor limited, after the next migrate.
        is_offered = obj is None or obj.is_remote
        return is_offered and bool(super().has_delete_permission(request, obj))

    def save_model(self, request: HttpRequest, obj: Queue, form: Any, change: bool) -> None:
        if change:
            limit_queue(obj, obj.max_running)
        else:
            obj.is_remote = True
            super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        # There is nothing related; what a form without a change says is no limit anew.
        queue: Queue = form.instance
        by, reason, limit = Actor.of_request(request), form.cleaned_data["reason"], queue.max_running
        if not change:
            record_audit(by, "add", queue, after={"name": queue.name, "max_running": limit}, reason=reason)
        elif "max_running" in form.changed_data:
            before = {"max_running": form.initial.get("max_running")}
            record_audit(by, "limit", queue, before=before, after={"max_running": limit}, reason=reason)

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> Any:
        if add or "max_running" not in form.changed_data:
            return super().construct_change_message(request, form, formsets, add)
        limit = form.cleaned_data["max_running"]
        return f"Limited to {limit}." if limit else "Limit taken off."

    @admin.display(description="Queue")
    def what(self, queue: Queue) -> SafeString:
        return titled(queue.name, side_of(queue))

    @admin.display(description="State")
    def state(self, queue: Queue) -> SafeString:
        return noted(badge(state_of(queue)), _paused_for(queue))

    @admin.display(description="Limit", empty_value="none")
    def limit(self, queue: Queue) -> int | None:
        return queue.max_running

    @admin.display(description="Running", ordering="running_count")
    def running(self, queue: Any) -> str:
        return _figure(queue.running_count)

    @admin.display(description="Due now", ordering="due_count")
    def due(self, queue: Any) -> str:
        return _figure(queue.due_count)

    @admin.display(description="Oldest due", empty_value="–", ordering="oldest_due_at")
    def oldest_due(self, queue: Any) -> SafeString | None:
        return moment(queue.oldest_due_at)

    @admin.display(description="Later")
    def later(self, queue: Any) -> str:
        return _figure(queue.later_count)

    @admin.display(description="As of", empty_value="–")
    def as_of(self, queue: Any) -> SafeString | None:
        return moment(queue.sampled_at)

    @admin.action(permissions=["change"], description="Pause selected queues")
    def pause_queues(self, request: HttpRequest, queryset: QuerySet[Queue]) -> HttpResponse | None:
        by = request.user.get_username()
        told = ("paused: what runs goes on, nothing more starts.", "paused before.")
        return self.act(request, queryset, lambda queue: pause_queue(queue, by=by), "pause", told)

    @admin.action(permissions=["change"], description="Resume selected queues")
    def resume_queues(self, request: HttpRequest, queryset: QuerySet[Queue]) -> HttpResponse | None:
        return self.act(request, queryset, resume_queue, "resume", ("resumed.", "not paused."))

    def act(
        self,
        request: HttpRequest,
        queryset: QuerySet[Queue],
        verb: Callable[[Queue], bool],
        action: str,
        told: tuple[str, str],
    ) -> HttpResponse | None:
        """Do it queue by queue and tell how many were done and how many refused."""
        queues = list(queryset)
        done = [queue for queue in queues if self.act_on(request, queue, verb, action)]
        outcome, refusal = told
        if done:
            self.message_user(request, f"{_queues(len(done))} {outcome}", messages.SUCCESS)
        if refused := len(queues) - len(done):
            self.message_user(request, f"{_queues(refused)} refused: {refusal}", messages.WARNING)
        return _back(request, queues)

    def act_on(self, request: HttpRequest, queue: Queue, verb: Callable[[Queue], bool], action: str) -> bool:
        """Do it and note it; False where the queue was like that already."""
        before = _pause_of(queue)
        with transaction.atomic():
            if not verb(queue):
                return False
            record_audit(
                Actor.of_request(request),
                action,
                queue,
                before=before,
                after=_pause_of(queue),
                reason=UNSTORABLE.sub("\ufffd", request.POST.get("reason", "")[:REASON_MAX]),
            )
            self.log_change(request, queue, "Paused." if queue.is_paused else "Resumed.")
        return True

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any
    ) -> HttpResponse:
        context.update({"show_save_and_continue": False, "show_save_and_add_another": False})
        if context["original"]:
            context.update(self.page(request, context["original"]))
        response: HttpResponse = super().render_change_form(request, context, *args, **options)
        return response

    def page(self, request: HttpRequest, queue: Any) -> dict[str, Any]:
        """What the template of the record's page shows besides the form."""
        return {
            **live_part(request, queue),
            "live_url": reverse("admin:queue_figures", args=[queue.pk]),
            "live_every": EVERY_SECONDS,
            "may_act": self.has_change_permission(request, queue),
            "checkbox_name": ACTION_CHECKBOX_NAME,
        }


@monitor_page("queues/<int:key>/figures/", name="queue_figures")
def queue_figures(request: HttpRequest, key: int) -> HttpResponse:
    """The part of a queue's page that changes by itself."""
    model_admin = admin.site.get_model_admin(Queue)
    if not model_admin.has_view_or_change_permission(request):
        raise PermissionDenied
    queue = get_object_or_404(model_admin.get_queryset(request), pk=key)
    return HttpResponse(render_to_string("admin/jobs/queue/figures.html", live_part(request, queue), request))


def live_part(request: HttpRequest, queue: Any) -> dict[str, Any]:
    """What templates/admin/jobs/queue/figures.html shows."""
    may_see_jobs = admin.site.get_model_admin(Job).has_view_or_change_permission(request)
    shown = figures(request, queue)
    limit = f"of at most {queue.max_running:,}" if queue.max_running else "without limit"
    running, due = f"{_figure(queue.running_count)} {limit}", _figure(queue.due_count)
    facts = [
        ("Side", side_of(queue)),
        ("Running", anchor(jobs_url(queue, Job.Status.RUNNING), running) if may_see_jobs else running),
        ("Due now", anchor(jobs_url(queue, Job.Status.QUEUED), due) if may_see_jobs else due),
        ("Oldest due", moment(queue.oldest_due_at)),
        ("Queued for later", _figure(queue.later_count)),
        ("As of", moment(queue.sampled_at)),
        ("Runs longest, since", shown["oldest_lease"]),
        ("Paused", moment(queue.paused_at)),
        ("Paused by", queue.paused_by),
        ("Added", moment(queue.created_at)),
    ]
    return {
        **shown,
        "queue": queue,
        "badges": [badge(state_of(queue))],
        "facts": [(name, value) for name, value in facts if value],
    }


def with_gauges(queues: QuerySet[Queue]) -> QuerySet[Any]:
    """Add to each queue what it had to do when a cluster last looked; None where none has yet."""
    gauges = QueueGauge.objects.filter(name=OuterRef("name"), is_remote=OuterRef("is_remote")).order_by()

    def summed(aggregate: Any) -> Subquery:
        return Subquery(gauges.values("name").annotate(figure=aggregate).values("figure"))

    return queues.annotate(
        running_count=summed(Sum("running_count")),
        due_count=summed(Sum("due_count")),
        later_count=summed(Sum("later_count")),
        oldest_due_at=summed(Min("oldest_due_at")),
        sampled_at=summed(Max("sampled_at")),
    )


def state_of(queue: Queue) -> str:
    return "paused" if queue.is_paused else "running"


def side_of(queue: Queue) -> str:
    return "service of remote workers" if queue.is_remote else "queue of the clusters"


def jobs_url(queue: Queue, status: str) -> str:
    """The list of a queue's jobs of one status."""
    query = {"status__exact": status, "service" if queue.is_remote else "queue": queue.name}
    return f"{reverse('admin:jobs_job_changelist')}?{urlencode(query)}"


def _paused_for(queue: Queue) -> str:
    if queue.paused_at is None:
        return ""
    by = f", by {queue.paused_by}" if queue.paused_by else ""
    return f"for {span(timezone.now() - queue.paused_at)}{by}"


def _pause_of(queue: Queue) -> dict[str, Any]:
    """What a pause changes, as the audit log keeps it."""
    return {"is_paused": queue.is_paused, "paused_by": queue.paused_by}


def _back(request: HttpRequest, queues: list[Queue]) -> HttpResponse | None:
    """To where the button was; None leads to the list."""
    if "from_overview" in request.POST:
        window = urlencode({"window": request.POST["from_overview"]})
        return HttpResponseRedirect(f"{reverse('admin:index')}?{window}")
    return HttpResponseRedirect(page_url(queues[0])) if queues and "from_page" in request.POST else None


def _figure(count: int | None) -> str:
    return "0" if count is None else f"{count:,}"


def _queues(count: int) -> str:
    return f"{count} queue" if count == 1 else f"{count} queues"
