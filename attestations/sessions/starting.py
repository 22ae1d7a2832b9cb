"""Starts proof sessions, and finds those that were started."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from attestations.models import ProofSession, Submission
from attestations.sessions.phases import GENERATE, PHASES
from jobs.errors import DomainError, InvalidInput, WorkflowExists
from jobs.models import Event, Tenant, Workflow
from jobs.services.events import record_event
from jobs.services.workflows import Step, start_workflow

SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
LASTS = timedelta(hours=1)
PROOF_TYPES = Submission.ProofSystem.values


class SessionDiffers(DomainError):
    """The session is there, and is not what is asked for."""

    code = "session_exists"


class SessionOver(DomainError):
    """The session has ended an hour after it began; its workflow and attestations stay."""

    code = "session_over"
    status = 410


def start_session(
    tenant: Tenant, session_id: str, proof_type: str, *, actor_id: str, user_id: str = ""
) -> tuple[ProofSession, bool]:
    """Start a session, or find the one of this name; and whether it is new.

    Raises InvalidInput for a name or type that is none, SessionDiffers where the name is taken by another, and
    SessionOver.
    """
    _refuse_odd_name(session_id)
    session = find_session(tenant, session_id)
    if session is None:
        _refuse_unknown_type(proof_type)
        try:
            return _start(tenant, session_id, proof_type, actor_id=actor_id, user_id=user_id), True
        except WorkflowExists:
            session = find_session(tenant, session_id)  # started by another call meanwhile
    if session is None:
        raise SessionDiffers(f"A workflow that is no proof session has the name {name_of(session_id)!r}.")
    if proof_type and proof_type != session.data["proofType"]:
        raise SessionDiffers(f"The session {session_id!r} proves with {session.data['proofType']}.")
    refuse_if_over(session)
    return session, False


def find_session(tenant: Tenant, session_id: str) -> ProofSession | None:
    """The tenant's session of this name, also one that is over."""
    if not SESSION_ID.fullmatch(session_id):
        return None
    mine = ProofSession.objects.filter(tenant=tenant, workflow_id=name_of(session_id))
    found: ProofSession | None = mine.first()
    return found


def refuse_if_over(session: ProofSession) -> None:
    """Raise SessionOver for a session that began more than an hour ago."""
    if timezone.now() >= ends_at(session):
        raise SessionOver(
            f"The session {session.session_id!r} has ended. What came of it is in the workflow "
            f"{session.workflow_id!r}; choose another sessionId to run again."
        )


def ends_at(session: Workflow) -> datetime:
    """When a session is over, and its stream forgotten."""
    return session.created_at + LASTS


def name_of(session_id: str) -> str:
    """The `workflow_id` of a session's workflow."""
    return f"session-{session_id}"


def _start(tenant: Tenant, session_id: str, proof_type: str, *, actor_id: str, user_id: str) -> ProofSession:
    # What nobody has run within the hour is of no use to those who watch.
    options: dict[str, Any] = {"expires_in_seconds": LASTS.total_seconds()}
    with transaction.atomic():
        workflow, _ = start_workflow(
            tenant,
            workflow_id=name_of(session_id),
            steps=[Step(name=phase.step, kind=phase.kind, payload={}, options=options) for phase in PHASES],
            actor_id=actor_id,
            kind=Workflow.Kind.PROOF,
            user_id=user_id,
            session_id=session_id,
            data={"sessionId": session_id, "proofType": proof_type},
        )
        waits = {"phase": GENERATE.name, "progress": GENERATE.progress, "step": "Waiting for a worker"}
        record_event(workflow, Event.Type.STATUS, waits)
    session: ProofSession = ProofSession.objects.get(pk=workflow.pk)
    return session


def _refuse_odd_name(session_id: str) -> None:
    if not SESSION_ID.fullmatch(session_id):
        detail = "A sessionId has 1 to 100 letters, digits, dots, hyphens and underscores, and begins with one of the first two."
        raise InvalidInput.at("/sessionId", "session_id_invalid", detail)


def _refuse_unknown_type(proof_type: str) -> None:
    if proof_type not in PROOF_TYPES:
        named = ", ".join(PROOF_TYPES)
        raise InvalidInput.at("/proofType", "proof_type_invalid", f"A proofType is one of {named}.")
