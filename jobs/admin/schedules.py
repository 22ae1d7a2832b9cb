"""Schedules: the platform's own recurring work, when it is due next and how it went."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, JSONObject
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.safestring import SafeString

from jobs.admin.displays import anchor, badge, moment, noted, page_url, span, titled
from jobs.admin.records import RecordAdmin
from jobs.models import Job, Schedule
from jobs.queue.outcomes import UNSTORABLE
from jobs.services.audit import Actor
from jobs.services.schedules import pause_schedule, resume_schedule, run_schedule

SHOWN_MAX = 10
LOOKED_AT_MAX = 2_000  # of the platform's own jobs, which are few beside the tenants'
REASON_MAX = 1_000
OVERDUE_AFTER = timedelta(minutes=2)

Verb = Callable[..., bool]


@admin.register(Schedule)
class ScheduleAdmin(RecordAdmin):
    tenant_path = ""
    list_display = ["what", "state", "cadence", "next_due", "last_run", "last_took"]
    list_display_links = ["what"]
    list_empty = "They are in the code; migrate brings them here."
    search_fields = ["name"]
    search_help_text = "Name or kind"
    actions = ["run_now", "pause_schedules", "resume_schedules"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        return with_last_job(rows)

    def find(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        # The table has a row for each schedule in the code.
        return rows.filter(Q(name__icontains=term) | Q(func__icontains=term))

    @admin.display(description="Schedule")
    def what(self, schedule: Schedule) -> SafeString:
        return titled(str(schedule), schedule.kind)

    @admin.display(description="State")
    def state(self, schedule: Schedule) -> SafeString:
        return badge(state_of(schedule))

    @admin.display(description="Runs")
    def cadence(self, schedule: Schedule) -> str:
        return schedule.cadence

    @admin.display(description="Next run", empty_value="–")
    def next_due(self, schedule: Schedule) -> SafeString | None:
        at = None if schedule.is_paused else moment(schedule.next_run)
        return noted(at, "overdue: does a cluster of its queue beat?") if at and is_overdue(schedule) else at

    @admin.display(description="Last run", empty_value="not lately")
    def last_run(self, schedule: Any) -> SafeString | None:
        last = LastJob.of(schedule)
        return format_html("{} {}", badge(last.status), moment(last.created_at)) if last else None

    @admin.display(description="Took", empty_value="–")
    def last_took(self, schedule: Any) -> str | None:
        last = LastJob.of(schedule)
        return last.took if last else None

    @admin.action(permissions=["operate"], description="Run selected schedules now")
    def run_now(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        by, reason = Actor.of_request(request), _reason_in(request)
        for schedule in queryset:
            job_id, is_new = run_schedule(schedule, by=by, reason=reason)
            if is_new:
                self.log_change(request, schedule, f"Run now: job {job_id}.")
            self.message_user(
                request, _told_of(schedule, job_id, is_new), messages.SUCCESS if is_new else messages.WARNING
            )
        return _back(request, queryset)

    @admin.action(permissions=["operate"], description="Pause selected schedules")
    def pause_schedules(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self.act(request, queryset, pause_schedule, ("paused: nothing is enqueued.", "paused before."))

    @admin.action(permissions=["operate"], description="Resume selected schedules")
    def resume_schedules(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return self.act(request, queryset, resume_schedule, ("resumed.", "not paused."))

    def act(
        self, request: HttpRequest, queryset: QuerySet[Any], verb: Verb, told: tuple[str, str]
    ) -> HttpResponse | None:
        """Do it one by one and tell how many were done and how many refused."""
        by, reason, schedules = Actor.of_request(request), _reason_in(request), list(queryset)
        done = [schedule for schedule in schedules if verb(schedule, by=by, reason=reason)]
        for schedule in done:
            self.log_change(request, schedule, "Paused." if schedule.is_paused else "Resumed.")
        outcome, refusal = told
        if done:
            self.message_user(request, f"{_schedules(len(done))} {outcome}", messages.SUCCESS)
        if refused := len(schedules) - len(done):
            self.message_user(request, f"{_schedules(refused)} refused: {refusal}", messages.WARNING)
        return _back(request, queryset)

    def page(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        schedule: Any = record
        may_see_jobs = self.admin_site.get_model_admin(Job).has_view_or_change_permission(request)
        facts = [
            ("Runs", schedule.cadence),
            ("Next run", self.next_due(schedule) or "none while it is paused"),
            ("Kind", schedule.kind),
            ("Queue", schedule.cluster or "default"),
        ]
        return {
            "heading": str(schedule),
            "badges": [badge(state_of(schedule))],
            "facts": facts,
            "may_act": self.has_operate_permission(request),
            "checkbox_name": ACTION_CHECKBOX_NAME,
            "runs": _last_runs(schedule) if may_see_jobs else None,
        }


@dataclass(frozen=True, slots=True)
class LastJob:
    """The newest job of a schedule's kind, as with_last_job() found it."""

    status: str
    created_at: datetime | None
    took: str | None

    @classmethod
    def of(cls, schedule: Any) -> LastJob | None:
        found = schedule.last_job
        if found is None:
            return None
        started, ended = (parse_datetime(found[name] or "") for name in ("started_at", "ended_at"))
        took = span(max(ended - started, timedelta(0))) if started and ended else None
        return cls(found["status"], parse_datetime(found["created_at"]), took)


