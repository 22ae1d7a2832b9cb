"""A database of the benchmarks' own, on the server that is configured; nobody's data is touched."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import environ
import psycopg
from cryptography.fernet import Fernet
from psycopg import sql

from config.postgres import database_url

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

NAME = "bench_affidavit"
BESIDE = "bench_affidavit_beside"
ROOT = Path(__file__).resolve().parent.parent


def use_own_database() -> str:
    """Point this process and its children at the benchmarks' database; return the address of the server.

    Comes before Django is set up, so it reads what config/settings.py would.
    """
    env = environ.Env()
    environ.Env.read_env(ROOT / ".env")
    data_dir = Path(env.str("AFFIDAVIT_DATA_DIR", default=str(ROOT / "var"))).absolute()
    server = env.str("DATABASE_URL", default="") or database_url(data_dir)
    os.environ["DATABASE_URL"] = os.environ["DATABASE_DIRECT_URL"] = (
        urlsplit(server)._replace(path=f"/{NAME}").geturl()
    )
    os.environ["SECRET_KEY"] = secrets.token_urlsafe(50)
    os.environ["ENCRYPTION_KEYS"] = Fernet.generate_key().decode()
    os.environ["LOG_LEVEL"] = "INFO"  # as in production
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    return server


@contextmanager
def fresh_database(server: str, name: str = NAME) -> Iterator[None]:
    """Create and migrate the database; it is dropped afterwards. Django is set up, and connects to it."""
    from django.core.management import call_command
    from django.db import connections

    _drop_database(server, name)
    _execute(server, name, "CREATE DATABASE {}")
    try:
        call_command("migrate", interactive=False, verbosity=0)
        yield
    finally:
        connections.close_all()
        _drop_database(server, name)


@contextmanager
def database_beside() -> Iterator[None]:
    """A second database with tables of its own: Django's connection leads there until the block ends."""
    from django.db import connections

    beside = connections["default"].copy()
    beside.settings_dict["NAME"] = BESIDE
    with using(beside), fresh_database(os.environ["DATABASE_URL"], BESIDE):
        yield


@contextmanager
def using(other: BaseDatabaseWrapper) -> Iterator[None]:
    """Let `other` be Django's connection until the block ends."""
    from django.db import connections

    usual = connections["default"]
    connections["default"] = other
    try:
        yield
    finally:
        connections["default"] = usual


def _drop_database(server: str, name: str) -> None:
    # Not WITH (FORCE): that would want to end autovacuum too, which only a superuser may; the plain form waits for it.
    _execute(
        server,
        name,
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND usename = current_user",
        "DROP DATABASE IF EXISTS {}",
    )


def _execute(server: str, name: str, *statements: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        for statement in statements:
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


def query(statement: str, *params: Any) -> tuple[Any, ...]:
    """Run one statement on Django's connection and return its first row."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        row: tuple[Any, ...] = cursor.fetchone() if cursor.description else ()
        return row


def empty_tables() -> None:
    """Forget all work, so that every round meets tables of the same shape; tenants stay."""
    query(
        "TRUNCATE jobs_job, jobs_workflow, jobs_event, jobs_worker, attestations_attestation, webhooks_endpoint, "
        "webhooks_message, webhooks_delivery, webhooks_attempt, webhooks_sender, webhooks_receipt, jobs_evaluationrun, "
        "jobs_problemalert, jobs_outputcheck, attestations_submission, attestations_chaintransaction CASCADE"
    )


def settle_tables() -> None:
    """Bring the planner's statistics up to date, rather than when autovacuum happens to come by."""
    query("VACUUM ANALYZE jobs_job")
    query("VACUUM ANALYZE attestations_attestation")
