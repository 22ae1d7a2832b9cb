"""Writes many rows of one table by COPY, in the transaction at hand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from django.db import connection
from psycopg import sql

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def copy_rows(table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Add rows of text, numbers, UUIDs, times and bytes; None is SQL NULL, JSON comes as `json_text()`."""
    connection.ensure_connection()
    raw: psycopg.Connection[Any] = connection.connection
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with connection.wrap_database_errors, psycopg.Cursor(raw) as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def json_text(value: Any) -> str:
    """A value for a jsonb column that may not be NULL."""
    return _encode(value)


def json_or_null(value: Any) -> str | None:
    """A value for a jsonb column, None as SQL NULL."""
    return None if value is None else _encode(value)