def with_last_job(schedules: QuerySet[Any]) -> QuerySet[Any]:
    """Add to each schedule what became of the newest job of its kind, among the platform's newest."""
    mine = _newest().filter(kind=OuterRef("func")).order_by("-pk")
    found = JSONObject(
        status="status",
        created_at="created_at",
        started_at="started_at",
        ended_at=Coalesce("completed_at", "failed_at", "cancelled_at"),
    )
    found_by_kind: QuerySet[Any] = schedules.annotate(last_job=Subquery(mine.values_list(found)[:1]))
    return found_by_kind


def _newest() -> QuerySet[Job]:
    """The newest of the platform's own jobs, as the index of a tenant's list finds them."""
    newest = Job.objects.filter(tenant=None).order_by("-pk").values("pk")[:LOOKED_AT_MAX]
    return Job.objects.filter(pk__in=newest)


def _last_runs(schedule: Schedule) -> list[dict[str, Any]]:
    """The last jobs of its kind, whoever asked for them."""
    fields = ("kind", "service_required", "status", "actor_id", "created_at")
    jobs = _newest().filter(kind=schedule.kind).only(*fields).order_by("-pk")[:SHOWN_MAX]
    return [
        {
            "url": page_url(job),
            "title": titled(f"by {job.actor_id}" if job.actor_id else job.kind, str(job.pk)),
            "badge": badge(job.status),
            "at": moment(job.created_at),
        }
        for job in jobs
    ]


def is_overdue(schedule: Schedule) -> bool:
    """Whether its turn has passed; the scheduler looks every 30 seconds."""
    return bool(timezone.now() - schedule.next_run > OVERDUE_AFTER)


def state_of(schedule: Schedule) -> str:
    return "paused" if schedule.is_paused else "active"


def _told_of(schedule: Schedule, job_id: UUID, is_new: bool) -> SafeString:
    """What came of "run now", with a link to the job."""
    text = "{} runs as {}" if is_new else "{} is not run, for its last job has not ended: {}"
    return format_html(
        text, str(schedule), anchor(reverse("admin:jobs_job_change", args=[job_id]), f"job {job_id}")
    )


def _back(request: HttpRequest, schedules: QuerySet[Any]) -> HttpResponse | None:
    """To the page that the button was on; None leads to the list."""
    schedule = schedules.first() if "from_page" in request.POST else None
    return HttpResponseRedirect(page_url(schedule)) if schedule else None


def _reason_in(request: HttpRequest) -> str:
    return UNSTORABLE.sub("\ufffd", request.POST.get("reason", "")[:REASON_MAX])


def _schedules(count: int) -> str:
    return f"{count} schedule" if count == 1 else f"{count} schedules"
