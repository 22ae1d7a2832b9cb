"""However a session's workflow ends, its stream says so; an hour after it began the stream is forgotten."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from attestations.models import Attestation, ProofSession
from attestations.sessions.starting import start_session
from attestations.sessions.telling import SessionSource, describe_session
from config.streaming import Cursor, News
from jobs.hygiene.retention import apply_retentions
from jobs.models import Event, Job, Tenant, Workflow
from jobs.queue.claim import Lease
from jobs.queue.finish import finish
from jobs.queue.outcomes import Outcome, make_error
from jobs.queue.sweep import sweep
from jobs.services.events import record_event, record_of_attempt
from jobs.services.workflows import cancel_workflow
from tests.attestations.sessions.watching import frames_of, of_type
from tests.factories import claim_one


def started(tenant: Tenant, name: str = "s-1") -> tuple[ProofSession, Job]:
    session, _ = start_session(tenant, name, "groth16", actor_id="ada")
    return session, Job.objects.get(workflow=session.pk, step_name="generate")


def fail(job: Job, code: str, message: str = "no") -> None:
    row = claim_one(job)
    error = make_error(code, message)
    finish([Outcome(lease=Lease(row.id, row.lease_token), status=Job.Status.FAILED, error=error)])


@pytest.mark.parametrize(
    ("code", "told"), [("exit_4", 4), ("exit_137", 137), ("killed", -1), ("timed_out", -1), ("poison", -1)]
)
def test_a_failed_phase_is_an_error_with_the_exit_code(tenant: Tenant, code: str, told: int) -> None:
    session, job = started(tenant)

    fail(job, code, "no good")

    assert frames_of(session)[-1].data == {"error": "no good", "phase": "generating", "code": told}


def test_a_cancelled_session_ends_with_an_error(tenant: Tenant) -> None:
    session, _ = started(tenant)

    cancel_workflow(Workflow.objects.get(pk=session.pk), by="ada")

    error = of_type(frames_of(session), "error")
    assert error == [{"error": "Cancelled by ada.", "phase": "generating", "code": -1}]
    session.refresh_from_db()
    assert describe_session(session)["status"] == "error"


def test_a_session_that_nobody_runs_within_the_hour_ends(tenant: Tenant) -> None:
    session, job = started(tenant)
    Job.objects.filter(pk=job.pk).update(expires_at=timezone.now() - timedelta(seconds=1))

    sweep()

    assert frames_of(session)[-1].event == "error"
    assert Workflow.objects.get(pk=session.pk).status == "failed"


def test_many_sessions_that_end_together_cost_no_more_statements(tenant: Tenant) -> None:
    def count(names: list[str]) -> int:
        rows = [claim_one(started(tenant, name)[1]) for name in names]
        error = make_error("exit_1", "no")
        ends = [
            Outcome(lease=Lease(row.id, row.lease_token), status=Job.Status.FAILED, error=error)
            for row in rows
        ]
        with CaptureQueriesContext(
            connection,
        ) as seen:
            finish(ends)
        return len(seen)

    assert count(["a"]) == count([f"b{number}" for number in range(20)])
    assert Event.objects.filter(type="error").count() == 21


def test_lines_of_an_attempt_that_is_over_are_not_told(tenant: Tenant) -> None:
    session, job = started(tenant)
    claim_one(job)
    line = [("log", {"lines": ["late"], "timestamp": 1})]
    assert record_of_attempt(job.pk, 1, line)

    assert not record_of_attempt(job.pk, 2, line)
    Job.objects.filter(pk=job.pk).update(attempt=2)
    assert not record_of_attempt(job.pk, 1, line)

    assert len(of_type(frames_of(session), "log")) == 1


def test_a_page_is_read_on_and_a_position_found_again(tenant: Tenant) -> None:
    session, job = started(tenant)
    claim_one(job)
    for start in range(0, 1_200, 400):
        lines = [("log", {"lines": [f"line {start + n}"], "timestamp": n}) for n in range(400)]
        record_of_attempt(job.pk, 1, lines)

    every = frames_of(session)
    rest = frames_of(session, position=700)

    assert [frame.id for frame in every] == list(range(1, 1_202))
    assert rest == every[700:]
    assert SessionSource().start(session.pk, 1_202) is None


def test_streams_of_many_sessions_are_read_by_as_many_statements_as_one(tenant: Tenant) -> None:
    sessions = [started(tenant, f"s-{number}")[0] for number in range(10)]
    source = SessionSource()

    with CaptureQueriesContext(connection) as seen:
        news = source.read({session.pk: Cursor() for session in sessions})

    assert len(news) == 10
    assert all(len(each.frames) == 1 and not each.is_over for each in news.values())
    assert len(seen) <= 1


def test_a_session_that_is_gone_has_ended(tenant: Tenant) -> None:
    session, _ = started(tenant)
    key = session.pk
    Job.objects.all().delete()
    Workflow.objects.all().delete()

    news = SessionSource().read({key: Cursor()})[key]

    assert news.is_over


def test_an_hour_later_its_stream_is_forgotten_and_its_workflow_stays(tenant: Tenant) -> None:
    over, job = started(tenant, "over")
    fail(job, "exit_1")
    young, young_job = started(tenant, "young")
    fail(young_job, "exit_1")
    running, _ = started(tenant, "running")
    an_hour_ago = timezone.now() - timedelta(minutes=61)
    Workflow.objects.filter(pk__in=[over.pk, running.pk]).update(created_at=an_hour_ago)

    gone = apply_retentions()

    assert gone["streams of proof sessions"] == 2
    kept = {key: Event.objects.filter(workflow=key).count() for key in (over.pk, running.pk, young.pk)}
    assert kept == {over.pk: 0, running.pk: 1, young.pk: 2}
    assert Workflow.objects.filter(pk=over.pk).exists()
    assert Attestation.objects.filter(workflow=over.pk).exists()


def test_what_others_say_of_the_workflow_is_not_of_its_stream(tenant: Tenant, api: Any) -> None:
    session, job = started(tenant)
    claim_one(job)

    api.send("POST", f"/api/workflows/{session.workflow_id}/cancel", {})

    assert Event.objects.filter(workflow=session.pk, type="cancel_requested").exists()
    assert [frame.event for frame in frames_of(session)] == ["status"]


def test_a_page_weighs_what_is_sent_of_it_and_only_the_last_one_ends(tenant: Tenant) -> None:
    session, _ = started(tenant)
    for _ in range(3):
        # Stored, a line of these takes a hundredth.
        record_event(session, Event.Type.LOG, {"lines": ["x" * 200_000], "timestamp": 1})
    cancel_workflow(session, by="ada")
    source, cursor = SessionSource(), Cursor()
    pages: list[News] = []

    while not pages or pages[-1].has_more:
        pages.append(source.read({session.pk: cursor})[session.pk])
        cursor = pages[-1].cursor

    assert [len(page.frames) for page in pages] == [3, 2]
    assert [page.is_over for page in pages] == [False, True]
    assert [frame.id for page in pages for frame in page.frames] == [1, 2, 3, 4, 5]
