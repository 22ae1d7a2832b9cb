"""Errors: what fails for the same cause, how often and since when, and all of it tried again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import admin
from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from jobs.admin.access.scoping import scope_of, scoped
from jobs.admin.charts import bars
from jobs.admin.displays import anchor, link, moment, titled
from jobs.admin.filters import TenantFilter
from jobs.admin.lists.criteria import ChoiceCriterion, Choices
from jobs.admin.records import COUNTED_ROWS, CappedCount, RecordAdmin, RecordList
from jobs.admin.searches import as_uuid
from jobs.models import ErrorGroup, Job, Measure
from jobs.models.jobs import PLATFORM
from jobs.queue.handlers import find_handler
from jobs.rollups.reading import WINDOWS, Window, trends

SEARCHED_GROUPS = 10_000
CHOICES_MAX = 100
CHOICES_FROM = 1_000  # of the groups seen last
FAILED_ATTEMPTS = "failed attempts"
TREND = Window("trend", "Last 24 hours", 86_400, 3_600)


class LastSeenFilter(ChoiceCriterion):
    title = "last seen"
    parameter_name = "seen"
    windows: ClassVar[dict[str, tuple[str, timedelta]]] = {
        "hour": ("In the last hour", timedelta(hours=1)),
        "day": ("In the last 24 hours", timedelta(days=1)),
        "week": ("In the last 7 days", timedelta(days=7)),
    }

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [(word, label) for word, (label, _) in self.windows.items()]

    def any_of(self, values: list[str]) -> Q:
        return Q(last_seen_at__gte=timezone.now() - max(self.windows[value][1] for value in values))


class _WordFilter(ChoiceCriterion):
    """By a column of short words; those that were seen last are offered."""

    is_open = True

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        recent = scoped(ErrorGroup.objects.order_by("-last_seen_at"), request.user)
        words = set(recent.values_list(self.parameter_name, flat=True)[:CHOICES_FROM])
        return [(word, word) for word in sorted(words - {""})[:CHOICES_MAX]]


class NameFilter(_WordFilter):
    title = "kind or service"
    parameter_name = "name"


class CodeFilter(_WordFilter):
    title = "code"
    parameter_name = "code"


class ErrorList(RecordList):
    """The list with the trend of each group on the page, read by one query."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        groups: list[Any] = list(self.result_list)
        counts = trends(scope_of(request.user), Measure.ERROR, TREND, [str(group.pk) for group in groups])
        for group in groups:
            group.trend = counts[str(group.pk)]
        self.result_list: list[Any] = groups


