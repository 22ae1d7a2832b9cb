"""Queues and services: what each has to do, paused, resumed and limited here."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.postgres.expressions import ArraySubquery
from django.core.exceptions import ValidationError
from django.db.models import Case, Count, OuterRef, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from jobs.admin.displays import anchor, badge, moment, noted, page_url, span, titled
from jobs.api.fields import NAME
from jobs.models import Job, Queue, Tenant
from jobs.services.queues import limit_queue, pause_queue, resume_queue

LOOKED_AT_MAX = 1_000  # queued jobs of each queue


class QueueForm(forms.ModelForm):  # type: ignore[type-arg]
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
class QueueAdmin(ModelAdmin):  # type: ignore[misc]
    form = QueueForm
    list_display = ["what", "state", "limit", "running", "due", "oldest_due"]
    list_display_links = ["what"]
    search_fields = ["name__icontains"]
    search_help_text = "Name"
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 50
    actions = ["pause_queues", "resume_queues"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return with_work(super().get_queryset(request))

    def get_fields(self, request: HttpRequest, obj: Queue | None = None) -> list[str]:
        return ["max_running"] if obj else ["name", "max_running"]

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

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> Any:
        if add or not form.has_changed():
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

    @admin.display(description="Running")
    def running(self, queue: Any) -> str:
        return f"{queue.running_count:,}"

    @admin.display(description="Due now")
    def due(self, queue: Any) -> str:
        return backlog_of(queue).text

    @admin.display(description="Oldest due", empty_value="–")
    def oldest_due(self, queue: Any) -> SafeString | None:
        return _oldest(backlog_of(queue))

    @admin.action(permissions=["change"], description="Pause selected queues")
    def pause_queues(self, request: HttpRequest, queryset: QuerySet[Queue]) -> HttpResponse | None:
        by = request.user.get_username()
        told = ("paused: what runs goes on, nothing more starts.", "paused before.")
        return self.act(request, queryset, lambda queue: pause_queue(queue, by=by), "Paused.", told)

    @admin.action(permissions=["change"], description="Resume selected queues")
    def resume_queues(self, request: HttpRequest, queryset: QuerySet[Queue]) -> HttpResponse | None:
        return self.act(request, queryset, resume_queue, "Resumed.", ("resumed.", "not paused."))

    def act(
        self,
        request: HttpRequest,
        queryset: QuerySet[Queue],
        verb: Callable[[Queue], bool],
        logged: str,
        told: tuple[str, str],
    ) -> HttpResponse | None:
        """Do it queue by queue and tell how many were done and how many refused."""
        queues = list(queryset)
        done = [queue for queue in queues if verb(queue)]
        for queue in done:
            self.log_change(request, queue, logged)
        outcome, refusal = told
        if done:
            self.message_user(request, f"{_queues(len(done))} {outcome}", messages.SUCCESS)
        if refused := len(queues) - len(done):
            self.message_user(request, f"{_queues(refused)} refused: {refusal}", messages.WARNING)
        return HttpResponseRedirect(page_url(queues[0])) if queues and "from_page" in request.POST else None

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
        may_see_jobs = self.admin_site.get_model_admin(Job).has_view_or_change_permission(request)
        backlog = backlog_of(queue)
        limit = f"of at most {queue.max_running:,}" if queue.max_running else "without limit"
        running, due = f"{queue.running_count:,} {limit}", backlog.text
        facts = [
            ("Side", side_of(queue)),
            ("Running", anchor(jobs_url(queue, Job.Status.RUNNING), running) if may_see_jobs else running),
            ("Due now", anchor(jobs_url(queue, Job.Status.QUEUED), due) if may_see_jobs else due),
            ("Oldest due", _oldest(backlog)),
            ("Paused", moment(queue.paused_at)),
            ("Paused by", queue.paused_by),
            ("Added", moment(queue.created_at)),
        ]
        return {
            "badges": [badge(state_of(queue))],
            "facts": [(name, value) for name, value in facts if value],
            "may_act": self.has_change_permission(request, queue),
            "checkbox_name": ACTION_CHECKBOX_NAME,
        }


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is due in a queue, as far as was looked: of more than LOOKED_AT_MAX queued jobs at some only."""

    due: int
    oldest: datetime | None
    is_partial: bool

    @property
    def text(self) -> str:
        return f"{self.due:,}+" if self.is_partial else f"{self.due:,}"


def with_work(queues: QuerySet[Queue]) -> QuerySet[Any]:
    """Add to each queue how many of its jobs run, and when those queued are due (LOOKED_AT_MAX + 1 at most)."""
    queued = Job.objects.filter(status=Job.Status.QUEUED).order_by()
    in_house = queued.filter(service_required="", queue=OuterRef("name"))
    # By the tenants' keys, which the index for remote jobs begins with.
    remote = queued.exclude(service_required="").filter(
        tenant__in=Tenant.objects.values("pk"), service_required=OuterRef("name")
    )
    return queues.annotate(
        running_count=Case(
            When(is_remote=True, then=_counted_running(service_required=OuterRef("name"))),
            default=_counted_running(service_required="", queue=OuterRef("name")),
        ),
        queued_for=Case(
            When(is_remote=True, then=ArraySubquery(remote.values("run_at")[: LOOKED_AT_MAX + 1])),
            default=ArraySubquery(in_house.values("run_at")[: LOOKED_AT_MAX + 1]),
        ),
    )


def _counted_running(**where: Any) -> Coalesce:
    # Not capped: no more run than there are workers for, and a limit is read against the exact number.
    running = Job.objects.filter(status=Job.Status.RUNNING, **where).order_by()
    return Coalesce(Subquery(running.values("status").annotate(count=Count("pk")).values("count")), Value(0))


def backlog_of(queue: Any) -> Backlog:
    """Read off what with_work() has added."""
    now = timezone.now()
    due = [at for at in queue.queued_for[:LOOKED_AT_MAX] if at <= now]
    return Backlog(len(due), min(due, default=None), len(queue.queued_for) > LOOKED_AT_MAX)


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


def _oldest(backlog: Backlog) -> SafeString | None:
    at = moment(backlog.oldest)
    return noted(at, "or earlier") if at and backlog.is_partial else at


def _queues(count: int) -> str:
    return f"{count} queue" if count == 1 else f"{count} queues"
