"""The timeline of a workflow: in order, bounded, and with what the time went into."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from jobs.forensics import timeline
from jobs.forensics.moments import Moment
from jobs.forensics.timeline import MOMENTS_MAX, forensics_of, timeline_source
from jobs.models import Event, Job, Queue, Tenant, Workflow
from jobs.services.jobs import complete_job, fail_job
from jobs.services.workflows import Step, cancel_workflow, retry_workflow, start_workflow
from tests.conftest import ApiClient
from tests.factories import (
    claim_one,
    make_attestation,
    make_collection,
    make_event,
    make_job,
    make_operator,
    make_superuser,
    make_workflow,
)
from tests.jobs.test_api_access import assert_problem
from tests.jobs.test_generations import generate, work

START = timezone.now().replace(microsecond=0) - timedelta(hours=1)
MINUTE = timedelta(minutes=1)
PAINT = Step(name="paint", payload={}, service_required="artgen")


@pytest.fixture
def only_source() -> Iterator[Callable[[list[Moment]], None]]:
    """Let a workflow's timeline be these moments, told in this order."""
    before = list(timeline.sources)

    def tell(moments: list[Moment]) -> None:
        timeline.sources[:] = []
        timeline_source(lambda workflow: moments)

    yield tell
    timeline.sources[:] = before


def moved(workflow: Workflow, at: Any = START, **times: Any) -> Workflow:
    """The workflow as if it had been asked for then."""
    Workflow.objects.filter(pk=workflow.pk).update(created_at=at, **times)
    workflow.refresh_from_db()
    return workflow


def make_step(workflow: Workflow, index: int = 0, **fields: Any) -> Job:
    fields = {"service_required": "artgen", "step_name": f"step-{index}", **fields}
    job = make_job(workflow.tenant, workflow=workflow, step_index=index, **fields)
    Job.objects.filter(pk=job.pk).update(created_at=workflow.created_at)
    return job


def types_of(workflow: Workflow) -> list[str]:
    return [moment.type for moment in forensics_of(workflow).moments]


def test_a_finished_workflow_says_where_its_time_went(tenant: Tenant) -> None:
    at = [START + n * MINUTE for n in range(10)]
    workflow = moved(make_workflow(tenant, status="completed", total_steps=2), completed_at=at[9])
    make_step(
        workflow, 0, status="completed", attempt=1, started_at=at[2], completed_at=at[5], worker="gpu-0"
    )
    make_step(
        workflow, 1, status="completed", attempt=1, started_at=at[6], completed_at=at[9], worker="gpu-0"
    )

    found = forensics_of(workflow)

    assert [(moment.type, moment.step, moment.at) for moment in found.moments] == [
        ("requested", "", at[0]),
        ("queued", "step-0", at[0]),
        ("attempt_started", "step-0", at[2]),
        ("attempt_ended", "step-0", at[5]),
        ("queued", "step-1", at[5]),
        ("attempt_started", "step-1", at[6]),
        ("attempt_ended", "step-1", at[9]),
        ("run_ended", "", at[9]),
    ]
    assert found.duration_ms == 9 * 60_000
    assert found.durations == {
        "queued_ms": 120_000,
        "running_ms": 360_000,
        "retrying_ms": 0,
        "between_steps_ms": 60_000,
        "stopped_ms": 0,
        "telling_ms": 0,
    }
    assert found.moments[2].data["waited_ms"] == 120_000
    assert found.moments[3].duration_ms == 180_000
    assert [(gap.ms, gap.awaited) for gap in found.gaps] == [
        (180_000, "gpu-0 at attempt 1 of step-0"),
        (180_000, "gpu-0 at attempt 1 of step-1"),
        (120_000, "the first step to be taken"),
        (60_000, "the next step to be taken"),
    ]


