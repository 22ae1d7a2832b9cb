"""What a verb goes over: the records that were selected in a list, or all that its filters match."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import SEARCH_VAR
from django.contrib.messages.storage.base import BaseStorage
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict
from django.utils import timezone

from jobs.admin.lists import scans
from jobs.admin.lists.addresses import Address
from jobs.admin.lists.criteria import CreatedFilter, Criterion, Unusable, moment_in
from jobs.admin.records import COUNTED_ROWS, RecordAdmin
from jobs.models import BulkOperation

SAMPLE = 20  # of the records, shown before it is done


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Records of a list: those of `keys`, or all that it shows under `query` up to `newest`, also later.

    `count` is how many, counted up to COUNTED_ROWS; `sample` are the newest of them.
    """

    keys: list[str] | None
    query: str
    newest: str
    count: int
    is_capped: bool
    sample: list[Any]

    @property
    def is_all(self) -> bool:
        return self.keys is None


def selection_of(model_admin: RecordAdmin, request: HttpRequest, rows: QuerySet[Any]) -> Selection:
    """What an action was asked for; `rows` are those of the selected that the list shows."""
    if request.POST.get("select_across") == "1":
        return _all_of(model_admin, request)
    texts = request.POST.getlist(ACTION_CHECKBOX_NAME)
    keys = sorted({as_key(model_admin, text) for text in texts}, reverse=True)
    return Selection(
        keys=[str(key) for key in keys],
        query="",
        newest="",
        count=len(keys),
        is_capped=False,
        sample=list(rows.order_by("-pk")[:SAMPLE]),
    )


def _all_of(model_admin: RecordAdmin, request: HttpRequest) -> Selection:
    """All that the list shows, on this page or another; counted no further than the list itself would look."""
    query = pinned(model_admin, filters_of(request.GET))
    listed = Listed.of(model_admin, request_of(request.user, query))
    # What has come since the question was asked is nobody's answer to it.
    asked = request.POST.get("newest")
    keys, is_cut = listed.counted(up_to=as_key(model_admin, asked) if asked else None)
    return Selection(
        keys=None,
        query=query,
        newest=str(keys[0]) if keys else "",
        count=min(len(keys), COUNTED_ROWS),
        is_capped=is_cut or len(keys) > COUNTED_ROWS,
        sample=listed.rows_of(keys[:SAMPLE]),
    )


@dataclass(frozen=True, kw_only=True)
class Listed:
    """All that a list shows under its filters, whatever its pages."""

    changelist: Any
    rows: QuerySet[Any]

    @classmethod
    def of(cls, model_admin: RecordAdmin, request: HttpRequest) -> Listed:
        """What a list shows to the account of the request.

        Raises ValidationError for filters that it can't take: what it would show without them nobody has meant.
        """
        changelist: Any = model_admin.get_changelist_instance(request)
        if changelist.problems:
            raise ValidationError(changelist.problems)
        return cls(changelist=changelist, rows=changelist.get_queryset(request).order_by())

    @property
    def order(self) -> Any:
        """Newest first, in the form that lets PostgreSQL use the index of the filters."""
        return scans.newest_first(self.changelist.model, is_few=self.changelist.is_few)

    def between(self, up_to: Any, below: Any) -> QuerySet[Any]:
        rows = self.rows if up_to is None else self.rows.filter(pk__lte=up_to)
        return rows if below is None else rows.filter(pk__lt=below)

    def counted(self, *, up_to: Any) -> tuple[list[Any], bool]:
        """The newest keys, one more than are counted at most; and whether there was no looking further back."""
        rows, edge = self.between(up_to, None), None
        if self.changelist.window:
            edge = scans.edge_of(self.changelist.candidates, self.order, self.changelist.window)
            rows = rows if edge is None else rows.filter(pk__gte=edge)
        keys = rows.order_by(self.order).values_list("pk", flat=True)[: COUNTED_ROWS + 1]
        return list(keys), edge is not None

    def keys(self, *, up_to: Any, below: Any, count: int) -> list[Any]:
        """So many keys from a place on, newest first."""
        rows = self.between(up_to, below).order_by(self.order)
        return list(rows.values_list("pk", flat=True)[:count])

    def rows_of(self, keys: list[Any]) -> list[Any]:
        found = self.rows.filter(pk__in=keys)
        return sorted(found, key=lambda row: keys.index(row.pk))


def filters_of(query: QueryDict) -> str:
    """What an address filters a list by, and nothing of where in it somebody is."""
    return Address.of(query.lists()).query


def pinned(model_admin: RecordAdmin, query: str) -> str:
    """The filters with times in place of windows until now, which the operation would find moved on."""
    address = Address.of(QueryDict(query).lists())
    now = timezone.now().replace(microsecond=0)
    for each in model_admin.list_filter:
        if isinstance(each, type) and issubclass(each, Criterion):
            address = each.pinned(address, now)
    return address.query


def in_words(query: str) -> list[str]:
    """Each filter of a list as a phrase: `status is failed`, `kind is none of a, b`."""
    return [
        _phrase(name, value)
        for name, values in QueryDict(query).lists()
        for value in map(str, values)
        if value
    ]


def _phrase(name: str, value: str) -> str:
    if name == SEARCH_VAR:
        return f"found by “{value}”"
    if name in CreatedFilter.edges:
        return f"created {'since' if name == 'from' else 'before'} {_when(value)}"
    field, _, how = name.partition("__")
    values = value.replace(",", ", ")
    several = "," in value
    if how == "not":
        verb = "is none of" if several else "is not"
    else:
        verb = "is one of" if several else "is"
    return f"{field.replace('_', ' ')} {verb} {values}"


def _when(text: str) -> str:
    try:
        return f"{moment_in(text):%Y-%m-%d %H:%M:%S} UTC"
    except Unusable:
        return text


def as_key(model_admin: RecordAdmin, text: str) -> Any:
    """A primary key from its text; raises ValidationError, which is answered as a bad request."""
    key = model_admin.opts.pk.to_python(text)
    if key is None:
        raise ValidationError("A key is missing.")
    return key


def request_of(user: Any, query: str) -> HttpRequest:
    """A request that looks at a list as this account does."""
    request = HttpRequest()
    request.method = "GET"
    request.GET = QueryDict(query)
    request.user = user
    # What a filter has to say is heard by nobody here.
    request._messages = BaseStorage(request)  # type: ignore[attr-defined]
    return request


def keys_in_turn(
    model_admin: RecordAdmin, request: HttpRequest, operation: BulkOperation, count: int
) -> list[Any]:
    """The next `count` keys of an operation, newest first, from where it is."""
    cursor = as_key(model_admin, operation.cursor) if operation.cursor else None
    if operation.keys is not None:
        keys = (as_key(model_admin, text) for text in operation.keys)
        return sorted((key for key in keys if cursor is None or key < cursor), reverse=True)[:count]
    newest = as_key(model_admin, operation.newest)
    return Listed.of(model_admin, request).keys(up_to=newest, below=cursor, count=count)
