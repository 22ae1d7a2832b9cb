"""What a proof session's page shows: its three phases, its log, what came of them, and how to go on watching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from attestations.admin.attestations import attestations_of_runs
from attestations.admin.session_results import (
    attestation_facts,
    proof_row,
    transactions_of_session,
    verification_facts,
)
from attestations.models import ProofSession
from attestations.sessions.following import EXITED
from attestations.sessions.phases import ATTEST, COMPLETE, PHASES, Phase, phase_after
from attestations.sessions.starting import ends_at
from attestations.sessions.telling import results_of, told_by
from jobs.admin.access.revealing import shown
from jobs.admin.displays import anchor, badge, copyable, duration_of, link, moment, span
from jobs.models import Event, Job, Workflow

LINES_MAX = 5_000  # of the log; what a page keeps of it, too, as it grows
Type = Event.Type
ENDS = {Type.COMPLETE, Type.ERROR}

# What an operator can do about a session that has failed, by the code of its error.
ADVICE = {
    "exit_1": "The log's last lines and those of the cluster say more. Retry goes on with this phase.",
    "exit_2": "A setting of the platform is not what the program can work with: correct it, restart, and retry.",
    "exit_3": "Name an installed prover for it in PROVERS, restart, and retry; or run it with Groth16 or PlonK.",
    "exit_4": "If the keys in PROOF_KEYS_DIR were replaced since the proofs were made, run a new session. Else retry.",
    "exit_5": "See whether the chain's node answers, fees are below CHAIN_MAX_FEE_GWEI, and PRIVATE_KEY's account can pay. "
    "Then retry: what is recorded already is not sent again.",
    "exit_6": "A retry would be refused again. If the contract is the wrong one, correct CONTRACT_ADDRESS, restart, and "
    "retry. Else run a new session: its proofs are bound to the PRIVATE_KEY and the proof keys of now.",
    "killed": "Something has killed its program, most likely for want of memory. Make room, and retry.",
    "timed_out": "The machine is too busy for its time limit, or the chain too slow. Retry goes on with this phase.",
    "worker_lost": "Its cluster has gone away in mid-phase. Retry goes on with this phase.",
    "creator_key_unreadable": "Put the key that sealed it back into ENCRYPTION_KEYS, restart, and retry.",
    "expired": "No cluster took it within the hour: see whether its queue is served, and run a new session.",
    "cancelled": "It was stopped here or by its client; run a new session.",
}


def console_of(request: HttpRequest, session: ProofSession) -> dict[str, Any]:
    """What templates/admin/attestations/proofsession/change_form.html shows.

    A page that only brings its parts up to date asks for `?part=state`, and has no log.
    """
    story = _story_of(session, has_lines=request.GET.get("part") != "state")
    # After its story: what has come since is told by the stream, which goes on until the end is shown.
    session.refresh_from_db(fields=["status", "error", "completed_at", "failed_at", "cancelled_at"])
    jobs = list(session.jobs.order_by("step_index").defer("payload", "original_payload", "ctx"))
    results = results_of(_results_by_step(jobs))
    error = shown(request, session.error)
    return {
        "session": session,
        "heading": session.session_id,
        "badges": [badge(session.status)],
        "facts": facts_of(session),
        "phases": [_phase(phase, job, session) for phase, job in zip(PHASES, jobs, strict=False)],
        "reached": reached_by(session, jobs),
        "progress": progress_of(jobs),
        "failure": failure_of(session, jobs, error),
        "log": [_line(event) for event in story.events if event.type in (Type.LOG, Type.STATUS)],
        "left_out": max(story.last_id - LINES_MAX, 0),
        "lines_max": LINES_MAX,
        "watching": watching(session),
        "stream": _stream_of(session, story),
        "transactions": transactions_of_session(session, results),
        "proofs": [proof_row(proof) for proof in results.get("generatedProofs", [])],
        "verification": _texts_masked(request, verification_facts(results.get("verificationResults"))),
        "attestation": _texts_masked(request, attestation_facts(results.get("attestationResults"))),
        "attestations": attestations_of_runs(request, [session]),
    }


def _texts_masked(request: HttpRequest, facts: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Facts that programs have put into words; what is HTML already is the platform's own."""
    return [
        (name, value if isinstance(value, SafeString) else shown(request, value)) for name, value in facts
    ]


def facts_of(session: ProofSession) -> list[tuple[str, Any]]:
    """What stands at the top of the page."""
    workflow = reverse("admin:jobs_workflow_change", args=[session.pk])
    facts: list[tuple[str, Any]] = [
        ("Session", copyable(session.session_id)),
        ("Workflow", anchor(workflow, session.workflow_id)),
        ("Tenant", link(session.tenant)),
        ("Proof type", session.data["proofType"]),
        ("Run", session.attempt if session.attempt > 1 else None),
        ("Started by", session.actor_id),
        ("Trace", copyable(session.trace_id)),
        ("Started", moment(session.created_at)),
        ("Ended", moment(session.ended_at)),
        ("Took", span(session.ended_at - session.created_at) if session.ended_at else None),
    ]
    return [(name, value) for name, value in facts if value not in (None, "")]


