"""Filters of a list: each takes `?name=a,b` (any of them) and `?name__not=a,b` (none of them)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, ClassVar

from django.contrib.admin import ListFilter, ModelAdmin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from jobs.admin.lists import scans
from jobs.admin.lists.addresses import Address, joined, negated, parted
from jobs.admin.lists.scans import first_key_of, has_uuid_key

VALUES_MAX = 50
CHARS_MAX = 1_000
CLOCKS_APART = timedelta(hours=1)  # as long as a transaction may last whose rows are seen later than others

Choices = Iterable[tuple[str, str]]


class Reach(IntEnum):
    """How an index leads to the rows of a filter; the least leads first."""

    FEW = 0  # to no more than some thousands, in whatever order
    SORTED = 1  # to some hundred thousands, in another order than the list's
    ORDERED = 2  # newest first


class Unusable(Exception):
    """A value that a filter can't take, in words for who typed it."""


class Criterion(ListFilter):
    """One filter. What is compared is `condition`; which index leads there is `reach`."""

    parameter_name: ClassVar[str]
    words: ClassVar[tuple[str, ...]] = ()  # what else may be typed for it in the search box
    hint: ClassVar[str] = ""
    kind: ClassVar[str] = "text"  # how the panel asks for it: text, choices, time
    is_bound: ClassVar[bool] = False  # whether it bounds the list's own order, as times do
    is_split: ClassVar[bool] = True
    edges: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, request: HttpRequest, params: dict[str, list[str]], model: Any, model_admin: ModelAdmin[Any]
    ) -> None:
        super().__init__(request, params, model, model_admin)  # type: ignore[arg-type]
        self.request, self.model, self.model_admin = request, model, model_admin
        name = self.parameter_name
        self.wanted = self.values_in([*params.pop(name, []), *params.pop(f"{name}__exact", [])])
        self.unwanted = self.values_in(params.pop(negated(name), []))
        self.lookup_choices = list(self.lookups(request, model_admin))
        self.problem = ""
        self.including, self.excluding = Q(), Q()
        try:
            self.take()
        except Unusable as error:
            self.problem = str(error)

    @classmethod
    def pinned(cls, address: Address, now: datetime) -> Address:
        """The address that goes on meaning what this one means now."""
        return address

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The parameters of an address that are this filter's."""
        return (cls.parameter_name, f"{cls.parameter_name}__exact", negated(cls.parameter_name))

    def values_in(self, given: Sequence[str]) -> list[str]:
        return (
            parted(given) if self.is_split else list(dict.fromkeys(value for value in given if value.strip()))
        )

    def take(self) -> None:
        """Turn the values into conditions. Raises Unusable."""
        self.check([*self.wanted, *self.unwanted])
        if self.wanted:
            self.including = self.any_of(self.wanted)
        if self.unwanted:
            self.excluding = ~self.any_of(self.unwanted)

    def check(self, values: Sequence[str]) -> None:
        if len(values) > VALUES_MAX or any(len(value) > CHARS_MAX for value in values):
            raise Unusable(f"{self.name} takes {VALUES_MAX} values of {CHARS_MAX:,} characters at most.")

    @property
    def name(self) -> str:
        return str(self.title).capitalize()

    def any_of(self, values: list[str]) -> Q:
        """The rows that have one of these values. Raises Unusable."""
        raise NotImplementedError

    def reach(self) -> Reach | None:
        """How an index leads to the rows that are wanted; None where none does."""
        return None

    @property
    def window(self) -> int:
        """How many rows are looked through where no index leads."""
        return scans.SEARCHED_ROWS

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return []

    def label_of(self, value: str) -> str:
        return dict(self.lookup_choices).get(value, value)

    @property
    def is_active(self) -> bool:
        return bool(self.wanted or self.unwanted)

    def parts(self) -> Iterator[tuple[str, str, str, bool]]:
        """What is active, for chips: the parameter, its value, how it reads, and whether it is a not."""
        for value in self.wanted:
            yield self.parameter_name, value, self.label_of(value), False
        for value in self.unwanted:
            yield negated(self.parameter_name), value, self.label_of(value), True

    def edge_values(self) -> Iterator[tuple[str, str]]:
        """Further parameters that the panel asks for, and what the address has of them."""
        yield from ()

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.problem:
            return queryset.none()
        return queryset.filter(self.including & self.excluding) if self.is_active else queryset

    # What Django asks of filters.

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return list(self.names())

    def choices(self, changelist: Any) -> Iterator[Any]:
        """As lists that are not of records show it: one choice at a time."""
        yield {
            "selected": not self.is_active,
            "query_string": changelist.get_query_string(remove=[self.parameter_name]),
            "display": "All",
        }
        for value, label in self.lookup_choices:
            (asked,) = joined([value])
            yield {
                "selected": self.wanted == [value],
                "query_string": changelist.get_query_string({self.parameter_name: asked}),
                "display": label,
            }


