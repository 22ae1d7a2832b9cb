"""What attestations tell of a timeline: each of themselves, and the attempts that only they remember."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, F, Q, QuerySet, Window
from django.db.models.fields.json import KT
from django.db.models.functions import Left

from attestations.models import Attestation
from jobs.forensics.moments import (
    SOURCE_ROWS_MAX,
    TEXT_MAX,
    Moment,
    attempt_ended,
    attempt_started,
    error_of,
    left_out,
    run_ended,
)
from jobs.models import Job, Workflow

LATEST_MS = 253_402_300_799_000  # the last second of the year 9999
PARTS = ("completed_at", "failed_at")
# The moments that ask an account that looks at them in the monitor for the right to see attestations.
TYPES = ("attempt_attested", "run_attested")


def tell_of_attestations(workflow: Workflow) -> Iterator[Moment]:
    """Every attestation, and when what it attests began and ended; or that they have expired."""
    rows = _rows_of(Attestation.objects.filter(workflow=workflow))
    yield from _of_rows(rows)
    yield from _expired(workflow, rows)


def tell_of_attestations_of_job(job: Job) -> Iterator[Moment]:
    """The same of a job outside workflows, as far as they are kept."""
    yield from _of_rows(_rows_of(Attestation.objects.filter(job=job)))


def _of_rows(rows: list[dict[str, Any]]) -> Iterator[Moment]:
    if rows and rows[0]["in_all"] > len(rows):
        of_attempts = rows[0]["of_attempts"] - sum(row["job_id"] is not None for row in rows)
        yield left_out("attestations", rows[0]["in_all"] - len(rows), attempts=of_attempts)
    for row in reversed(rows):
        yield from _of_attestation(row)


def _rows_of(attestations: QuerySet[Attestation]) -> list[dict[str, Any]]:
    """The latest first. Of the documents, which may be large and of any shape, only what is told of is read."""
    asked = attestations.annotate(
        in_all=Window(Count("*")),
        of_attempts=Window(Count("job_id")),
        code=F("attestation_data__error__code"),
        message=F("attestation_data__error__message"),
        words=Left(KT("attestation_data__error"), TEXT_MAX),  # old ones may hold a text instead
        holds_request=Q(attestation_data__has_key="miniapp_req"),
        holds_payload=Q(attestation_data__has_key="emprops_req_payload"),
        **{part: F(f"attestation_data__{part}") for part in PARTS},
    )
    columns = (
        "attestation_key",
        "attestation_type",
        "job_id",
        "worker_id",
        "status",
        "retry_attempt",
        "digest",
        "started_at",
        "created_at",
        "expires_at",
    )
    parts = ("in_all", "of_attempts", "code", "message", "words", "holds_request", "holds_payload", *PARTS)
    return list(asked.order_by("-id").values(*columns, *parts)[:SOURCE_ROWS_MAX])


def _of_attestation(row: dict[str, Any]) -> Iterator[Moment]:
    attempt = row["retry_attempt"] + 1
    ended_at = ended_at_of(row) or row["created_at"]
    has_parts = row["code"] or row["message"]
    error = error_of({"code": row["code"], "message": row["message"]} if has_parts else row["words"])
    if row["job_id"] is None:
        yield run_ended(attempt, ended_at, row["status"], error)
    else:
        if row["started_at"]:
            yield attempt_started(row["job_id"], attempt, row["started_at"], row["worker_id"])
        yield attempt_ended(
            row["job_id"],
            attempt,
            ended_at,
            began_at=row["started_at"],
            outcome=row["status"],
            worker=row["worker_id"],
            error=error,
        )
    yield _attested(row, attempt)


def _attested(row: dict[str, Any], attempt: int) -> Moment:
    is_of_job = row["job_id"] is not None
    return Moment(
        at=row["created_at"],
        type="attempt_attested" if is_of_job else "run_attested",
        title=f"{'Attempt' if is_of_job else 'Run'} {attempt} was attested as {row['status']}.",
        job_id=row["job_id"],
        attempt=attempt,
        data={
            "attestation_key": row["attestation_key"],
            "attestation_type": row["attestation_type"],
            "status": row["status"],
            "retry_attempt": row["retry_attempt"],
            "digest": row["digest"],
            "worker_id": row["worker_id"],
            "expires_at": row["expires_at"],
            # Old attestations hold neither.
            "holds_request": row["holds_request"],
            **({"holds_payload": row["holds_payload"]} if is_of_job else {}),
        },
    )


def ended_at_of(document: Mapping[str, Any]) -> datetime | None:
    """When what an attestation speaks of had ended, by its own word."""
    return _time_of(document.get("completed_at")) or _time_of(document.get("failed_at"))


def _time_of(milliseconds: Any) -> datetime | None:
    """A time inside an attestation, which an old one may spell in any way."""
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float):
        return None
    if not 0 < milliseconds <= LATEST_MS:
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


def _expired(workflow: Workflow, rows: list[dict[str, Any]]) -> Iterator[Moment]:
    """Where the attestation of the last run is due to be gone, and is: others may have gone with it."""
    if workflow.ended_at is None:
        return
    of_this_run = (
        row for row in rows if row["job_id"] is None and row["retry_attempt"] + 1 == workflow.attempt
    )
    expired_at = workflow.ended_at + timedelta(days=settings.ATTESTATION_RETENTION_DAYS)
    if next(of_this_run, None) is None and expired_at <= datetime.now(UTC):
        yield Moment(
            at=expired_at,
            type="attestations_expired",
            title="Its attestations have expired; what only they knew of earlier attempts is gone with them.",
            data={"retention_days": settings.ATTESTATION_RETENTION_DAYS},
        )
