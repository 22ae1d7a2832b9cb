"""Proof sessions in the admin: those that were run, the form that runs one, and what the console shows."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from attestations.admin.console import ADVICE
from attestations.models import ProofSession
from attestations.proofs.exits import Exit
from attestations.sessions.following import exit_error
from attestations.sessions.phases import PHASES
from attestations.sessions.telling import told_by
from jobs.admin.displays import badge
from jobs.models import Event, Job, Tenant, Workflow
from jobs.services.events import record_event
from tests.attestations.sessions.watching import frames_of
from tests.factories import make_operator, make_session, make_superuser, make_transaction, make_workflow

LIST = reverse("admin:attestations_proofsession_changelist")
ADD = reverse("admin:attestations_proofsession_add")
HOSTILE = '</pre><script>alert("x")</script>'
PROOFS = {
    "commitment": "0x" + "1" * 64,
    "submitter": "0x" + "2" * 40,
    "proofs": [
        {"name": name, "sha256Hash": digit * 64, "proof": {"system": "groth16"}, "seconds": 0.25}
        for name, digit in (("request", "a"), ("attestations", "b"), ("workflows", "c"))
    ],
}
VERIFIED = {"verified": True, "gasEstimate": 612_345, "circuitsVerified": 3}
SKIPPED = {"skipped": "no chain configured"}
ATTESTED = {
    "chainId": 31337,
    "contractAddress": "0x5FbDB2315678afecb367f032d93F642f64180aa3",
    "verifiedOnChain": False,
    "note": "verified off chain, its digest is recorded",
    "transactions": [{"name": "request", "sha256Hash": "a" * 64, "txHash": "0x1", "gasUsed": 70_001}],
}


@pytest.fixture(autouse=True)
def _known_content_types(db: None) -> None:
    """Django caches these: only the first page of a process asks for them."""
    ContentType.objects.get_for_models(*apps.get_models(), for_concrete_models=False)


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(make_superuser("alice"))
    return client


@pytest.fixture
def viewer(db: None) -> Client:
    client = Client()
    client.force_login(make_operator("attestations.view_proofsession"))
    return client


def page_of(session: Workflow) -> str:
    return reverse("admin:attestations_proofsession_change", args=[session.pk])


def shown(client: Client, url: str, **query: str) -> str:
    response = client.get(url, query)
    assert response.status_code == 200
    return response.content.decode()


def found(client: Client, **query: str) -> list[str]:
    return [row.session_id for row in client.get(LIST, query).context["cl"].result_list]


def say(session: ProofSession, *lines: str) -> None:
    for line in lines:
        record_event(session, Event.Type.LOG, {"lines": [line], "timestamp": 1_790_000_000_123})


def complete(session: ProofSession, *results: Any) -> None:
    """Its phases have come to this, one after the other; with all three it is complete."""
    now = timezone.now()
    for phase, result in zip(PHASES, results, strict=False):
        steps = Job.objects.filter(workflow=session.pk, step_name=phase.step)
        steps.update(status="completed", started_at=now, completed_at=now, result=result)
    if len(results) == len(PHASES):
        Workflow.objects.filter(pk=session.pk).update(status="completed", completed_at=now)
        record_event(session, Event.Type.COMPLETE, {})


def fail(session: ProofSession, code: str, message: str = "It is gone.") -> None:
    """Its first phase has failed."""
    now, error = timezone.now(), {"code": code, "message": message}
    first, *others = Job.objects.filter(workflow=session.pk).order_by("step_index")
    Job.objects.filter(pk=first.pk).update(status="failed", started_at=now, failed_at=now, error=error)
    Job.objects.filter(pk__in=[job.pk for job in others]).update(status="cancelled", cancelled_at=now)
    Workflow.objects.filter(pk=session.pk).update(status="failed", failed_at=now, error=error)
    record_event(session, Event.Type.ERROR, {"error": message, "phase": "generating", "code": -1})


def begin_earlier(session: ProofSession, ago: timedelta) -> None:
    Workflow.objects.filter(pk=session.pk).update(created_at=timezone.now() - ago)


def stream_in(html: str) -> tuple[str, int] | None:
    """Where the page goes on: the stream, and the id it has seen last."""
    stream = re.search(r'data-stream="([^"]+)" data-last-id="(\d+)"', html)
    return (stream[1].replace("&amp;", "&"), int(stream[2])) if stream else None


def posted(tenant: Tenant, **fields: Any) -> dict[str, Any]:
    return {"tenant": str(tenant.pk), "proof_type": "groth16", "session_id": "s-1", **fields}


# --- The list ---------------------------------------------------------------------------------------


def test_the_list_shows_how_far_each_has_come(operator: Client, tenant: Tenant) -> None:
    make_session(tenant, session_id="waits")
    complete(make_session(tenant, "plonk", session_id="verifies"), PROOFS)
    complete(make_session(tenant, session_id="done"), PROOFS, VERIFIED, SKIPPED)
    fail(make_session(tenant, "stark", session_id="fails"), "exit_3")

    html = shown(operator, LIST)

    for word in ("Generating proofs: waiting for a worker", "Verifying proofs: waiting for a worker"):
        assert word in html
    for word in ("Complete", "Generating proofs: failed", "PlonK", "STARK"):
        assert word in html
    assert found(operator) == ["fails", "done", "verifies", "waits"]


def test_other_workflows_are_not_listed(operator: Client, tenant: Tenant) -> None:
    workflow = make_workflow(tenant)

    assert found(operator) == []
    assert operator.get(page_of(workflow)).status_code == 302  # to the list, saying there is none


def test_the_list_is_filtered_and_searched(operator: Client, tenant: Tenant, other_tenant: Tenant) -> None:
    session = make_session(tenant, session_id="mine")
    make_session(other_tenant, "plonk", session_id="theirs")

    assert found(operator, proof_type="plonk") == ["theirs"]
    assert found(operator, tenant="acme") == ["mine"]
    assert found(operator, status__exact="failed") == []
    for term in ("mine", "session-mine", "mi", str(session.pk)):
        assert found(operator, q=term) == ["mine"], term


@pytest.mark.parametrize("count", [1, 20])
def test_the_list_costs_the_same_however_long(
    operator: Client, tenant: Tenant, django_assert_num_queries: DjangoAssertNumQueries, count: int
) -> None:
    for _ in range(count):
        make_session(tenant)

    # Session, account and its restriction; the transaction, which bounds its statements; keys, rows, their steps and
    # saved views; the choices of tenants.
    with django_assert_num_queries(11):
        shown(operator, LIST)


@pytest.mark.parametrize("lines", [1, 20])
def test_the_page_costs_the_same_however_long_the_log(
    viewer: Client, tenant: Tenant, django_assert_num_queries: DjangoAssertNumQueries, lines: int
) -> None:
    session = make_session(tenant)
    say(session, *(f"line {number}" for number in range(lines)))

    # Login and rights; the session with its tenant and steps; its story, its state, its jobs, its transactions.
    with django_assert_num_queries(13):
        shown(viewer, page_of(session))


# --- Running one ------------------------------------------------------------------------------------


def test_a_session_is_started_and_its_console_opened(operator: Client, tenant: Tenant) -> None:
    response = operator.post(ADD, posted(tenant, proof_type="plonk"))

    session = ProofSession.objects.get()
    assert response["Location"] == page_of(session)
    assert (session.session_id, session.data["proofType"], session.actor_id) == ("s-1", "plonk", "alice")
    assert session.jobs.count() == 3
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.is_addition()) == (str(session.pk), True)


def test_the_form_makes_a_name_and_knows_the_only_tenant(operator: Client, tenant: Tenant) -> None:
    form, another = (operator.get(ADD).context["adminform"].form for _ in range(2))

    assert re.fullmatch("console-[0-9a-f]{8}", form["session_id"].value())
    assert form["session_id"].value() != another["session_id"].value()
    assert form["tenant"].value() == tenant.pk


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("session_id", "no spaces", "letters, digits"),
        ("session_id", "taken", "There is a session of this name already."),
        ("session_id", "generation", "A workflow that is no proof session has the name"),
        ("proof_type", "snark", "Select a valid choice"),
    ],
)
def test_what_can_not_be_started_is_said_at_its_field(
    operator: Client, tenant: Tenant, field: str, value: str, said: str
) -> None:
    make_session(tenant, session_id="taken")
    make_workflow(tenant, workflow_id="session-generation")

    response = operator.post(ADD, posted(tenant, **{field: value}))

    assert said in str(response.context["adminform"].form.errors[field])
    assert Workflow.objects.count() == 2


def test_an_inactive_tenant_runs_nothing(operator: Client, tenant: Tenant) -> None:
    Tenant.objects.filter(pk=tenant.pk).update(is_active=False)

    response = operator.post(ADD, posted(tenant))

    assert "This tenant is inactive." in str(response.context["adminform"].form.errors["tenant"])
    assert not ProofSession.objects.exists()


def test_a_viewer_runs_nothing(viewer: Client, tenant: Tenant) -> None:
    response = viewer.post(ADD, posted(tenant))

    assert response.status_code == 403
    assert not ProofSession.objects.exists()


def test_another_site_starts_nothing(tenant: Tenant) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_superuser())

    assert client.post(ADD, posted(tenant)).status_code == 403
    assert not ProofSession.objects.exists()


# --- The console ------------------------------------------------------------------------------------


def test_the_page_shows_the_log_and_goes_on_behind_it(viewer: Client, tenant: Tenant) -> None:
    session = make_session(tenant, session_id="s-1")
    say(session, "first line", HOSTILE)

    html = shown(viewer, page_of(session))

    stream = stream_in(html)
    assert stream == ("/api/workflow?sessionId=s-1&tenant=acme", told_by(session.pk).count())
    assert frames_of(session, stream[1]) == []
    assert '<li class="status">' in html
    assert "<pre>first line</pre>" in html
    assert HOSTILE not in html
    assert "14:13:20" in html  # as the line says, and not when it was stored


def test_no_script_stands_in_the_page_itself(viewer: Client, tenant: Tenant) -> None:
    html = shown(viewer, page_of(make_session(tenant)))
    console = html[html.index('class="afd-page"') :]

    assert "affidavit/console.js" in html
    assert "<script" not in console[: console.index('data-region="attestations"')]


def test_a_part_of_the_page_has_no_log(viewer: Client, tenant: Tenant) -> None:
    session = make_session(tenant)
    say(session, "a line")

    html = shown(viewer, page_of(session), part="state")

    assert "a line" not in html
    assert badge("queued") in html


def test_a_long_log_is_cut_at_its_beginning(
    viewer: Client, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attestations.admin.console.LINES_MAX", 3)
    session = make_session(tenant)
    say(session, *(f"line {number}" for number in range(1, 6)))

    html = shown(viewer, page_of(session))

    assert re.findall(r"<pre>(line \d)</pre>", html) == ["line 3", "line 4", "line 5"]
    assert "The first 3 events are not shown." in html
    assert stream_in(html) == (f"/api/workflow?sessionId={session.session_id}&tenant=acme", 6)


def test_results_are_shown_phase_by_phase(viewer: Client, tenant: Tenant) -> None:
    session = make_session(tenant)
    complete(session, PROOFS, VERIFIED)

    context = viewer.get(page_of(session)).context

    assert [proof["name"] for proof in context["proofs"]] == ["request", "attestations", "workflows"]
    assert dict(context["verification"]) == {"Verified": "3 proofs", "Gas to record them": "612,345"}
    assert (context["progress"], context["attestation"]) == (66, [])
    assert context["stream"]


@pytest.mark.parametrize(
    ("attested", "word", "said"),
    [
        (SKIPPED, "skipped", "skipped: no chain configured"),
        (ATTESTED, "completed", "verified off chain, its digest is recorded"),
    ],
)
def test_a_complete_session_says_what_is_on_the_chain(
    viewer: Client, tenant: Tenant, attested: Any, word: str, said: str
) -> None:
    session = make_session(tenant, "plonk")
    complete(session, PROOFS, VERIFIED, attested)

    response = viewer.get(page_of(session))

    assert said in response.content.decode()
    assert response.context["phases"][2]["badge"] == badge(word)
    assert (response.context["progress"], response.context["stream"]) == (100, None)
    assert response.context["reached"] == "Complete"


def test_transactions_are_shown_as_soon_as_they_are_signed(viewer: Client, tenant: Tenant) -> None:
    session = make_session(tenant)
    complete(session, PROOFS)
    seen = make_transaction(workflow=session, chain_id=11155111, sha256_hash="a" * 64)
    local = make_transaction(workflow=session, chain_id=31337, sha256_hash="b" * 64, status="mined")

    response = viewer.get(page_of(session))

    html = response.content.decode()
    assert [row["name"] for row in response.context["transactions"]] == ["request", "attestations"]
    assert f'href="https://sepolia.etherscan.io/tx/{seen.transaction_id}"' in html
    assert f'data-copy="{local.transaction_id}"' in html
    assert badge("mined") in html


def test_a_failed_session_says_in_which_phase_why_and_what_to_do(viewer: Client, tenant: Tenant) -> None:
    session = make_session(tenant, "stark")
    fail(session, "exit_3", "stark: the prover is not installed")

    response = viewer.get(page_of(session))

    assert response.context["failure"] == {
        "phase": "Generating proofs",
        "code": "exit code 3",
        "message": "stark: the prover is not installed",
        "to_do": ADVICE["exit_3"],
    }
    assert [phase["badge"] for phase in response.context["phases"]] == [
        badge("failed"),
        badge("not reached"),
        badge("not reached"),
    ]
    assert stream_in(response.content.decode()) is None


def test_addresses_in_what_a_session_says_are_masked(viewer: Client, tenant: Tenant) -> None:
    session = make_session(tenant)
    fail(session, "exit_5", "https://u:s3cret@node.example/?token=s3cret does not answer")

    html = viewer.get(page_of(session)).content.decode()

    assert "node.example" in html
    assert "s3cret" not in html


def test_there_is_an_advice_for_every_way_to_fail() -> None:
    exits = {exit_error(code) for code in Exit if code is not Exit.DONE}

    assert exits | {exit_error(None), "timed_out", "worker_lost", "expired", "cancelled"} <= set(ADVICE)


def test_a_failed_session_is_retried_from_its_console(operator: Client, tenant: Tenant) -> None:
    session = make_session(tenant)
    fail(session, "timed_out")

    offered = shown(operator, page_of(session))
    response = operator.post(
        LIST,
        {
            "action": "retry_workflows",
            "_selected_action": [str(session.pk)],
            "confirmed": "1",
            "from_page": "1",
        },
    )

    session.refresh_from_db()
    assert "retry_workflows" in offered
    assert response["Location"] == page_of(session)
    assert session.status == Workflow.Status.RUNNING
    assert stream_in(shown(operator, page_of(session)))


def test_a_viewer_is_offered_no_verb(viewer: Client, tenant: Tenant) -> None:
    session = make_session(tenant)
    fail(session, "timed_out")

    assert "retry_workflows" not in shown(viewer, page_of(session))


def test_a_session_that_is_over_shows_what_came_of_it(viewer: Client, tenant: Tenant) -> None:
    session = make_session(tenant)
    complete(session, PROOFS, VERIFIED, SKIPPED)
    begin_earlier(session, timedelta(minutes=61))
    told_by(session.pk).delete()

    response = viewer.get(page_of(session))

    html = response.content.decode()
    assert len(response.context["proofs"]) == 3
    assert "forgotten an hour after it began" in html
    assert (stream_in(html), response.context["watching"]) == (None, "ended")


def test_the_page_goes_on_until_it_has_shown_the_end(viewer: Client, tenant: Tenant) -> None:
    session = make_session(tenant)
    complete(session, PROOFS, VERIFIED, SKIPPED)
    told_by(session.pk).filter(type=Event.Type.COMPLETE).delete()  # as where it ends while the page is made

    assert stream_in(shown(viewer, page_of(session)))


def test_a_session_that_still_runs_after_an_hour_is_not_watched(viewer: Client, tenant: Tenant) -> None:
    session = make_session(tenant)
    begin_earlier(session, timedelta(minutes=61))

    html = shown(viewer, page_of(session))

    assert stream_in(html) is None
    assert "watching has ended after an hour" in html


def test_the_page_of_its_workflow_leads_to_the_console(operator: Client, tenant: Tenant) -> None:
    session = make_session(tenant)
    workflow = reverse("admin:jobs_workflow_change", args=[session.pk])
    blind = Client()
    blind.force_login(make_operator("jobs.view_workflow"))

    assert f'href="{page_of(session)}"' in shown(operator, workflow)
    assert page_of(session) not in shown(blind, workflow)
