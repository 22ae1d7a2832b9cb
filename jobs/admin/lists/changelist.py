"""The list of records: filtered, looked through as far as is quick, paged by its key, counted so far and no further."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import Any

from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.views import ChangeList

from jobs.admin.lists import scans
from jobs.admin.lists.addresses import Address
from jobs.admin.lists.criteria import CHARS_MAX, Criterion, Reach
from jobs.admin.lists.scans import EXPORT_MAX, Scan

COUNTED_ROWS = 10_000
KEY_CHARS_MAX = 40
BY_KEY = (["-pk"], ["-id"])


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
    """A list that leaves the heavy columns where they are, and is paged by its key where that is its order."""

    is_record_list = True
    is_by_key = False
    before: Any = None  # the key that the rows of this page come after, in the list's order
    after: Any = None
    query: str
    result_count: int
    full_result_count: int | None
    newer_url = older_url = newest_url = further_url = ""
    looked_through = 0  # rows, where no index leads to those that match
    looked_back_to: datetime | None = None
    is_capped = False

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        self.address = Address.of(request.GET.lists())
        self.problems: list[str] = []
        super().__init__(request, *args)

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        """Without those that page the list."""
        kept = super().get_filters_params(params)
        return {name: value for name, value in kept.items() if name not in ("before", "after", "with")}

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[Any]:
        """All rows that match, however far back they lie."""
        asked: str = self.query
        self.query = ""  # searched below, and once
        try:
            rows: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        finally:
            self.query = asked
        self.problems = [spec.problem for spec in self.criteria if spec.problem]
        if len(asked) > CHARS_MAX:
            self.problems.append(f"A search has {CHARS_MAX:,} characters at most.")
            rows = rows.none()
        elif isinstance(self.search, Scan):
            rows = rows.filter(self.search.condition)
        elif self.search is not None:
            rows = rows.filter(pk__in=self.search.order_by().values("pk"))
        return self.dress(rows).defer(*self.model_admin.list_deferred)

    def dress(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Add to the rows of a page what their cells show besides."""
        return rows

    @property
    def criteria(self) -> list[Criterion]:
        return [spec for spec in self.filter_specs if isinstance(spec, Criterion)]

    # The rows that are looked through.

    @cached_property
    def search(self) -> QuerySet[Any] | Scan | None:
        term = self.query.strip()
        if len(term) > CHARS_MAX:
            return None
        return self.model_admin.find(self.root_queryset, term) if term else None

    @cached_property
    def driver(self) -> Criterion | None:
        """The filter whose index leads to the rows; None where a search does, or none has one."""
        led = [
            each for each in self.criteria if each.wanted and each.reach() is not None and not each.is_bound
        ]
        return min(led, key=lambda each: each.reach() or 0) if led and not self.is_search_led else None

    @property
    def is_search_led(self) -> bool:
        return isinstance(self.search, QuerySet)

    @property
    def is_few(self) -> bool:
        """Whether an index leads to the rows in another order than the list's."""
        return self.is_search_led or (self.driver is not None and self.driver.reach() != Reach.ORDERED)

    @property
    def window(self) -> int:
        """How many rows are looked through for a page; 0 where an index leads to few enough to look at them all."""
        scanned = [
            each.window
            for each in self.criteria
            if each.is_active and not each.is_bound and (each is not self.driver or each.unwanted)
        ]
        scanned += [scans.SEARCHED_ROWS] if isinstance(self.search, Scan) else []
        if self.is_few:
            scanned = [window for window in scanned if window < scans.SEARCHED_ROWS]
        return min(scanned, default=0)

    @cached_property
    def candidates(self) -> QuerySet[Any]:
        """The rows that an index leads to: among them those are looked for that match the rest."""
        rows = self.search if isinstance(self.search, QuerySet) else self.root_queryset
        for each in self.criteria:
            if each.is_bound:
                rows = each.queryset(self.request, rows)
        return rows.filter(self.driver.including) if self.driver else rows

    # A page of them.

    def get_results(self, request: HttpRequest) -> None:
        self.request = request
        self.is_by_key = list(dict.fromkeys(self.get_ordering(request, self.root_queryset))) in BY_KEY
        if not self.is_by_key:
            super().get_results(request)
            self.full_result_count = self.result_count  # as in _count()
            return
        self._read_place(request)
        keys = [] if self.problems else self._keys()
        shown = keys[: self.list_per_page]
        self.result_list = self._rows_of(shown)
        self._count(keys)
        self._link(shown, has_more=len(keys) > len(shown))

    def _read_place(self, request: HttpRequest) -> None:
        for name in ("before", "after"):
            text = request.GET.get(name, "")
            try:
                if len(text) > KEY_CHARS_MAX:
                    raise ValidationError("No key is that long.")
                setattr(self, name, self.opts.pk.to_python(text) if text else None)
            except (ValidationError, OverflowError):
                self.problems.append(f"{text[:40]!r} is no place in this list.")

    def _keys(self) -> list[Any]:
        """The keys of the rows from here on, in the order of the list, COUNTED_ROWS and one at most."""
        is_upwards = self.after is not None
        rows = self._from_here(self.queryset)
        if self.window:
            order = self._order(is_reversed=is_upwards)
            edge = scans.edge_of(self._from_here(self.candidates), order, self.window)
            self._tell(edge, is_upwards=is_upwards)
            if edge is not None:
                rows = rows.filter(pk__lte=edge) if is_upwards else rows.filter(pk__gte=edge)
        found = rows.order_by(self._order(is_reversed=is_upwards)).values_list("pk", flat=True)
        keys = list(found[: self.list_per_page + 1 if is_upwards else COUNTED_ROWS + 1])
        if not is_upwards:
            return keys
        self._has_newer = len(keys) > self.list_per_page
        return keys[: self.list_per_page][::-1]

    def _order(self, *, is_reversed: bool = False) -> Any:
        return scans.newest_first(self.model, is_few=self.is_few, is_reversed=is_reversed)

    def _from_here(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        if self.after is not None:
            return rows.filter(pk__gt=self.after)
        return rows.filter(pk__lt=self.before) if self.before is not None else rows

    def _tell(self, edge: Any, *, is_upwards: bool) -> None:
        """Say how far was looked, where that is not all there is."""
        if edge is None:
            return
        self.looked_through = self.window
        self.looked_back_to = scans.moment_of(self.model, edge)
        self.further_url = self._at("after" if is_upwards else "before", edge)

    def _rows_of(self, keys: list[Any]) -> list[Any]:
        """The rows of a page, read by their keys alone."""
        rows = self.dress(self.root_queryset).filter(pk__in=keys).defer(*self.model_admin.list_deferred)
        if not rows.query.select_related:
            rows = self.apply_select_related(rows)
        return sorted(rows, key=lambda row: keys.index(row.pk))

    def _count(self, keys: list[Any]) -> None:
        self.is_capped = len(keys) > COUNTED_ROWS
        self.from_here = CappedCount(COUNTED_ROWS) if self.is_capped else len(keys)
        is_first = self.before is None and self.after is None
        # "Select all" counts what the whole list has, which a later page does not know.
        self.result_count = self.from_here if is_first else len(self.result_list)
        self.full_result_count = self.result_count  # the foot counts, and the chips lead back to all
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = self.multi_page = False
        self.paginator = self.model_admin.get_paginator(self.request, self.result_list, self.list_per_page)

    def _link(self, shown: list[Any], *, has_more: bool) -> None:
        is_upwards = self.after is not None
        if self.before is not None or is_upwards:
            self.newest_url = self.address.url
        if shown and (self.before is not None or (is_upwards and self._has_newer)):
            self.newer_url = self._at("after", shown[0])
        if shown and (has_more or is_upwards):
            self.older_url = self._at("before", shown[-1])

    def _at(self, name: str, key: Any) -> str:
        return self.address.having(name, [str(key)]).url

    _has_newer = False
    from_here: int = 0

    # What the page shows of it.

    @property
    def is_narrowed(self) -> bool:
        """Whether anything but the list itself is asked for."""
        return bool(self.query or self.has_active_filters or self.problems)

    @cached_property
    def panel(self) -> Any:
        from jobs.admin.lists.panels import panel_of

        return panel_of(self)

    @cached_property
    def tabs(self) -> list[Any]:
        """The saved views of this list."""
        from jobs.admin.lists.saved_views import tabs_of

        return tabs_of(self.request, self.opts.label, self.address)

    @property
    def list_path(self) -> str:
        path: str = self.model_admin.list_path
        return path

    @property
    def looked_through_text(self) -> str:
        return f"{self.looked_through:,}"

    @property
    def from_here_text(self) -> str:
        return str(self.from_here) if self.is_capped else f"{self.from_here:,}"

    @property
    def export_max(self) -> str:
        return f"{EXPORT_MAX:,}"

    @property
    def empty_text(self) -> str:
        """What to do where there is nothing at all."""
        text: str = self.model_admin.list_empty
        return text

    @property
    def search_words(self) -> list[str]:
        """What may be typed as a qualifier."""
        return [each.parameter_name for each in self.criteria]

    def get_filters(self, request: HttpRequest) -> Any:
        specs, _, lookups, may_have_duplicates, is_active = super().get_filters(request)
        # Its own panel shows them: unfold's is not drawn.
        return specs, False, lookups, may_have_duplicates, is_active
