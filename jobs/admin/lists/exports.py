"""Gives a list away as CSV or JSON: row by row in small lots, so that neither memory nor a transaction holds all of it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import BinaryField, Field, JSONField, QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone

from jobs.admin.access.columns import is_secret
from jobs.admin.access.scoping import restriction_of
from jobs.admin.lists import scans
from jobs.admin.lists.changelist import RecordList
from jobs.admin.lists.scans import EXPORT_MAX
from jobs.hygiene.masking import MASK, is_masked, mask
from jobs.services.audit import Actor, record_audit

LOT = 500
TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
# What a spreadsheet takes for a formula, wherever it begins a cell.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True)
class Export:
    """What is given away: which rows of a list, and which of their columns."""

    changelist: RecordList
    columns: list[str]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Up to EXPORT_MAX rows, newest first; JSON is masked."""
        given = 0
        for lot in _lots(self.changelist, self.columns):
            for row in lot:
                if given == EXPORT_MAX:
                    return
                given += 1
                yield {title_of(name): _shown(name, value) for name, value in row.items()}


def export_of(request: HttpRequest, changelist: RecordList, kind: str) -> StreamingHttpResponse:
    """Answer the whole of a filtered list as a file, and write down who has taken it."""
    has_documents = request.GET.get("with") == "payload"
    export = Export(changelist, columns_of(changelist, has_documents=has_documents))
    count = _count(changelist)
    record_audit(
        Actor.of_request(request),
        "export",
        model=changelist.opts.label,
        object_text=f"{changelist.opts.verbose_name_plural} as {kind.upper()}",
        after={"filters": changelist.address.query, "format": kind, "with_payload": has_documents},
        outcome=f"{min(count, EXPORT_MAX):,}{'+' if count > EXPORT_MAX else ''} rows",
        tenant_id=restriction_of(request.user),
    )
    write = _csv if kind == "csv" else _json
    name = f"{changelist.opts.model_name}-{timezone.now():%Y%m%d-%H%M%S}.{kind}"
    return StreamingHttpResponse(
        write(export, is_cut=count > EXPORT_MAX),
        content_type=TYPES[kind],
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
            "X-Export-Cut": "true" if count > EXPORT_MAX else "false",
        },
    )


def columns_of(changelist: RecordList, *, has_documents: bool) -> list[str]:
    """The columns of the table itself that may leave the house; JSON among them where it is asked for."""
    fields = [field for field in changelist.opts.concrete_fields if _may_leave(field)]
    fields.sort(key=lambda field: not field.primary_key)
    kept = [field for field in fields if has_documents or not isinstance(field, JSONField)]
    light = [
        field
        for field in kept
        if isinstance(field, JSONField) or field.name not in changelist.model_admin.list_deferred
    ]
    columns = ["tenant__slug" if field.name == "tenant" else field.attname for field in light]
    return columns + list(changelist.model_admin.export_paths)


def title_of(column: str) -> str:
    """What a column is called in the file."""
    return "tenant" if column == "tenant__slug" else column.replace("__", "_")


def _may_leave(field: Field[Any, Any]) -> bool:
    return not isinstance(field, BinaryField) and not is_secret(field)


def _count(changelist: RecordList) -> int:
    """How many rows there are, EXPORT_MAX and one at most; of a list that is looked through, among the newest."""
    rows = changelist.queryset
    if changelist.window and (edge := _edge(changelist, changelist.candidates)) is not None:
        rows = rows.filter(pk__gte=edge)
    count: int = rows.order_by().values("pk")[: EXPORT_MAX + 1].count()
    return count


def _lots(changelist: RecordList, columns: list[str]) -> Iterator[list[dict[str, Any]]]:
    """The rows of a list, newest first, LOT by LOT, each by a statement of its own that looks no further than a page."""
    rows, candidates = changelist.queryset, changelist.candidates
    order = scans.newest_first(changelist.model, is_few=changelist.is_few)
    while True:
        edge = _edge(changelist, candidates) if changelist.window else None
        within = rows if edge is None else rows.filter(pk__gte=edge)
        while lot := list(within.order_by(order).values("pk", *columns)[:LOT]):
            last = lot[-1]["pk"]
            yield [
                {name: value for name, value in row.items() if name != "pk" or "pk" in columns} for row in lot
            ]
            within = within.filter(pk__lt=last)
        if edge is None:
            return
        rows, candidates = rows.filter(pk__lt=edge), candidates.filter(pk__lt=edge)


def _edge(changelist: RecordList, candidates: QuerySet[Any]) -> Any:
    order = scans.newest_first(changelist.model, is_few=changelist.is_few)
    return scans.edge_of(candidates, order, changelist.window)


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, str | None) or value == "":
        is_hidden = bool(value) and is_masked(name, settings.MASKED_FIELDS)
        return MASK if is_hidden else mask(value, settings.MASKED_FIELDS)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict | list):
        return mask(value, settings.MASKED_FIELDS)
    return value


# CSV.


class _Echo:
    """What csv.writer writes to: hands the line back."""

    def write(self, line: str) -> str:
        return line


def _csv(export: Export, *, is_cut: bool) -> Iterator[bytes]:
    writer = csv.writer(_Echo())
    names = [title_of(column) for column in export.columns]
    yield "\ufeff".encode() + writer.writerow(names).encode()
    for row in export.rows():
        yield writer.writerow([_cell(row[name]) for name in names]).encode("utf-8", "replace")
    if is_cut:
        yield writer.writerow([f"Cut after {EXPORT_MAX:,} rows: there are more."]).encode()


def _cell(value: Any) -> Any:
    """A value as a cell that no spreadsheet runs."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


# JSON.


def _json(export: Export, *, is_cut: bool) -> Iterator[bytes]:
    yield b"["
    yield from _joined(
        json.dumps(row, ensure_ascii=False, default=str).encode("utf-8", "replace") for row in export.rows()
    )
    if is_cut:
        yield b",\n" + json.dumps({"cut": f"There are more than {EXPORT_MAX:,} rows."}).encode()
    yield b"]\n"


def _joined(items: Iterable[bytes]) -> Iterator[bytes]:
    for number, item in enumerate(items):
        yield (b",\n" if number else b"\n") + item
