"""Runs the statements of `sql/` on Django's connection, with arrays bound by the server.

Django's own cursor interpolates parameters into the text on the client, which for arrays of documents costs
more than the statement; psycopg's plain cursor sends them apart and keeps the plan.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
from django.db import connection
from psycopg.rows import namedtuple_row
from psycopg.types.json import Jsonb, JsonbLoader, set_json_dumps

SQL = Path(__file__).parent / "sql"

set_json_dumps(functools.partial(json.dumps, ensure_ascii=False, allow_nan=False))


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
        # Django's connections leave jsonb as text for JSONField to decode.
        cursor.adapters.register_loader("jsonb", JsonbLoader)
        cursor.execute(statement(folder, name), params)
        return cursor.fetchall() if cursor.description else []


def jsonb(value: Any) -> Jsonb | None:
    """Wrap a value for a jsonb parameter; None is SQL NULL."""
    return None if value is None else Jsonb(value)
