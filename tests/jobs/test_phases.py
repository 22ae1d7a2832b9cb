"""Where a timeline says that the time went: which phase begins and ends with what."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from jobs.forensics import timeline
from jobs.forensics.moments import Moment
from jobs.forensics.timeline import Forensics, forensics_of, timeline_source
from jobs.models import Event, Job, Tenant, Workflow
from jobs.services.jobs import fail_job
from jobs.services.workflows import cancel_workflow
from tests.conftest import ApiClient
from tests.factories import claim_one, make_event, make_job, make_workflow
from tests.jobs.stepping import make_steps

START = timezone.now().replace(microsecond=0) - timedelta(hours=1)
MINUTE = timedelta(minutes=1)
MINUTE_MS = 60_000


@pytest.fixture
def another_source() -> Iterator[Callable[[list[Moment]], None]]:
    """Let these moments be told of every workflow, besides what is stored."""
    before = list(timeline.sources)

    def tell(moments: list[Moment]) -> None:
        timeline_source(lambda workflow: moments)

    yield tell
    timeline.sources[:] = before


def make_run(tenant: Tenant, at: datetime = START, **fields: Any) -> Workflow:
    """A workflow that was asked for then."""
    workflow = make_workflow(tenant, **fields)
    Workflow.objects.filter(pk=workflow.pk).update(created_at=at)
    workflow.refresh_from_db()
    return workflow


def make_step(workflow: Workflow, index: int = 0, **fields: Any) -> Job:
    fields = {"service_required": "artgen", "step_name": f"step-{index}", "run_at": START, **fields}
    job = make_job(workflow.tenant, workflow=workflow, step_index=index, **fields)
    Job.objects.filter(pk=job.pk).update(created_at=workflow.created_at)
    return job


def phases_of(found: Forensics) -> dict[str, int]:
    return {phase.removesuffix("_ms"): ms for phase, ms in found.durations.items() if ms}


def types_of(found: Forensics, *types: str) -> list[str]:
    return [moment.type for moment in found.moments if moment.type in types]


def make_outlasted(tenant: Tenant, **fields: Any) -> Workflow:
    """A workflow that failed after 10 minutes, for its second step expired while the first was still at work."""
    ended: dict[str, Any] = {"status": "failed", "failed_at": START + 10 * MINUTE}
    workflow = make_run(tenant, total_steps=2, **ended, **fields)
    times: dict[str, Any] = {"started_at": START + 4 * MINUTE, "completed_at": START + 20 * MINUTE}
    make_step(workflow, 0, status="completed", attempt=1, **times)
    make_step(workflow, 1, error={"code": "expired", "message": "Too late."}, **ended)
    return workflow


def test_an_attempt_that_outlasts_the_last_run_changes_no_phase(tenant: Tenant) -> None:
    workflow = make_outlasted(tenant, notification_status="owed", user_id="u")

    found = forensics_of(workflow)

    phases = phases_of(found)
    assert phases.pop("telling") >= 49 * MINUTE_MS
    assert phases == {"queued": 4 * MINUTE_MS, "running": 6 * MINUTE_MS}
    assert sum(phases.values()) == found.duration_ms


def test_a_run_that_failed_is_stopped_until_its_retry_whatever_ends_meanwhile(tenant: Tenant) -> None:
    workflow = make_outlasted(tenant)
    retried = Event.objects.create(tenant=tenant, workflow=workflow, type="retried", data={"by": "root"})
    Event.objects.filter(pk=retried.pk).update(created_at=START + 30 * MINUTE)
    retry = {
        "run": 2,
        "requested_at": (START + 30 * MINUTE).isoformat(),
        "previous": {"status": "failed", "failed_at": (START + 10 * MINUTE).isoformat()},
    }
    Workflow.objects.filter(pk=workflow.pk).update(
        status="running", attempt=2, failed_at=None, retry_execution_data=retry
    )
    Job.objects.filter(workflow=workflow, step_index=1).update(
        status="queued", failed_at=None, error=None, is_filled_in=True, run_at=START + 30 * MINUTE
    )
    workflow.refresh_from_db()

    found = forensics_of(workflow)

    phases = phases_of(found)
    assert phases["running"] == 6 * MINUTE_MS
    assert phases["stopped"] == 20 * MINUTE_MS
    assert phases["queued"] >= 33 * MINUTE_MS
    assert sum(phases.values()) == found.duration_ms
    # Nothing was queued behind a step that completed after its run had ended.
    (queued,) = [each for each in found.moments if each.type == "queued" and each.step == "step-1"]
    assert queued.at == START + 30 * MINUTE


def test_an_attempt_that_lives_through_a_retry_is_running_again(
    tenant: Tenant, another_source: Callable[[list[Moment]], None]
) -> None:
    workflow = make_run(tenant, attempt=2)
    job = make_step(workflow, status="running", started_at=START + MINUTE, worker="gpu-0")
    another_source(
        [
            Moment(at=START + 5 * MINUTE, type="run_ended", title="Run 1 failed.", attempt=1),
            Moment(at=START + 8 * MINUTE, type="retried", title="Again.", job_id=job.pk),
        ]
    )

    found = forensics_of(workflow)

    phases = phases_of(found)
    assert (phases["queued"], phases["stopped"]) == (MINUTE_MS, 3 * MINUTE_MS)
    assert sum(phases.values()) == found.duration_ms
    assert found.gaps[0].awaited == "gpu-0 at attempt 1 of step-0"


def test_telling_ends_also_where_the_word_of_it_is_forgotten(tenant: Tenant) -> None:
    days_ago = START - timedelta(days=9)
    ended: dict[str, Any] = {"status": "completed", "completed_at": days_ago + MINUTE}
    workflow = make_run(tenant, days_ago, notification_status="told", user_id="u", **ended)
    make_step(workflow, attempt=1, started_at=days_ago, run_at=days_ago, **ended)

    found = forensics_of(workflow)

    assert phases_of(found) == {"running": MINUTE_MS}
    assert types_of(found, "waiting") == []


def test_what_is_cancelled_between_attempts_ends_none(tenant: Tenant) -> None:
    workflow, (job,) = make_steps(tenant, count=1)
    Job.objects.filter(pk=job.pk).update(max_attempts=3)
    row = claim_one(job)
    job.refresh_from_db()
    fail_job(job, row.lease_token, "oom", "Out of memory.", is_retryable=True)
    cancel_workflow(workflow, by="root")
    workflow.refresh_from_db()

    found = forensics_of(workflow)

    ends = [each for each in found.moments if each.type in ("attempt_ended", "step_ended")]
    assert [(each.type, each.title) for each in ends] == [
        ("attempt_ended", "Attempt 1 failed: Out of memory."),
        ("step_ended", "The step cancelled without another attempt: Cancelled by root."),
    ]


def test_what_is_cancelled_while_it_runs_ends_its_attempt(tenant: Tenant) -> None:
    ended: dict[str, Any] = {"status": "cancelled", "cancelled_at": START + 9 * MINUTE}
    workflow = make_run(tenant, **ended)
    asked_at = START + 8 * MINUTE
    make_step(workflow, attempt=1, started_at=START + MINUTE, cancel_requested_at=asked_at, **ended)

    found = forensics_of(workflow)

    assert types_of(found, "attempt_ended", "step_ended") == ["attempt_ended"]
    assert phases_of(found) == {"queued": MINUTE_MS, "running": 8 * MINUTE_MS}


EXPIRED = {"code": "expired", "message": "It expired."}


@pytest.mark.parametrize(
    ("fields", "type_"),
    [
        ({}, "attempt_ended"),
        ({"expires_at": START + 30 * MINUTE}, "attempt_ended"),
        ({"expires_at": START + 5 * MINUTE}, "attempt_ended"),
        ({"expires_at": START + 5 * MINUTE, "run_at": START + 4 * MINUTE}, "step_ended"),
    ],
    ids=["its worker's word", "not due yet", "begun in time", "in the queue"],
)
def test_expired_is_only_what_nobody_began_in_time(
    tenant: Tenant, fields: dict[str, Any], type_: str
) -> None:
    ended: dict[str, Any] = {"status": "failed", "failed_at": START + 9 * MINUTE, "error": EXPIRED}
    workflow = make_run(tenant, **ended)
    make_step(workflow, attempt=1, started_at=START + MINUTE, **ended, **fields)

    assert types_of(forensics_of(workflow), "attempt_ended", "step_ended") == [type_]


def test_a_step_in_the_queue_is_being_retried_also_where_its_attempt_is_forgotten(tenant: Tenant) -> None:
    workflow = make_run(tenant)
    make_step(workflow, attempt=1, started_at=START + 2 * MINUTE, run_at=START + 9 * MINUTE)

    found = forensics_of(workflow)

    phases = phases_of(found)
    assert phases["queued"] == 2 * MINUTE_MS
    assert phases["retrying"] == found.duration_ms - 2 * MINUTE_MS
    assert "running" not in phases


def test_an_attempt_whose_end_is_forgotten_was_running_while_it_printed(tenant: Tenant) -> None:
    workflow = make_run(tenant)
    job = make_step(workflow, attempt=1, started_at=START + 2 * MINUTE, run_at=START + 9 * MINUTE)
    line = make_event(job)
    Event.objects.filter(pk=line.pk).update(created_at=START + 5 * MINUTE)

    phases = phases_of(forensics_of(workflow))

    assert (phases["queued"], phases["running"]) == (2 * MINUTE_MS, 3 * MINUTE_MS)


@pytest.mark.parametrize(("is_filled_in", "queued"), [(False, ["step-0"]), (True, ["step-0", "step-1"])])
def test_a_step_is_queued_only_where_its_turn_came(
    tenant: Tenant, is_filled_in: bool, queued: list[str]
) -> None:
    workflow = make_run(tenant, status="failed", failed_at=START + 10 * MINUTE, total_steps=2)
    times: dict[str, Any] = {"started_at": START + MINUTE, "completed_at": START + 2 * MINUTE}
    make_step(workflow, 0, status="completed", attempt=1, **times)
    ended: dict[str, Any] = {
        "status": "failed",
        "failed_at": START + 10 * MINUTE,
        "expires_at": START + 9 * MINUTE,
    }
    make_step(workflow, 1, error=EXPIRED, is_filled_in=is_filled_in, **ended)

    found = forensics_of(workflow)

    assert [each.step for each in found.moments if each.type == "queued"] == queued


def test_the_phases_make_up_the_duration_to_the_millisecond(tenant: Tenant) -> None:
    tick = timedelta(microseconds=1_700)
    workflow = make_run(tenant, status="completed", completed_at=START + 12 * tick, total_steps=4)
    for index in range(4):
        begun, over = START + (3 * index + 1) * tick, START + (3 * index + 3) * tick
        make_step(workflow, index, status="completed", attempt=1, started_at=begun, completed_at=over)

    found = forensics_of(workflow)

    assert found.duration_ms == 20
    assert sum(found.durations.values()) == found.duration_ms


def test_clocks_that_disagree_make_no_phase_longer(
    tenant: Tenant, another_source: Callable[[list[Moment]], None]
) -> None:
    workflow = make_run(tenant, status="completed", completed_at=START + 9 * MINUTE)
    times: dict[str, Any] = {"started_at": START + MINUTE, "completed_at": START + 9 * MINUTE}
    job = make_step(workflow, status="completed", attempt=2, **times)
    odd: dict[str, Any] = {"type": "attempt_ended", "title": "Odd.", "job_id": job.pk, "attempt": 1}
    another_source(
        [
            Moment(at=START - timedelta(days=9_000), **odd),
            Moment(at=START + timedelta(days=9_000), **odd),
        ]
    )

    found = forensics_of(workflow)

    assert sum(found.durations.values()) == found.duration_ms == 9 * MINUTE_MS
    assert min(found.durations.values()) == 0


def test_a_large_request_does_not_make_a_large_timeline(api: ApiClient, tenant: Tenant) -> None:
    ctx = {"miniapp_req": {"metadata": {"note": "x" * 500_000}}}
    job = {"service_required": "artgen", "payload": {}, "workflow_id": "w-1", "ctx": ctx}
    assert api.send("post", "/api/jobs", job).status_code == 201

    response = api.send("get", "/api/workflows/w-1/forensics")

    assert response.json()["timeline"][0]["data"]["metadata"].startswith('{"note": "xxx')
    assert len(response.content) < 5_000


def test_what_an_event_holds_is_bounded(tenant: Tenant) -> None:
    workflow = make_workflow(tenant)
    data = {"by": "b" * 5_000, "reason": {"why": ["r" * 5_000]}, "status": {"small": True}}
    Event.objects.create(tenant=tenant, workflow=workflow, type="retried", data=data)

    (retried,) = [each for each in forensics_of(workflow).moments if each.type == "retried"]

    assert len(retried.title) < 500
    assert len(json.dumps(retried.data)) < 2_000
    assert retried.data["status"] == {"small": True}
