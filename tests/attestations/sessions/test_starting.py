"""A session is started once by its name, and found again for an hour."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from attestations.models import ProofSession
from attestations.sessions.starting import SessionDiffers, SessionOver, start_session
from jobs.errors import InvalidInput
from jobs.models import Event, Job, Tenant, Workflow
from tests.factories import make_workflow
from tests.jobs.together import at_once


def test_a_session_is_a_workflow_of_three_phases(tenant: Tenant) -> None:
    session, is_new = start_session(tenant, "s-1", "groth16", actor_id="ada")

    assert is_new
    assert (session.workflow_id, session.session_id, session.kind) == ("session-s-1", "s-1", "proof")
    steps = Job.objects.filter(workflow=session.pk).order_by("step_index")
    assert [(step.kind, step.status, step.queue) for step in steps] == [
        ("proofs.generate", "queued", "proof-generation"),
        ("proofs.verify", "waiting", "proof-generation"),
        ("proofs.attest", "waiting", "proof-publishing"),
    ]
    first = Event.objects.get(workflow=session.pk)
    assert first.data == {"phase": "generating", "progress": 0, "step": "Waiting for a worker"}


def test_a_name_that_is_known_is_the_session_it_was(tenant: Tenant, other_tenant: Tenant) -> None:
    session, _ = start_session(tenant, "s-1", "plonk", actor_id="ada")

    again, is_new = start_session(tenant, "s-1", "", actor_id="bob")
    theirs, theirs_is_new = start_session(other_tenant, "s-1", "groth16", actor_id="eve")

    assert (again.pk, is_new) == (session.pk, False)
    assert theirs.pk != session.pk
    assert theirs_is_new


@pytest.mark.django_db(transaction=True)
def test_two_who_start_it_at_once_share_one(tenant: Tenant) -> None:
    found = at_once(*[lambda: start_session(tenant, "s-1", "groth16", actor_id="ada")] * 8)

    assert sorted(is_new for _, is_new in found) == [False] * 7 + [True]
    assert len({session.pk for session, _ in found}) == ProofSession.objects.count() == 1
    assert Job.objects.count() == 3


def test_another_proof_type_is_another_session(tenant: Tenant) -> None:
    start_session(tenant, "s-1", "plonk", actor_id="ada")

    with pytest.raises(SessionDiffers, match="proves with plonk"):
        start_session(tenant, "s-1", "groth16", actor_id="ada")


def test_a_name_that_a_generation_has_is_taken(tenant: Tenant) -> None:
    make_workflow(tenant, workflow_id="session-s-1")

    with pytest.raises(SessionDiffers, match="no proof session"):
        start_session(tenant, "s-1", "groth16", actor_id="ada")


@pytest.mark.parametrize("name", ["", "-s", "a b", "a/b", "ü", "s" * 101, "s\n", "s:attempt-1"])
def test_a_name_is_plain_and_short(tenant: Tenant, name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        start_session(tenant, name, "groth16", actor_id="ada")

    assert [problem.pointer for problem in refused.value.errors] == ["/sessionId"]
    assert not Workflow.objects.exists()


@pytest.mark.parametrize("proof_type", ["", "snark", "GROTH16"])
def test_a_new_session_needs_a_proof_type_that_there_is(tenant: Tenant, proof_type: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        start_session(tenant, "s-1", proof_type, actor_id="ada")

    assert [problem.pointer for problem in refused.value.errors] == ["/proofType"]
    assert not Workflow.objects.exists()


def test_after_an_hour_it_is_over(tenant: Tenant) -> None:
    session, _ = start_session(tenant, "s-1", "groth16", actor_id="ada")
    Workflow.objects.filter(pk=session.pk).update(created_at=timezone.now() - timedelta(minutes=61))

    with pytest.raises(SessionOver, match="session-s-1"):
        start_session(tenant, "s-1", "groth16", actor_id="ada")