def test_at_the_same_time_causes_come_before_what_they_cause(
    tenant: Tenant, only_source: Callable[[list[Moment]], None]
) -> None:
    workflow = make_workflow(tenant)
    first, second = make_step(workflow, 0), make_step(workflow, 1, status="waiting")
    in_order = [
        ("requested", None),
        ("queued", first),
        ("attempt_started", first),
        ("attempt_ended", first),
        ("attempt_attested", first),
        ("queued", second),
        ("attempt_started", second),
        ("attempt_ended", second),
        ("attempt_attested", second),
        ("run_ended", None),
        ("run_attested", None),
        ("message_written", None),
        ("delivery_attempted", None),
        ("receipt", None),
        ("user_notified", None),
        ("evaluated", None),
        ("waiting", None),
    ]
    moments = [
        Moment(at=START, type=type_, title=type_, job_id=job.pk if job else None, attempt=1 if job else None)
        for type_, job in in_order
    ]
    # Sources name steps in their order; nothing else helps.
    queued = [moment for moment in moments if moment.type == "queued"]
    only_source(queued + [moment for moment in reversed(moments) if moment.type != "queued"])

    found = forensics_of(workflow)

    assert [(moment.type, moment.job_id) for moment in found.moments] == [
        (type_, job.pk if job else None) for type_, job in in_order
    ]


def test_a_retry_is_told_with_who_wanted_it_and_why(tenant: Tenant) -> None:
    workflow, (job,) = start_workflow(
        tenant,
        workflow_id="w-1",
        actor_id="app",
        data={},
        steps=[PAINT],
    )
    fail_job(job, claim_one(job).lease_token, "broken", "It broke.", is_retryable=False)
    retry_workflow(workflow, by="root", reason="the disk was full")
    complete_job(job, claim_one(job).lease_token, {"url": "https://cdn.example.com/a.png"})
    workflow.refresh_from_db()

    found = forensics_of(workflow)

    story = [(moment.type, moment.attempt) for moment in found.moments if "attested" not in moment.type]
    assert [each for each in story if each[0] != "retried"] == [
        ("requested", None),
        ("queued", None),
        ("attempt_started", 1),
        ("attempt_ended", 1),
        ("run_ended", 1),
        ("attempt_started", 2),
        ("attempt_ended", 2),
        ("run_ended", 2),
    ] + [each for each in story if each[0] == "retry_completed"]
    types = [type_ for type_, _ in story]
    assert types.index("run_ended") < types.index("retried") < types.index("attempt_started", 3)
    titles = [moment.title for moment in found.moments]
    assert "Attempt 1 failed: It broke." in titles
    assert "Run 1 failed: It broke." in titles
    assert "root had the workflow run again: the disk was full." in titles
    assert found.left_out == {}


def test_a_stopped_time_is_not_a_queued_one(tenant: Tenant) -> None:
    workflow = moved(make_workflow(tenant, status="completed", attempt=2))
    job = make_step(workflow, status="completed", attempt=2, started_at=START + 40 * MINUTE, worker="gpu-1")
    ended = {"completed_at": START + 41 * MINUTE}
    Job.objects.filter(pk=job.pk).update(**ended)
    make_attestation(
        job,
        attestation_key=f"worker-failure:job-{job.pk}",
        attestation_type="worker_failure",
        status="failed",
        started_at=START + MINUTE,
        attestation_data={"failed_at": int((START + 3 * MINUTE).timestamp() * 1000)},
    )
    retried = Event.objects.create(tenant=tenant, workflow=workflow, type="retried", data={"by": "root"})
    Event.objects.filter(pk=retried.pk).update(created_at=START + 30 * MINUTE)
    moved(
        workflow,
        retry_execution_data={
            "run": 2,
            "previous": {"status": "failed", "failed_at": (START + 3 * MINUTE).isoformat(), "error": None},
        },
        **ended,
    )

    found = forensics_of(workflow)

    assert found.durations["queued_ms"] == 11 * 60_000
    assert found.durations["running_ms"] == 3 * 60_000
    assert found.durations["stopped_ms"] == 27 * 60_000
    assert sum(found.durations.values()) == found.duration_ms
    assert found.gaps[0].awaited == "somebody to retry it"


def test_a_live_workflow_says_what_it_waits_for(tenant: Tenant) -> None:
    workflow = moved(make_workflow(tenant, total_steps=2))
    job = make_step(workflow, 0)
    make_step(workflow, 1, status="waiting")

    found = forensics_of(workflow)

    assert [moment.type for moment in found.moments] == ["requested", "queued", "waiting"]
    assert found.moments[-1].title == "Waiting for a worker that offers 'artgen'."
    assert (found.moments[-1].job_id, found.moments[-1].step) == (job.pk, "step-0")
    assert found.ended_at is None
    assert timedelta(milliseconds=found.durations["queued_ms"]) == pytest.approx(
        found.asked_at - START, abs=timedelta(seconds=1)
    )
    assert found.durations["queued_ms"] == found.duration_ms
    assert found.gaps[0].before == found.moments[-1].title


