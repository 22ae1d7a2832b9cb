"""Lists and pages of what the platform writes by itself: read, searched, never edited, fast at any size."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import OperationalError, connection, transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST
from psycopg.errors import QueryCanceled

from jobs.admin.access.revealing import RevealingAdmin
from jobs.admin.lists import exports, saved_views
from jobs.admin.lists.changelist import COUNTED_ROWS, BoundedPaginator, CappedCount, RecordList
from jobs.admin.lists.criteria import Criterion
from jobs.admin.lists.scans import Scan
from jobs.admin.lists.tidying import tidied

__all__ = ["COUNTED_ROWS", "BoundedPaginator", "CappedCount", "RecordAdmin", "RecordList"]

READ_MILLISECONDS = 5_000  # of any one statement that reads a list


class RecordAdmin(RevealingAdmin):
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
    export_paths: ClassVar[tuple[str, ...]] = ()  # what exports hold besides the columns, from inside JSON
    list_empty: ClassVar[str] = "They are written as work is done."
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
        return not self.is_out_of_reach(request, obj) and request.user.has_perm(right)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Whether an address may filter by this: by what the list's own filters do and nothing else."""
        for each in self.list_filter:
            if isinstance(each, type) and issubclass(each, Criterion):
                is_own = lookup in each.names()
            elif isinstance(each, str):
                is_own = lookup.split("__")[0] == each
            else:
                is_own = lookup == getattr(each, "parameter_name", None)
            if is_own:
                return True
        return False

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[RecordList]:
        return RecordList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        found = self.find(queryset, term) if term else queryset
        return (queryset.filter(found.condition) if isinstance(found, Scan) else found), False

    def find(self, rows: QuerySet[Any], term: str) -> QuerySet[Any] | Scan:
        """The rows a search term means, where an index leads to them; else what the list is to look through for."""
        raise NotImplementedError

    # The list.

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        if request.method != "GET":
            return super().changelist_view(request, extra_context)
        if (url := tidied(request, self.list_filter)) is not None:
            return HttpResponseRedirect(url)
        try:
            with transaction.atomic():
                bound_statements()
                response = super().changelist_view(request, {"can_export": True, **(extra_context or {})})
                return response.render() if isinstance(response, TemplateResponse) else response
        except OperationalError as error:
            if not isinstance(error.__cause__, QueryCanceled):
                raise
        return self.too_slow(request)

    def too_slow(self, request: HttpRequest) -> TemplateResponse:
        """What is answered where a list can't be read in time."""
        context = {
            **self.admin_site.each_context(request),
            "title": "This takes too long",
            "opts": self.opts,
            "seconds": READ_MILLISECONDS // 1000,
        }
        return TemplateResponse(request, "admin/lists/too_slow.html", context, status=503)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        mine = [
            path("export/<str:kind>/", view(self.export_view), name=f"{name}_export"),
            path("views/save/", view(require_POST(self.save_view)), name=f"{name}_save_view"),
            path("views/<int:pk>/", view(require_POST(self.saved_view)), name=f"{name}_saved_view"),
        ]
        return [*mine, *super().get_urls()]

    @property
    def list_path(self) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")

    def export_view(self, request: HttpRequest, kind: str) -> HttpResponseBase:
        """The filtered list as a file."""
        self._check_may_list(request)
        if kind not in exports.TYPES:
            raise Http404
        changelist = self.get_changelist_instance(request)
        return exports.export_of(request, changelist, kind)

    def save_view(self, request: HttpRequest) -> HttpResponse:
        self._check_may_list(request)
        return saved_views.save_view(request, self.opts.label, self.list_path)

    def saved_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Rename, share or delete a saved view."""
        self._check_may_list(request)
        serve = saved_views.delete_view if "delete" in request.POST else saved_views.change_view
        return serve(request, self.opts.label, pk, self.list_path)

    def _check_may_list(self, request: HttpRequest) -> None:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied

    # The page of a record.

    def page(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        """What the template of the record's page shows besides the record."""
        raise NotImplementedError

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any
    ) -> HttpResponse:
        context.update(self.page(request, context["original"]))
        response: HttpResponse = super().render_change_form(request, context, *args, **options)
        return response


def bound_statements() -> None:
    """Have PostgreSQL give up on whatever statement of this transaction takes too long."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(READ_MILLISECONDS)])
