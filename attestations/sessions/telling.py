"""What a proof session tells: its stream, event by event, and its state as one document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from attestations.models import ProofSession
from attestations.sessions.phases import ATTEST, GENERATE, VERIFY
from config.streaming import Cursor, Frame, News
from jobs.models import Event, Job, Workflow
from jobs.statements import batch, run
from jobs.streams.feeds import PAGE_ROWS, is_full, page_bytes

SQL = Path(__file__).parent.parent / "sql"
Type = Event.Type
TYPES = [Type.STATUS, Type.LOG, Type.TRANSACTION, Type.COMPLETE, Type.ERROR]
FIELDS: dict[str, tuple[str, ...]] = {
    Type.STATUS: ("phase", "progress", "step"),
    Type.TRANSACTION: ("txHash", "explorerUrl"),
    Type.ERROR: ("error", "phase", "code"),
}
LOGS_MAX = 1_000  # lines that a session's document holds, the last ones
STATUSES = {Workflow.Status.RUNNING: "running", Workflow.Status.COMPLETED: "complete"}


class SessionSource:
    """Streams of proof sessions. An event's id is its place among those that its session tells, from 1."""

    name = "session"

    def start(self, key: UUID, position: int) -> Cursor | None:
        """Where a client goes on that has seen `position` events; None where there are not so many."""
        if position == 0:
            return Cursor()
        seen = told_by(key).values_list("pk", flat=True)[position - 1 : position].first()
        return Cursor(position=position, after=seen) if seen is not None else None

    def read(self, cursors: Mapping[UUID, Cursor]) -> dict[UUID, News]:
        """The next page of each; those that are gone have ended."""
        asked = batch([{"session": key, "after": cursor.after} for key, cursor in cursors.items()])
        rows: dict[UUID, list[Any]] = {key: [] for key in cursors}
        limit = page_bytes(len(cursors))
        page = {"cursors": asked, "types": TYPES, "rows": PAGE_ROWS, "bytes": limit}
        for row in run("session_events", page, folder=SQL):
            rows[row.session].append(row)
        is_complete = [key for key, found in rows.items() if any(row.type == Type.COMPLETE for row in found)]
        results = _results_of(is_complete) if is_complete else {}
        return {key: _news(cursors[key], found, limit, results.get(key, {})) for key, found in rows.items()}


def told_by(key: UUID) -> QuerySet[Event]:
    """The events that a session's stream tells, in their order."""
    return Event.objects.filter(workflow=key, type__in=TYPES).order_by("pk")


def _news(cursor: Cursor, rows: list[Any], limit: int, results: dict[str, Any]) -> News:
    if not rows:
        return News(frames=[], cursor=cursor, is_over=True)
    told = [row for row in rows if row.id is not None]
    frames = [
        Frame(row.type, _as_told(row.type, row.data, results), id=place)
        for place, row in enumerate(told, start=cursor.position + 1)
    ]
    has_more = is_full(told, limit)
    return News(
        frames=frames,
        cursor=Cursor(position=cursor.position + len(told), after=told[-1].id if told else cursor.after),
        is_over=rows[0].has_ended and not has_more,
        has_more=has_more,
    )


def _as_told(type_: str, data: dict[str, Any], results: dict[str, Any]) -> dict[str, Any]:
    """An event's data as clients get it. What a session has come to is kept in one place, its jobs."""
    if type_ == Type.LOG:
        return _line(data)
    return results if type_ == Type.COMPLETE else {name: data.get(name) for name in FIELDS[type_]}


def _line(data: dict[str, Any]) -> dict[str, Any]:
    return {"message": "\n".join(data["lines"]), "timestamp": data["timestamp"]}


def _results_of(keys: Iterable[UUID]) -> dict[UUID, dict[str, Any]]:
    """What the phases of complete sessions have come to, as `complete` tells it."""
    steps: dict[UUID, dict[str, Any]] = {}
    jobs = Job.objects.filter(workflow__in=keys, status=Job.Status.COMPLETED)
    for workflow_id, step, result in jobs.values_list("workflow_id", "step_name", "result"):
        if workflow_id is not None:
            steps.setdefault(workflow_id, {})[step] = result
    return {key: results_of(found) for key, found in steps.items()}


def results_of(steps: Mapping[str, Any]) -> dict[str, Any]:
    """The results of phases by step, under the names that clients know; only of those that are there."""
    results: dict[str, Any] = {}
    if generated := steps.get(GENERATE.step):
        claimed = {name: generated[name] for name in ("commitment", "submitter")}
        results["generatedProofs"] = [proof | claimed for proof in generated["proofs"]]
    if verified := steps.get(VERIFY.step):
        results["verificationResults"] = verified
    if attested := steps.get(ATTEST.step):
        results["attestationResults"] = attested
    return results


def describe_session(session: ProofSession) -> dict[str, Any]:
    """A session's state: what `GET /api/workflow/sessions/ID` answers. Times are milliseconds of the epoch."""
    status = told_by(session.pk).filter(type=Type.STATUS).last()
    latest = told_by(session.pk).last()
    logs = list(told_by(session.pk).filter(type=Type.LOG).reverse()[:LOGS_MAX])
    at = status.data if status else {"progress": 0, "step": ""}
    document = {
        "sessionId": session.session_id,
        "proofType": session.data["proofType"],
        "status": STATUSES.get(Workflow.Status(session.status), "error"),
        "currentStep": at["step"],
        "progress": at["progress"],
        "logs": [_line(event.data) for event in reversed(logs)],
        **_results_of([session.pk]).get(session.pk, {}),
    }
    if document["status"] == "error":
        error = told_by(session.pk).filter(type=Type.ERROR).last()
        document["error"] = error.data["error"] if error else f"The session has {session.status}."
    document["startTime"] = _ms(session.created_at)
    document["lastUpdate"] = _ms(latest.created_at if latest else session.created_at)
    return document


def _ms(moment: Any) -> int:
    return int(moment.timestamp() * 1_000)
