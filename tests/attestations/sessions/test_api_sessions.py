"""`/api/workflow` over HTTP: start or resume a session, watch it, look at it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from attestations.models import ProofSession
from attestations.sessions.starting import start_session
from jobs.models import Event, Tenant, Workflow
from jobs.services.workflows import cancel_workflow
from tests.conftest import ApiClient
from tests.factories import make_operator

STREAM = "/api/workflow"


def events_in(answer: Any) -> list[dict[str, Any]]:
    """The events of a stream's first page."""
    blocks = [
        dict(line.split(": ", 1) for line in block.splitlines())
        for block in answer.content.decode().split("\n\n")
    ]
    return [
        {"id": int(block["id"]), "event": block["event"], "data": json.loads(block["data"])}
        for block in blocks
        if "event" in block
    ]


def test_a_new_session_is_started_and_watched(api: ApiClient) -> None:
    answer = api.get(STREAM, {"sessionId": "s-1", "proofType": "groth16"}, headers={"X-Actor-Id": "ada"})

    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/event-stream")
    assert events_in(answer) == [
        {
            "id": 1,
            "event": "status",
            "data": {"phase": "generating", "progress": 0, "step": "Waiting for a worker"},
        }
    ]
    session = ProofSession.objects.get()
    assert (session.session_id, session.actor_id) == ("s-1", "ada")
    assert session.trace_id == answer["X-Trace-Id"]


def test_a_known_session_is_resumed_behind_the_last_event_that_was_seen(
    api: ApiClient, tenant: Tenant
) -> None:
    session, _ = start_session(tenant, "s-1", "plonk", actor_id="ada")
    for number in (1, 2, 3):
        tell(session, f"line {number}", number)

    answer = api.get(STREAM, {"sessionId": "s-1"}, headers={"Last-Event-ID": "2"})

    assert events_in(answer) == [
        {"id": 3, "event": "log", "data": {"message": "line 2", "timestamp": 2}},
        {"id": 4, "event": "log", "data": {"message": "line 3", "timestamp": 3}},
    ]
    assert ProofSession.objects.count() == 1


def test_a_session_that_has_ended_and_was_seen_is_no_content(api: ApiClient, tenant: Tenant) -> None:
    session, _ = start_session(tenant, "s-1", "groth16", actor_id="ada")
    cancel_workflow(Workflow.objects.get(pk=session.pk), by="ada")

    whole = api.get(STREAM, {"sessionId": "s-1"})
    last = events_in(whole)[-1]
    again = api.get(STREAM, {"sessionId": "s-1"}, headers={"Last-Event-ID": str(last["id"])})

    assert last["event"] == "error"
    assert again.status_code == 204


def test_its_state_is_one_document(api: ApiClient, tenant: Tenant) -> None:
    session, _ = start_session(tenant, "s-1", "groth16", actor_id="ada")
    tell(session, "begun", 1_700_000_000_000)

    document = api.get(f"{STREAM}/sessions/s-1").json()

    began = int(session.created_at.timestamp() * 1_000)
    assert document.pop("lastUpdate") >= began
    assert document == {
        "sessionId": "s-1",
        "proofType": "groth16",
        "status": "running",
        "currentStep": "Waiting for a worker",
        "progress": 0,
        "logs": [{"message": "begun", "timestamp": 1_700_000_000_000}],
        "startTime": began,
    }


@pytest.mark.parametrize(
    ("query", "status", "pointer"),
    [
        ({}, 422, "/sessionId"),
        ({"sessionId": "a b", "proofType": "groth16"}, 422, "/sessionId"),
        ({"sessionId": "s-1"}, 422, "/proofType"),
        ({"sessionId": "s-1", "proofType": "snark"}, 422, "/proofType"),
    ],
)
def test_what_is_wrong_is_said_and_starts_nothing(
    api: ApiClient, query: dict[str, str], status: int, pointer: str
) -> None:
    answer = api.get(STREAM, query, headers={"Accept": "text/event-stream"})

    assert answer.status_code == status
    assert answer["Content-Type"].startswith("application/problem+json")
    assert [problem["pointer"] for problem in answer.json()["errors"]] == [pointer]
    assert not Workflow.objects.exists()