@pytest.mark.parametrize(
    ("fields", "title"),
    [
        ({"status": "running", "worker": "gpu-7"}, "Waiting for gpu-7 at attempt 1."),
        (
            {"status": "running", "worker": "gpu-7", "cancel_requested_at": START},
            "Waiting for gpu-7 at attempt 1, which was asked to stop.",
        ),
        (
            {"run_at": START + timedelta(days=400), "attempt": 1},
            f"Waiting for {START + timedelta(days=400):%Y-%m-%d %H:%M:%S} UTC, when attempt 2 is due.",
        ),
        ({"service_required": ""}, "Waiting for a cluster of the queue 'default'."),
    ],
    ids=["runs", "runs, asked to stop", "due later", "due"],
)
def test_what_is_awaited_is_said_in_words(tenant: Tenant, fields: dict[str, Any], title: str) -> None:
    workflow = make_workflow(tenant)
    make_step(workflow, **fields)

    (waiting,) = [moment for moment in forensics_of(workflow).moments if moment.type == "waiting"]

    assert waiting.title == title


def test_a_paused_queue_is_what_is_awaited(tenant: Tenant) -> None:
    Queue.objects.filter(name="default", is_remote=False).update(paused_at=START)
    workflow = make_workflow(tenant)
    make_step(workflow, service_required="")

    assert forensics_of(workflow).moments[-1].title == "Waiting for 'default' to be resumed: it is paused."


def test_log_lines_are_summed_up_per_attempt(tenant: Tenant) -> None:
    workflow = moved(make_workflow(tenant))
    job = make_step(workflow, status="running", attempt=2, started_at=START + 30 * MINUTE, worker="gpu-1")
    make_attestation(
        job,
        attestation_key=f"worker-failure:job-{job.pk}",
        attestation_type="worker_failure",
        status="failed",
        started_at=START + MINUTE,
        attestation_data={"failed_at": int((START + 20 * MINUTE).timestamp() * 1000)},
    )
    write_log(job, 30_000, begin=START + 2 * MINUTE, seconds=600)
    write_log(job, 20_000, begin=START + 31 * MINUTE, seconds=60)
    make_event(job, "progress", progress=10)

    found = forensics_of(workflow)

    logs = [moment for moment in found.moments if moment.type == "log"]
    assert [(moment.attempt, moment.data["count"], moment.data["lines"]) for moment in logs] == [
        (1, 30_000, 60_000),
        (2, 20_000, 40_000),
    ]
    assert logs[0].data["first_at"] == START + 2 * MINUTE
    assert (logs[0].duration_ms or 0) // 1_000 == 600
    assert len([moment for moment in found.moments if moment.type == "progress"]) == 1
    assert len(found.moments) < 15
    # What was printed all the time is no time in which nothing happened.
    assert all(not gap.begin < START + 5 * MINUTE < gap.end for gap in found.gaps)


def write_log(job: Job, count: int, *, begin: Any, seconds: int) -> None:
    step = timedelta(seconds=seconds) / (count - 1)
    Event.objects.bulk_create(
        Event(
            tenant_id=job.tenant_id,
            job=job,
            workflow_id=job.workflow_id,
            type="log",
            data={"lines": ["one", "two"]},
            created_at=begin + n * step,
        )
        for n in range(count)
    )


def test_a_hundred_steps_cost_no_more_statements_than_one(tenant: Tenant, statements: list[str]) -> None:
    short, long = make_workflow(tenant, total_steps=1), make_workflow(tenant, total_steps=100)
    for workflow in (short, long):
        for index in range(workflow.total_steps):
            job = make_step(workflow, index, status="completed", attempt=1, started_at=timezone.now())
            make_event(job)
            make_attestation(job)
    counts = []
    for workflow in (short, long):
        statements.clear()
        forensics_of(workflow)
        counts.append(len(statements))

    assert counts[0] == counts[1]
    assert counts[0] <= 12
    found = forensics_of(long)
    assert len([moment for moment in found.moments if moment.type == "attempt_ended"]) == 100