class FieldCriterion(Criterion):
    """By the text in a column, exactly."""

    field: ClassVar[str] = ""

    def any_of(self, values: list[str]) -> Q:
        return Q(**{f"{self.field or self.parameter_name}__in": values})


class ChoiceCriterion(FieldCriterion):
    """By a column that holds one of a few known words."""

    kind = "choices"
    is_open: ClassVar[bool] = False  # whether other words than those offered may be asked for

    def check(self, values: Sequence[str]) -> None:
        super().check(values)
        known = {value for value, _ in self.lookup_choices}
        if not self.is_open and (strange := [value for value in values if value not in known]):
            offered = ", ".join(value for value, _ in self.lookup_choices)
            raise Unusable(f"No {self.title} is called {strange[0]!r}; there is {offered}.")


class ModelChoiceCriterion(ChoiceCriterion):
    """By a column with choices of its own."""

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        choices = self.model._meta.get_field(self.field or self.parameter_name).choices
        return [(str(value), str(label)) for value, label in choices if value != ""]


def by_choice(
    field: str, *, title: str = "", reach: Reach | None = None, ordered: Iterable[str] = ()
) -> type[ModelChoiceCriterion]:
    """A filter by a column with choices: `ordered` are those that an index lists newest first, one at a time."""
    led = frozenset(ordered)

    class Column(ModelChoiceCriterion):
        parameter_name = field

        def reach(self) -> Reach | None:
            if self.wanted and led.issuperset(self.wanted):
                return Reach.ORDERED if len(self.wanted) == 1 else Reach.SORTED
            return reach

    Column.title = title or field.replace("_", " ")
    return Column


def by_text(
    name: str, *, field: str = "", title: str = "", reach: Reach | None = None, hint: str = ""
) -> type[FieldCriterion]:
    """A filter by the exact text in a column."""

    class Column(FieldCriterion):
        parameter_name = name

        def reach(self) -> Reach | None:
            return reach if len(self.wanted) == 1 or reach != Reach.ORDERED else Reach.SORTED

    Column.title, Column.field, Column.hint = title or name.replace("_", " "), field or name, hint
    return Column


def by_key(name: str, *, field: str = "", title: str = "", reach: Reach = Reach.FEW) -> type[FieldCriterion]:
    """A filter by a column that holds UUIDs."""

    class Column(FieldCriterion):
        parameter_name = name

        def any_of(self, values: list[str]) -> Q:
            return Q(**{f"{self.field}__in": [uuid_of(value, self.name) for value in values]})

        def reach(self) -> Reach | None:
            return reach if len(self.wanted) == 1 else Reach.FEW

    Column.title, Column.field, Column.hint = title or name.replace("_", " "), field or name, "a UUID"
    return Column


def uuid_of(value: str, name: str) -> uuid.UUID:
    """The UUID a value is. Raises Unusable."""
    try:
        return uuid.UUID(value)
    except ValueError:
        raise Unusable(f"{name} takes UUIDs; {value[:40]!r} is none.") from None


TRACE = re.compile(r"[0-9a-f]{32}")


def trace_of(value: str) -> str:
    """The trace id a value is. Raises Unusable."""
    if not TRACE.fullmatch(value.lower()):
        raise Unusable(f"A trace id has 32 hex digits; {value[:40]!r} is none.")
    return value.lower()