def test_another_proof_type_is_a_conflict(api: ApiClient, tenant: Tenant) -> None:
    start_session(tenant, "s-1", "groth16", actor_id="ada")

    answer = api.get(STREAM, {"sessionId": "s-1", "proofType": "plonk"})

    assert (answer.status_code, answer.json()["code"]) == (409, "session_exists")


def test_a_session_that_is_over_is_gone(api: ApiClient, tenant: Tenant) -> None:
    session, _ = start_session(tenant, "s-1", "groth16", actor_id="ada")
    Workflow.objects.filter(pk=session.pk).update(created_at=timezone.now() - timedelta(minutes=61))

    for path in (f"{STREAM}?sessionId=s-1&proofType=groth16", f"{STREAM}/sessions/s-1"):
        answer = api.get(path)
        assert (answer.status_code, answer.json()["code"]) == (410, "session_over")
        assert "session-s-1" in answer.json()["detail"]


def test_sessions_are_their_tenants(
    api_as: Callable[..., ApiClient], tenant: Tenant, other_tenant: Tenant
) -> None:
    start_session(other_tenant, "s-1", "groth16", actor_id="eve")
    mine = api_as(tenant, "submit")

    assert mine.get(f"{STREAM}/sessions/s-1").status_code == 404
    assert mine.get(STREAM, {"sessionId": "s-1"}).status_code == 422  # none of mine: it would be new


@pytest.mark.parametrize("path", [f"{STREAM}?sessionId=s-1&proofType=groth16", f"{STREAM}/sessions/s-1"])
def test_it_takes_the_scope_submit(api_as: Callable[..., ApiClient], tenant: Tenant, path: str) -> None:
    assert api_as(tenant, "read", "manage", "work").get(path).status_code == 403
    assert ApiClient().get(path).status_code == 401
    assert not Workflow.objects.exists()


def test_head_and_post_start_nothing(api: ApiClient) -> None:
    path = f"{STREAM}?sessionId=s-1&proofType=groth16"

    assert api.head(path).status_code == 405
    assert api.send("POST", path, {}).status_code == 403  # no scope allows it
    assert not Workflow.objects.exists()


def test_a_token_of_scope_submit_starts_a_session(api: ApiClient) -> None:
    reading = api.send("POST", "/api/stream-tokens", {}).json()["token"]
    submitting = api.send("POST", "/api/stream-tokens", {"scopes": ["submit"]}).json()["token"]
    query = {"sessionId": "s-1", "proofType": "groth16"}

    refused = Client().get(STREAM, {**query, "token": reading})
    answer = Client().get(STREAM, {**query, "token": submitting})

    assert refused.status_code == 403
    assert answer.status_code == 200
    assert ProofSession.objects.get().actor_id.startswith("key:")


def test_an_operator_watches_a_session_and_starts_none(tenant: Tenant) -> None:
    start_session(tenant, "s-1", "groth16", actor_id="ada")
    browser = Client()
    browser.force_login(make_operator("attestations.view_proofsession"))
    query = {"tenant": tenant.slug, "proofType": "groth16"}

    watched = browser.get(STREAM, {**query, "sessionId": "s-1"})
    refused = [browser.get(STREAM, {**query, "sessionId": name}).status_code for name in ("s-2", "\0", "")]

    assert events_in(watched)[0]["event"] == "status"
    assert refused == [403, 403, 403]
    assert Workflow.objects.count() == 1


def test_an_operator_without_the_permission_watches_nothing(tenant: Tenant) -> None:
    start_session(tenant, "s-1", "groth16", actor_id="ada")
    browser = Client()
    browser.force_login(make_operator("jobs.view_job"))

    answer = browser.get(STREAM, {"tenant": tenant.slug, "sessionId": "s-1"})

    assert answer.status_code == 403


def test_the_session_of_an_unreadable_name_is_not_found(api: ApiClient) -> None:
    assert api.get(f"{STREAM}/sessions/%00").status_code in (400, 404)
    assert api.get(f"{STREAM}/sessions/{'x' * 300}").status_code == 404


def tell(session: ProofSession, line: str, at: int) -> None:
    Event.objects.create(
        tenant_id=session.tenant_id,
        workflow_id=session.pk,
        type="log",
        data={"lines": [line], "timestamp": at},
    )
