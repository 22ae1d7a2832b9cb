"""Runs the statements of `sql/` on Django's connection, with parameters bound by the server.

Django's own cursor interpolates parameters into the text on the client, which for a batch costs more than the
statement; psycopg's plain cursor sends them apart and keeps the plan. A batch travels as one JSON document that
the statement opens with jsonb_to_recordset: escaping arrays value by value costs several times as much.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from django.db import InterfaceError, InternalError, OperationalError, connection
from psycopg.rows import namedtuple_row
from psycopg.types.datetime import TimestamptzLoader
from psycopg.types.json import Jsonb, JsonbLoader, set_json_dumps, set_json_loads

SQL = Path(__file__).parent / "sql"

# What is raised while the database is away, stopping, read-only after a failover, or asks for another try: nothing
# is wrong with what was to be stored.
AWAY = (OperationalError, InterfaceError, InternalError)


def _plain(value: Any) -> str:
    """What a row may hold besides JSON's own types."""
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no JSON")


# Made once: json.dumps() and json.loads() make a coder, and guess an encoding, at every call.
_decode = json.JSONDecoder().decode
set_json_dumps(json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_plain).encode)
set_json_loads(lambda data: _decode(data if isinstance(data, str) else str(data, "utf-8")))


@functools.cache
def statement(folder: Path, name: str) -> bytes:
    """Read `FOLDER/NAME.sql`."""
    return (folder / f"{name}.sql").read_bytes()


def run(name: str, params: Mapping[str, Any], *, folder: Path = SQL) -> list[Any]:
    """Run `FOLDER/NAME.sql` in the transaction at hand and return its rows as named tuples.

    Raises django.db.Error subclasses, as the ORM does.
    """
    connection.ensure_connection()
    raw: psycopg.Connection[Any] = connection.connection
    with connection.wrap_database_errors, psycopg.Cursor(raw, row_factory=namedtuple_row) as cursor:
        # Django's connections leave jsonb as text for JSONField to decode, and read times in Python.
        cursor.adapters.register_loader("jsonb", JsonbLoader)
        cursor.adapters.register_loader("timestamptz", TimestamptzLoader)
        cursor.execute(statement(folder, name), params)
        return cursor.fetchall() if cursor.description else []


def lock_number(text: str) -> int:
    """The number of the advisory lock that a text stands for."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], signed=True)


def batch(rows: Sequence[Mapping[str, Any]]) -> Jsonb:
    """Rows for jsonb_to_recordset: JSON values, UUIDs and datetimes; None is SQL NULL."""
    return Jsonb(rows)
