"""Lists and pages of what the platform writes by itself: read, searched, never edited, fast at any size."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.views import ChangeList

from jobs.admin.access.scoping import ScopedAdmin

COUNTED_ROWS = 10_000


class CappedCount(int):
    """A count that was given up: it reckons as its number and reads as `10,000+`."""

    def __str__(self) -> str:
        return f"{int(self):,}+"


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than COUNTED_ROWS, which is also as deep as one can page."""

    @cached_property
    def count(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        found = rows.order_by()[: COUNTED_ROWS + 1].count()
        return found if found <= COUNTED_ROWS else CappedCount(COUNTED_ROWS)


class RecordList(ChangeList):  # type: ignore[misc]
    """A list that leaves the heavy columns where they are."""

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        return rows.defer(*self.model_admin.list_deferred)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not self.query and not self.has_active_filters:
            self.full_result_count = self.result_count  # what is shown is all there is: no link to "all"


class RecordAdmin(ScopedAdmin):
    """Pages nobody edits. What may be done to a record is an action that asks for `operate`.

    `change` is refused to everyone, so that no form of Django's ever saves; the operator's right is the model's
    change permission all the same, asked for by name.
    """

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = BoundedPaginator
    list_per_page = 50
    list_max_show_all = 50
    list_deferred: ClassVar[tuple[str, ...]] = ()
    fields: ClassVar[tuple[str, ...]] = ("id",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether this account may act on such records."""
        right = f"{self.opts.app_label}.change_{self.opts.model_name}"
        return not self.is_out_of_reach(request) and request.user.has_perm(right)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Whether an address may filter by this: by what the list's own filters do and nothing else."""
        names = {getattr(each, "parameter_name", each) for each in self.list_filter}
        return lookup in names or lookup.split("__")[0] in names

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[RecordList]:
        return RecordList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        return (self.find(queryset, term) if term else queryset), False

    def find(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        """The rows a search term means; uses an index, or looks through the newest only."""
        raise NotImplementedError

    def page(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        """What the template of the record's page shows besides the record."""
        raise NotImplementedError

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any
    ) -> HttpResponse:
        context.update(self.page(request, context["original"]))
        response: HttpResponse = super().render_change_form(request, context, *args, **options)
        return response