@admin.register(ErrorGroup)
class ErrorGroupAdmin(RecordAdmin):
    fields = ("fingerprint",)
    list_display = ["what", "tenant_slug", "times", "trend_of_day", "first_seen", "last_seen"]
    list_display_links = ["what"]
    list_filter = [TenantFilter, NameFilter, CodeFilter, LastSeenFilter]
    ordering = ["-last_seen_at", "fingerprint"]
    search_fields = ["message"]
    search_help_text = "Words of the message, code, kind or service"

    def get_queryset(self, request: HttpRequest) -> QuerySet[ErrorGroup]:
        rows: QuerySet[ErrorGroup] = super().get_queryset(request)
        return rows.select_related("tenant")

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[RecordList]:
        return ErrorList

    def find(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        if key := as_uuid(term):
            return rows.filter(pk=key)
        return _seen_last(rows).filter(Q(message__icontains=term) | Q(code=term) | Q(name=term))

    @admin.display(description="Error")
    def what(self, group: ErrorGroup) -> SafeString:
        return titled(_in_words(group), " · ".join(filter(None, [group.name, group.code])))

    @admin.display(description="Tenant", empty_value="platform")
    def tenant_slug(self, group: ErrorGroup) -> str | None:
        return group.tenant.slug if group.tenant else None

    @admin.display(description="Attempts", ordering="count")
    def times(self, group: ErrorGroup) -> str:
        return f"{group.count:,}"

    @admin.display(description="Last 24 hours")
    def trend_of_day(self, group: Any) -> SafeString:
        return spark(group.trend)

    @admin.display(description="First seen", ordering="first_seen_at")
    def first_seen(self, group: ErrorGroup) -> SafeString | None:
        return moment(group.first_seen_at)

    @admin.display(description="Last seen", ordering="last_seen_at")
    def last_seen(self, group: ErrorGroup) -> SafeString | None:
        return moment(group.last_seen_at)

    def page(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        group: ErrorGroup = record
        return {
            "group": group,
            "heading": _in_words(group),
            "facts": _facts_of(group),
            "charts": [(each.label, _chart_of(group, each)) for each in (WINDOWS["day"], WINDOWS["week"])],
            **self._jobs_of(request, group),
        }

    def _jobs_of(self, request: HttpRequest, group: ErrorGroup) -> dict[str, Any]:
        """The jobs that are failed with it now, one of them in full, and whether they may be tried again from here."""
        jobs: Any = self.admin_site.get_model_admin(Job)
        if not jobs.has_view_permission(request):
            return {}
        failed = scoped(
            Job.objects.filter(status=Job.Status.FAILED, error_fingerprint=group.pk), request.user
        )
        count = failed[: COUNTED_ROWS + 1].count()
        newest = failed.order_by("-pk").first()
        return {
            "sample": _sample_of(
                newest or scoped(Job.objects.filter(pk=group.sample_job_id), request.user).first(), group
            ),
            "failed_count": count if count <= COUNTED_ROWS else CappedCount(COUNTED_ROWS),
            "failed_url": f"{reverse('admin:jobs_job_changelist')}?{urlencode(_filters_of(group))}",
            "some_key": newest.pk if newest and jobs.has_operate_permission(request) else None,
            "checkbox_name": ACTION_CHECKBOX_NAME,
        }


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A job that failed so; its error, unless it has come to something else since."""

    link: SafeString | None
    ended: SafeString | None
    error: Any


def spark(counts: Sequence[int]) -> SafeString:
    """A trend as small bars, hour by hour, with its numbers in words."""
    most = max(counts, default=0)
    path = "".join(
        f"M{place * 4} 20v-{max(count * 20 / most, 2):.1f}h3V20z"
        for place, count in enumerate(counts)
        if count
    )
    context = {"path": path, "width": len(counts) * 4, "sum": f"{sum(counts):,}", "most": f"{most:,}"}
    return render_to_string("admin/jobs/errorgroup/spark.html", context)


def _in_words(group: ErrorGroup) -> str:
    return group.message or group.code or "An error that says nothing"


def _facts_of(group: ErrorGroup) -> list[tuple[str, Any]]:
    asked = urlencode({"kind" if find_handler(group.name) else "service": group.name})
    jobs = f"{reverse('admin:jobs_job_changelist')}?{asked}"
    facts: list[tuple[str, Any]] = [
        ("Kind or service", anchor(jobs, group.name)),
        ("Code", group.code),
        ("Tenant", link(group.tenant) or "platform"),
        ("Failed attempts", f"{group.count:,}"),
        ("First seen", moment(group.first_seen_at)),
        ("Last seen", moment(group.last_seen_at)),
    ]
    return [(name, value) for name, value in facts if value]


def _chart_of(group: ErrorGroup, window: Window) -> SafeString:
    now, key = timezone.now(), str(group.pk)
    counts = trends(group.tenant_id or PLATFORM, Measure.ERROR, window, [key], now=now)[key]
    points = [(at, {FAILED_ATTEMPTS: count}) for at, count in zip(window.steps(now), counts, strict=True)]
    return bars(points, keys=[(FAILED_ATTEMPTS, "bad")], title=window.label)


def _sample_of(job: Job | None, group: ErrorGroup) -> Sample | None:
    if job is None:
        return None
    is_still_so = job.error_fingerprint == group.pk
    return Sample(link=link(job), ended=moment(job.ended_at), error=job.error if is_still_so else None)


def _filters_of(group: ErrorGroup) -> dict[str, str | UUID]:
    """The jobs that are failed with it now, as their list takes it."""
    return {"error": group.pk, "status": Job.Status.FAILED.value}


def _seen_last(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Only the groups seen last: bounds a search in their texts."""
    times = ErrorGroup.objects.order_by("-last_seen_at").values_list("last_seen_at", flat=True)
    for edge in times[SEARCHED_GROUPS : SEARCHED_GROUPS + 1]:
        return rows.filter(last_seen_at__gt=edge)
    return rows