def test_too_much_is_cut_in_the_middle_and_said(
    tenant: Tenant, only_source: Callable[[list[Moment]], None]
) -> None:
    workflow = make_workflow(tenant)
    only_source([Moment(at=START + n * MINUTE, type="x", title=str(n)) for n in range(MOMENTS_MAX + 7)])

    found = forensics_of(workflow)

    assert len(found.moments) == MOMENTS_MAX
    assert (found.moments[0].title, found.moments[-1].title) == ("0", str(MOMENTS_MAX + 6))
    assert found.left_out == {"moments": 7}


def test_too_many_events_are_counted(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.forensics.sources.SOURCE_ROWS_MAX", 3)
    workflow = make_workflow(tenant)
    job = make_step(workflow)
    for _ in range(5):
        make_event(job, "cancel_requested", by="root")

    found = forensics_of(workflow)

    assert len([moment for moment in found.moments if moment.type == "cancel_requested"]) == 3
    assert found.left_out == {"events": 2}


@pytest.mark.parametrize("data", [{}, {"by": None}, {"by": 7, "reason": {"a": 1}}, [], "text", 5])
def test_an_event_of_any_shape_is_read(tenant: Tenant, data: Any) -> None:
    workflow = make_workflow(tenant)
    for type_ in Event.Type.values:
        Event.objects.create(tenant=tenant, workflow=workflow, type=type_, data=data)
    Event.objects.create(tenant=tenant, workflow=workflow, type="of_later_times", data=data)

    types = types_of(workflow)

    told_elsewhere = {"status", "transaction", "complete", "error"}
    assert {*Event.Type.values, "of_later_times"} - told_elsewhere <= set(types)


@pytest.mark.parametrize("odd", [[], "text", {"previous": []}, {"previous": {"failed_at": "x"}, "run": 1}])
def test_a_workflow_with_odd_data_is_read(tenant: Tenant, odd: Any) -> None:
    workflow = make_workflow(
        tenant, miniapp_req=odd, data=odd, retry_execution_data=odd, status="failed", error=odd or ["x"]
    )
    make_step(workflow, status="failed", attempt=1, started_at=START, error=odd or "a text")

    assert "run_ended" in types_of(workflow)


def test_a_step_that_nobody_began_has_no_attempt(tenant: Tenant) -> None:
    workflow, (job,) = start_workflow(tenant, workflow_id="w-1", actor_id="app", data={}, steps=[PAINT])
    cancel_workflow(workflow, by="root", reason="a mistake")
    workflow.refresh_from_db()

    found = forensics_of(workflow)

    types = [moment.type for moment in found.moments]
    assert "attempt_started" not in types
    assert {"cancelled", "step_ended", "run_ended"} <= set(types)
    assert "root cancelled the workflow: a mistake." in [moment.title for moment in found.moments]


def test_the_evaluation_is_the_last_word(tenant: Tenant) -> None:
    verdict = {
        "is_cleanup_evaluated": True,
        "status_category": "filed",
        "problem_type": "notification_missing",
        "problem_details": {"missing": "Nobody said so."},
        "evaluated_at": timezone.now(),
    }
    workflow = make_workflow(
        tenant, status="completed", notification_status="delivered", user_id="u", **verdict
    )
    ended_at = START + 9 * MINUTE
    moved(workflow, completed_at=ended_at)
    make_step(workflow, status="completed", attempt=1, started_at=START + MINUTE, completed_at=ended_at)

    found = forensics_of(workflow)

    evaluated, waiting = found.moments[-2:]
    assert evaluated.title == "The evaluator found it filed: notification_missing."
    assert evaluated.data["problem_details"] == {"missing": "Nobody said so."}
    assert waiting.title == "Waiting for the app to confirm, by user_notified, that its user knows."


def test_the_api_answers_all_of_it(api: ApiClient, tenant: Tenant) -> None:
    workflow_id = generate(
        api, make_collection(tenant), {"variables": {"prompt": "x"}, "user_id": "user-9"}
    ).json()["workflow_id"]
    work(api, error={"code": "oom", "message": "Out of memory."}, retryable=True)
    Job.objects.filter(status="queued").update(run_at=timezone.now())
    work(api, {"url": "https://cdn.example.com/a.png"})
    work(api, {"url": "https://cdn.example.com/b.png"})

    response = api.send("get", f"/api/workflows/{workflow_id}/forensics")

    assert response.status_code == 200
    body = response.json()
    assert body.keys() == {
        "workflow_id",
        "status",
        "run",
        "notification_status",
        "trace_id",
        "evaluation",
        "started_at",
        "ended_at",
        "duration_ms",
        "durations",
        "gaps",
        "timeline",
        "left_out",
    }
    assert (body["status"], body["run"], body["notification_status"]) == ("completed", 1, "owed")
    assert body["evaluation"] == {
        "is_cleanup_evaluated": False,
        "status_category": "",
        "problem_type": "",
        "problem_details": None,
        "evaluated_at": None,
    }
    assert [(each["type"], each["step"], each["attempt"]) for each in body["timeline"]] == [
        ("requested", "", None),
        ("queued", "paint", None),
        ("attempt_started", "paint", 1),
        ("attempt_ended", "paint", 1),
        ("attempt_attested", "paint", 1),
        ("attempt_started", "paint", 2),
        ("attempt_ended", "paint", 2),
        ("queued", "frame", None),
        ("attempt_attested", "paint", 2),
        ("attempt_started", "frame", 1),
        ("attempt_ended", "frame", 1),
        ("run_ended", "", 1),
        ("attempt_attested", "frame", 1),
        ("run_attested", "", 1),
        ("waiting", "", None),
    ]
    request, failed = body["timeline"][0], body["timeline"][3]
    assert request["data"]["metadata"]["request_id"] == workflow_id
    assert request["data"]["trace_id"] == body["trace_id"]
    assert failed["data"]["error"] == {"code": "oom", "message": "Out of memory."}
    assert failed["title"] == "Attempt 1 failed: Out of memory."
    moments = [each["at"] for each in body["timeline"]]
    assert moments == sorted(moments)
    assert body["durations"]["retrying_ms"] >= 0
    assert body["left_out"] == {}


def test_another_tenants_workflow_is_not_found(
    api_as: Callable[..., ApiClient], tenant: Tenant, other_tenant: Tenant
) -> None:
    make_workflow(tenant, workflow_id="w-1")

    response = api_as(other_tenant).send("get", "/api/workflows/w-1/forensics")

    assert_problem(response, 404, "not_found")


def test_it_takes_the_scope_read(api_as: Callable[..., ApiClient], tenant: Tenant) -> None:
    make_workflow(tenant, workflow_id="w-1")

    assert api_as(tenant, "read").send("get", "/api/workflows/w-1/forensics").status_code == 200
    assert_problem(
        api_as(tenant, "submit", "work", "manage").send("get", "/api/workflows/w-1/forensics"),
        403,
        "scope_missing",
    )


def test_the_page_of_a_workflow_shows_its_timeline(tenant: Tenant, client: Client) -> None:
    workflow = moved(make_workflow(tenant))
    job = make_step(workflow, status="running", worker="gpu-7", started_at=START + 5 * MINUTE)
    make_event(job)
    client.force_login(make_superuser())

    page = client.get(f"/admin/jobs/workflow/{workflow.pk}/change/").content.decode()

    assert "Timeline" in page
    assert "Attempt 1 began on gpu-7." in page
    assert "1 line of its log." in page
    assert "Waiting for gpu-7 at attempt 1." in page


def test_an_account_sees_no_more_of_it_than_its_rights(tenant: Tenant, client: Client) -> None:
    workflow = moved(make_workflow(tenant))
    job = make_step(workflow, status="running", worker="gpu-7", started_at=START + 5 * MINUTE)
    make_attestation(job)
    path = f"/admin/jobs/workflow/{workflow.pk}/change/"

    client.force_login(make_operator("jobs.view_workflow"))
    without = client.get(path).content.decode()
    client.force_login(make_operator("jobs.view_workflow", "attestations.view_attestation"))
    with_it = client.get(path).content.decode()

    assert "Attempt 1 was attested" not in without
    assert "Attempt 1 was attested" in with_it
