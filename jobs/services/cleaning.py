"""Takes base64 out of rows from before it was kept out of them, a batch at a time.

A batch is a transaction of its own: its rows, and how far the table has come. So a run that is cut off loses nothing,
and the next one goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import OperationalError, connection, transaction
from django.db.models import F, Field, TextField
from django.db.models.functions import Now
from psycopg import sql

from jobs.hygiene.cleaning import Store, clean_texts
from jobs.hygiene.sanitizer import SHORTEST, sanitize_base64
from jobs.models import Cleaning, Event, Job, Workflow

BATCH = 100
LOCK_TIMEOUT = "2s"  # for rows that somebody was at when their batch came by

STORES = [
    Store(
        model=Job,
        columns={"result": sanitize_base64, "error": clean_texts},
        condition="status IN ('completed', 'failed', 'cancelled')",  # nobody else writes those
    ),
    Store(
        model=Workflow,
        columns={"retry_execution_data": sanitize_base64, "error": clean_texts, "outputs": clean_texts},
        condition="status IN ('completed', 'failed', 'cancelled')",
    ),
    Store(model=Event, columns={"data": clean_texts}),
]


@dataclass(kw_only=True)
class Report:
    """What a run has done to one table. Bytes are those of the documents as JSON."""

    table: str
    rows: int = 0
    changed: int = 0
    refused: int = 0  # that could not be written, being locked or not what they were
    bytes_before: int = 0
    bytes_after: int = 0
    disk_before: int = 0
    disk_after: int = 0

    @property
    def reduction(self) -> float:
        """The share of the bytes that is gone."""
        return 1 - self.bytes_after / self.bytes_before if self.bytes_before else 0.0

    def add(self, other: Report) -> None:
        for name in ("rows", "changed", "refused", "bytes_before", "bytes_after"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


# Told after each batch: what was done so far, and how many rows there were to read.
Progress = Callable[[Report, int], None]


def restart_cleaning(stores: Iterable[Store]) -> None:
    """Forget how far the tables have come, so that the next run begins with their first rows."""
    Cleaning.objects.filter(table__in=[store.table for store in stores]).delete()


def clean_store(
    store: Store,
    *,
    batch: int = BATCH,
    is_dry: bool = False,
    is_restarted: bool = False,
    progress: Progress = lambda *_: None,
) -> Report:
    """Clean the rows of a table that no run has come to yet; a dry run only says what would become of them."""
    last_key = "" if is_restarted and is_dry else _last_key(store)
    report = Report(table=store.table, disk_before=disk_bytes(store))
    expected = _count_rows(store, last_key)
    busy: list[Any] = []
    batches = _try_out(store, batch, last_key) if is_dry else _clean_all(store, batch, busy)
    for part in batches:
        report.add(part)
        progress(report, expected)
    for key in busy:
        report.add(_clean_busy(store, key))
    report.disk_after = disk_bytes(store)
    return report


def has_changed(store: Store) -> bool:
    """Whether some run since the last restart has changed rows of a table."""
    return Cleaning.objects.filter(table=store.table, row_count__gt=0).exists()


def vacuum_store(store: Store) -> int:
    """Give a table's free space back to the system; its size afterwards. Locks the table meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute(_statement("VACUUM (FULL, ANALYZE) {table}", store))
    return disk_bytes(store)


def disk_bytes(store: Store) -> int:
    """A table's size with its indexes and what is stored beside it."""
    return int(_query("SELECT pg_total_relation_size(%s::regclass)", [store.table])[0][0])


def _last_key(store: Store) -> str:
    return Cleaning.objects.filter(table=store.table).values_list("last_key", flat=True).first() or ""


def _count_rows(store: Store, last_key: str) -> int:
    after, params = _after(store, last_key)
    statement = _statement("SELECT count(*) FROM {table} WHERE {after} AND {condition}", store, after=after)
    return int(_query(statement, params)[0][0])


def _try_out(store: Store, batch: int, last_key: str) -> Iterator[Report]:
    while keys := _keys_after(store, last_key, batch):
        yield _clean_batch(store, keys, is_dry=True)
        last_key = str(keys[-1])


def _clean_all(store: Store, batch: int, busy: list[Any]) -> Iterator[Report]:
    Cleaning.objects.get_or_create(table=store.table)
    while part := _clean_next(store, batch, busy):
        yield part