def reached_by(session: ProofSession, jobs: Sequence[Job]) -> str:
    """How far it has come, in words."""
    if session.status == Workflow.Status.COMPLETED:
        return str(COMPLETE["step"])
    phase = phase_after(_completed(jobs))
    if session.status == Workflow.Status.RUNNING:
        is_running = any(job.status == Job.Status.RUNNING for job in jobs)
        return phase.doing if is_running else f"{phase.doing}: waiting for a worker"
    return f"{phase.doing}: {session.status}"


def progress_of(jobs: Sequence[Job]) -> int:
    """Percent, as the stream tells them."""
    return [*(phase.progress for phase in PHASES), 100][_completed(jobs)]


def failure_of(session: ProofSession, jobs: Sequence[Job], error: Any) -> dict[str, Any] | None:
    """Why it has not completed, in which phase, and what to do; None where it has, or still may."""
    if session.status not in (Workflow.Status.FAILED, Workflow.Status.CANCELLED):
        return None
    error = error if isinstance(error, dict) else {}
    code = str(error.get("code", ""))
    exited = EXITED.fullmatch(code)
    return {
        "phase": phase_after(_completed(jobs)).doing,
        "code": f"exit code {exited[1]}" if exited else code,
        "message": error.get("message") or f"The session was {session.status}.",
        "to_do": ADVICE.get(code, "The page of its workflow says more."),
    }


def watching(session: ProofSession) -> str:
    """Whether there is more to be watched, in a word or two."""
    if session.status != Workflow.Status.RUNNING:
        return "ended"
    return "not live" if timezone.now() < ends_at(session) else "watching has ended after an hour"


@dataclass(frozen=True, slots=True)
class Story:
    """The last of what a session's stream has told, how many events that were in all, and whether its end is among them."""

    events: list[Event]
    last_id: int
    is_ended: bool


def _story_of(session: ProofSession, *, has_lines: bool) -> Story:
    told = told_by(session.pk)
    last = told.last()
    if last is None:  # forgotten
        return Story([], 0, is_ended=True)
    # Ids come in order: what is added meanwhile is behind the last.
    seen: QuerySet[Event] = told.filter(pk__lte=last.pk)
    events = list(reversed(seen.reverse()[:LINES_MAX])) if has_lines else []
    return Story(events, seen.count(), is_ended=last.type in ENDS)


def _stream_of(session: ProofSession, story: Story) -> dict[str, Any] | None:
    """Where the page goes on from what it shows; None where nothing more will come."""
    left = (ends_at(session) - timezone.now()).total_seconds()
    if left <= 0 or (session.status != Workflow.Status.RUNNING and story.is_ended):
        return None
    query = urlencode({"sessionId": session.session_id, "tenant": session.tenant.slug})
    return {
        "url": f"{reverse('session-stream')}?{query}",
        "last_id": story.last_id,
        "seconds_left": int(left) + 1,
        "now_ms": int(timezone.now().timestamp() * 1_000),
    }


def _completed(jobs: Sequence[Job]) -> int:
    return sum(job.status == Job.Status.COMPLETED for job in jobs)


def _results_by_step(jobs: Sequence[Job]) -> dict[str, Any]:
    return {job.step_name: job.result for job in jobs if job.status == Job.Status.COMPLETED}


def _phase(phase: Phase, job: Job, session: ProofSession) -> dict[str, Any]:
    """A phase as one of the row of three."""
    took = duration_of(job)
    is_running = job.status == Job.Status.RUNNING
    return {
        "title": phase.doing,
        "badge": badge(_word_of(phase, job, session)),
        "took": span(took) if took is not None else "",
        "running_for": f"{took.total_seconds():.1f}" if is_running and took is not None else "",
        "seconds": phase.seconds,
        "link": link(job, "Its job"),
        "retries": job.attempt - 1,
    }


def _word_of(phase: Phase, job: Job, session: ProofSession) -> str:
    if phase is ATTEST and isinstance(job.result, dict) and "skipped" in job.result:
        return "skipped"
    if job.status == Job.Status.COMPLETED or job.started_at is not None:
        return job.status
    if session.status == Workflow.Status.RUNNING:
        return "queued" if job.status == Job.Status.QUEUED else "not yet"
    return job.status if job.status == Job.Status.FAILED else "not reached"


def _line(event: Event) -> dict[str, Any]:
    """A line of the log, or the beginning of a phase."""
    data = event.data
    if event.type == Type.LOG:
        at = datetime.fromtimestamp(data["timestamp"] / 1_000, UTC)
        return {"type": "log", "at": at, "text": "\n".join(data["lines"])}
    return {"type": "status", "at": event.created_at, "text": data["step"]}