class TraceCriterion(FieldCriterion):
    title = "trace"
    parameter_name = "trace"
    field = "trace_id"
    hint = "32 hex digits"

    def any_of(self, values: list[str]) -> Q:
        return Q(trace_id__in=[trace_of(value) for value in values])


class CreatedFilter(Criterion):
    """By the time a row was made: a window until now, or `from` and `to`."""

    title = "created"
    parameter_name = "created"
    kind = "time"
    is_bound = True
    windows: ClassVar[dict[str, tuple[str, timedelta]]] = {
        "hour": ("In the last hour", timedelta(hours=1)),
        "day": ("In the last 24 hours", timedelta(days=1)),
        "week": ("In the last 7 days", timedelta(days=7)),
    }
    edges = ("from", "to")

    def __init__(
        self, request: HttpRequest, params: dict[str, list[str]], model: Any, model_admin: ModelAdmin[Any]
    ) -> None:
        self.given = {name: given[-1].strip() for name in self.edges if (given := params.pop(name, []))}
        super().__init__(request, params, model, model_admin)

    @classmethod
    def pinned(cls, address: Address, now: datetime) -> Address:
        """With times in place of windows, which move on; what the filter can't take is left for it to refuse."""
        name, exact, unwanted = super().names()
        given = address.parameters
        try:
            inside, outside = (
                [cls.start_of(values, now)] if (values := parted(texts)) else []
                for texts in ((*given.get(name, ()), *given.get(exact, ())), given.get(unwanted, ()))
            )
            edges = {edge: [moment_in(text) for text in given.get(edge, ())[-1:]] for edge in cls.edges}
        except Unusable:
            return address
        if not inside and not outside:
            return address
        address = address.without(*cls.names())
        address = address.having("from", map(_text_of, sorted([*inside, *edges["from"]])[-1:]))
        return address.having("to", map(_text_of, sorted([*outside, *edges["to"]])[:1]))

    @classmethod
    def names(cls) -> tuple[str, ...]:
        return (*super().names(), *cls.edges)

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [(word, label) for word, (label, _) in self.windows.items()]

    @property
    def is_active(self) -> bool:
        return super().is_active or any(self.given.values())

    def parts(self) -> Iterator[tuple[str, str, str, bool]]:
        yield from super().parts()
        yield from ((name, value, f"{name} {value}", False) for name, value in self.given.items() if value)

    def edge_values(self) -> Iterator[tuple[str, str]]:
        yield from ((name, self.given.get(name, "")) for name in self.edges)

    def take(self) -> None:
        super().take()
        bounds = {name: moment_in(value) for name, value in self.given.items() if value}
        if since := bounds.get("from"):
            self.including &= self.since(since)
        if until := bounds.get("to"):
            self.including &= ~self.since(until)

    def any_of(self, values: list[str]) -> Q:
        return self.since(self.start_of(values, timezone.now()))

    @classmethod
    def start_of(cls, values: list[str], now: datetime) -> datetime:
        """When the longest of these windows begins. Raises Unusable."""
        if strange := [value for value in values if value not in cls.windows]:
            raise Unusable(f"Created takes hour, day or week, or from and to; not {strange[0][:40]!r}.")
        return now - max(cls.windows[value][1] for value in values)

    def since(self, moment: datetime) -> Q:
        """The rows made from then on: by the primary key, which is in the order of time."""
        if has_uuid_key(self.model):
            return Q(pk__gte=first_key_of(self.model, moment))
        return Q(pk__gte=first_key_of(self.model, moment - CLOCKS_APART), created_at__gte=moment)


def moment_in(value: str) -> datetime:
    """A time as people write it, in UTC unless it says else: 2026-11-20, 2026-11-20T13:00. Raises Unusable."""
    try:
        at = parse_datetime(value) or _midnight_of(value)
        at = at and (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        at = None
    if not at or not 1970 <= at.year < 9_000:
        raise Unusable(f"{value[:40]!r} is no time; write it like 2026-11-20 or 2026-11-20T13:00.")
    return at


def _text_of(moment: datetime) -> str:
    """A time as moment_in() reads it and people do too."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat()


def _midnight_of(value: str) -> datetime | None:
    day = parse_date(value)
    return datetime(day.year, day.month, day.day, tzinfo=UTC) if day else None