def _clean_next(store: Store, batch: int, busy: list[Any]) -> Report | None:
    """Clean the rows after the last one that is known to be done, and note how far that has come; None at the end.

    Those that somebody is at are put with the busy ones.
    """
    with transaction.atomic():
        # Two runs at once take turns.
        cleaning = Cleaning.objects.select_for_update().get(table=store.table)
        noted = Cleaning.objects.filter(pk=cleaning.pk)
        keys = _keys_after(store, cleaning.last_key, batch)
        if not keys:
            noted.update(finished_at=Now())
            return None
        part = _clean_batch(store, keys, busy=busy)
        noted.update(last_key=str(keys[-1]), finished_at=None, **_sums(part))
    return part


def _sums(part: Report) -> dict[str, Any]:
    return {
        "row_count": F("row_count") + part.changed,
        "bytes_before": F("bytes_before") + part.bytes_before,
        "bytes_after": F("bytes_after") + part.bytes_after,
    }


def _clean_busy(store: Store, key: Any) -> Report:
    """Clean a row that was locked before, if it is free soon."""
    try:
        with transaction.atomic():
            _query("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
            part = _clean_batch(store, [key], locking="FOR UPDATE")
            Cleaning.objects.filter(table=store.table).update(**_sums(part))
            return part
    except OperationalError:  # what can't be had in time
        return Report(table=store.table, refused=1)


def _keys_after(store: Store, last_key: str, batch: int) -> list[Any]:
    after, params = _after(store, last_key)
    text = "SELECT {key} FROM {table} WHERE {after} AND {condition} ORDER BY {key} LIMIT %s"
    return [key for (key,) in _query(_statement(text, store, after=after), [*params, batch])]


def _after(store: Store, last_key: str) -> tuple[sql.Composed, list[Any]]:
    return (_statement("{key} > %s", store), [last_key]) if last_key else (_statement("true", store), [])


def _clean_batch(
    store: Store,
    keys: list[Any],
    *,
    busy: list[Any] | None = None,
    is_dry: bool = False,
    locking: str = "FOR UPDATE SKIP LOCKED",
) -> Report:
    part = Report(table=store.table)
    rows = _read(store, keys, "" if is_dry else locking)
    for key, *columns in rows:
        _clean_row(store, key, columns, part, is_dry=is_dry)
    if busy is not None and len(rows) < len(keys):
        busy += sorted(set(keys) - {row[0] for row in rows})
    return part


def _read(store: Store, keys: list[Any], locking: str) -> list[tuple[Any, ...]]:
    """For each row its key, and for each column its bytes and, where base64 might be in it, its text."""
    told = "octet_length({name}), CASE WHEN octet_length({name}) >= {shortest} THEN {name} END"
    texts, shown = [], []
    for name in store.columns:
        column = sql.Identifier(_column(store, name))
        texts.append(sql.SQL("{name}::text AS {name}").format(name=column))
        shown.append(sql.SQL(told).format(name=column, shortest=sql.Literal(SHORTEST)))
    text = """
        WITH page AS MATERIALIZED (
            SELECT {key} AS key, {texts} FROM {table} WHERE {key} = ANY(%s) AND {condition} ORDER BY {key} {locking}
        )
        SELECT key, {shown} FROM page
    """
    comma = sql.SQL(", ")
    parts = {"texts": comma.join(texts), "shown": comma.join(shown), "locking": sql.SQL(locking)}
    return _query(_statement(text, store, **parts), [keys])


def _clean_row(store: Store, key: Any, columns: Sequence[Any], part: Report, *, is_dry: bool) -> None:
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    saved = 0
    for (name, clean), size, text in zip(store.columns.items(), columns[::2], columns[1::2], strict=True):
        part.bytes_before += size or 0
        if text is None:
            continue
        is_text = isinstance(store.model._meta.get_field(name), TextField)
        value = text if is_text else json.loads(text)
        cleaned = clean(value)
        if cleaned is not value:
            before[name], after[name] = value, cleaned
            saved += size - len((cleaned if is_text else json.dumps(cleaned, ensure_ascii=False)).encode())
    part.rows += 1
    is_changed = bool(after) and (is_dry or store.write_row(key, before, after))
    part.changed += is_changed
    part.refused += bool(after) and not is_changed
    part.bytes_after += sum(size or 0 for size in columns[::2]) - (saved if is_changed else 0)


def _column(store: Store, name: str) -> str:
    field = store.model._meta.get_field(name)
    assert isinstance(field, Field)
    return str(field.column)


def _statement(text: str, store: Store, **parts: sql.Composable) -> sql.Composed:
    return sql.SQL(text).format(
        table=sql.Identifier(store.table),
        key=sql.Identifier(str(store.model._meta.pk.column)),
        condition=sql.SQL(store.condition),
        **parts,
    )


def _query(statement: Any, params: Sequence[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows
