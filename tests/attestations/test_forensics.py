"""The timeline of a workflow on the middle floor: attestations, and what only they remember."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from attestations.models import Attestation
from jobs.forensics.moments import Moment
from jobs.forensics.timeline import forensics_of
from jobs.models import Job, Tenant, Workflow
from tests.factories import make_attestation, make_job, make_workflow

START = timezone.now().replace(microsecond=0) - timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def make_unit(tenant: Tenant, *, attempt: int = 1, **fields: Any) -> tuple[Workflow, Job]:
    """A workflow of one job whose last attempt ran from the 30th to the 40th minute."""
    ended = {"completed_at": START + 40 * MINUTE}
    workflow = make_workflow(tenant, **{"status": "completed", **ended, **fields})
    Workflow.objects.filter(pk=workflow.pk).update(created_at=START)
    workflow.refresh_from_db()
    job = make_job(
        tenant,
        workflow=workflow,
        step_index=0,
        step_name="paint",
        status="completed",
        attempt=attempt,
        max_attempts=max(attempt, 3),
        started_at=START + 30 * MINUTE,
        worker="gpu-1",
        **ended,
    )
    return workflow, job


def attest(job: Job, data: Any, **fields: Any) -> Attestation:
    return make_attestation(job, attestation_data=data, **fields)


def moments_of(workflow: Workflow, *types: str) -> list[Moment]:
    return [moment for moment in forensics_of(workflow).moments if moment.type in types]


def millis(at: Any) -> int:
    return int(at.timestamp() * 1000)


def test_earlier_attempts_are_remembered_by_their_attestations(tenant: Tenant) -> None:
    workflow, job = make_unit(tenant, attempt=2)
    attest(
        job,
        {"failed_at": millis(START + 20 * MINUTE), "error": {"code": "oom", "message": "Out of memory."}},
        attestation_key=f"worker-failure:job-{job.pk}",
        attestation_type="worker_failure",
        status="failed",
        worker_id="gpu-0",
        started_at=START + 10 * MINUTE,
    )
    attest(
        job,
        {"completed_at": millis(START + 40 * MINUTE)},
        attestation_key=f"worker-completion:job-{job.pk}:attempt-1",
        retry_attempt=1,
        worker_id="gpu-1",
        started_at=START + 30 * MINUTE,
    )

    attempts = moments_of(workflow, "attempt_started", "attempt_ended")

    assert [(moment.type, moment.attempt, moment.at, moment.step) for moment in attempts] == [
        ("attempt_started", 1, START + 10 * MINUTE, "paint"),
        ("attempt_ended", 1, START + 20 * MINUTE, "paint"),
        ("attempt_started", 2, START + 30 * MINUTE, "paint"),
        ("attempt_ended", 2, START + 40 * MINUTE, "paint"),
    ]
    assert attempts[1].title == "Attempt 1 failed: Out of memory."
    assert attempts[1].duration_ms == 600_000
    assert attempts[2].data["waited_ms"] == 600_000
    assert forensics_of(workflow).durations["retrying_ms"] == 600_000


def test_each_attestation_is_told_with_its_key_and_digest(tenant: Tenant) -> None:
    workflow, job = make_unit(tenant)
    of_job = attest(job, {"miniapp_req": {}, "emprops_req_payload": {}, "completed_at": millis(START)})
    of_run = make_attestation(
        tenant=tenant,
        workflow=workflow,
        attestation_key=f"workflow-completion:{workflow.workflow_id}",
        attestation_type="workflow_completion",
        entity_type="workflow",
    )

    attested = moments_of(workflow, "attempt_attested", "run_attested")

    assert [moment.data["attestation_key"] for moment in attested] == [
        of_job.attestation_key,
        of_run.attestation_key,
    ]
    assert [moment.data["digest"] for moment in attested] == [of_job.digest, of_run.digest]
    assert (attested[0].data["holds_request"], attested[0].data["holds_payload"]) == (True, True)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"result": "https://cdn.example.com/a.png", "completed_at": 1_700_000_100_000},
        {"completed_at": "2023-11-14T22:15:00Z"},
        {"completed_at": True, "failed_at": None},
        {"completed_at": -1},
        {"completed_at": 10**30},
        {"completed_at": {"$date": 5}},
        {"error": "a text"},
        {"error": {"code": 7, "message": ["x"]}},
        {"error": {"message": "m" * 100_000}},
        [],
        [1, 2],
        "text",
        5,
        True,
    ],
)
def test_old_attestations_are_read_whatever_they_hold(tenant: Tenant, data: Any) -> None:
    workflow, job = make_unit(tenant, attempt=2)
    attest(
        job,
        data,
        attestation_key=f"worker-failure:job-{job.pk}",
        attestation_type="worker_failure",
        status="failed",
        worker_id="",
    )

    (attested,) = moments_of(workflow, "attempt_attested")
    ended = next(moment for moment in moments_of(workflow, "attempt_ended") if moment.attempt == 1)

    assert (attested.data["holds_request"], attested.data["holds_payload"]) == (False, False)
    assert ended.data["outcome"] == "failed"
    assert len(ended.title) < 1_000


def test_an_old_error_that_is_a_text_is_shown(tenant: Tenant) -> None:
    workflow, job = make_unit(tenant, attempt=2)
    attest(job, {"error": "CUDA out of memory"}, attestation_type="worker_failure", status="failed")

    ended = next(moment for moment in moments_of(workflow, "attempt_ended") if moment.attempt == 1)

    assert ended.title == "Attempt 1 failed: CUDA out of memory."


def test_an_attempt_never_ends_before_it_began(tenant: Tenant) -> None:
    workflow, job = make_unit(tenant, attempt=2)
    began = START + 10 * MINUTE + timedelta(microseconds=900)
    attest(job, {"completed_at": millis(began)}, started_at=began)

    started, ended = moments_of(workflow, "attempt_started", "attempt_ended")[:2]

    assert (started.type, ended.type) == ("attempt_started", "attempt_ended")
    assert (ended.at, ended.duration_ms) == (began, 0)


def test_expired_attestations_are_said_to_be(tenant: Tenant, settings: Any) -> None:
    workflow, _ = make_unit(tenant, attempt=3)
    settings.ATTESTATION_RETENTION_DAYS = 7
    assert moments_of(workflow, "attestations_expired") == []  # missing, but not for their age
    ended = {"created_at": START - timedelta(days=9), "completed_at": START - timedelta(days=8)}
    Workflow.objects.filter(pk=workflow.pk).update(**ended)
    workflow.refresh_from_db()

    (expired,) = moments_of(workflow, "attestations_expired")

    assert expired.at == workflow.completed_at + timedelta(days=7)  # type: ignore[operator]
    assert forensics_of(workflow).left_out == {"attempts": 2}


def test_many_attestations_are_counted(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attestations.forensics.SOURCE_ROWS_MAX", 5)
    workflow, job = make_unit(tenant, attempt=12)
    for earlier in range(12):
        attest(
            job,
            {"failed_at": millis(START + earlier * MINUTE)},
            attestation_key=f"worker-failure:job-{job.pk}:attempt-{earlier}",
            retry_attempt=earlier,
            started_at=START + earlier * MINUTE,
        )

    found = forensics_of(workflow)

    shown = [moment.attempt for moment in found.moments if moment.type == "attempt_attested"]
    assert shown == [8, 9, 10, 11, 12]
    assert found.left_out == {"attestations": 7}


def test_attempts_that_are_not_attested_are_missing_besides_those_left_out(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attestations.forensics.SOURCE_ROWS_MAX", 2)
    workflow, job = make_unit(tenant, attempt=6)
    for earlier in (2, 3, 4, 5):
        key = f"worker-failure:job-{job.pk}:attempt-{earlier}"
        attest(job, {}, attestation_key=key, retry_attempt=earlier, started_at=START)

    assert forensics_of(workflow).left_out == {"attestations": 2, "attempts": 2}


def test_an_attempt_has_the_end_that_its_attestation_says(tenant: Tenant) -> None:
    workflow, job = make_unit(tenant)
    ended: dict[str, Any] = {"status": "cancelled", "completed_at": None, "cancelled_at": START + 40 * MINUTE}
    error = {"code": "cancelled", "message": "Cancelled by root."}
    Job.objects.filter(pk=job.pk).update(run_at=START, error=error, **ended)
    oom = {"code": "oom", "message": "Out of memory."}
    attest(
        job,
        {"failed_at": millis(START + 35 * MINUTE), "error": oom},
        status="failed",
        started_at=START + 30 * MINUTE,
    )

    ends = moments_of(workflow, "attempt_ended", "step_ended")

    assert [(each.type, each.at, each.title) for each in ends] == [
        ("attempt_ended", START + 35 * MINUTE, "Attempt 1 failed: Out of memory."),
        (
            "step_ended",
            START + 40 * MINUTE,
            "The step cancelled without another attempt: Cancelled by root.",
        ),
    ]
    assert ends[1].step == "paint"
    assert forensics_of(workflow).durations["running_ms"] == 5 * 60_000


def test_an_end_before_the_attempt_began_is_not_believed(tenant: Tenant) -> None:
    workflow, job = make_unit(tenant)
    attest(job, {"completed_at": 1})

    (ended,) = moments_of(workflow, "attempt_ended", "step_ended")

    assert (ended.type, ended.at) == ("attempt_ended", START + 40 * MINUTE)


def test_another_tenants_attestations_are_not_in_it(tenant: Tenant, other_tenant: Tenant) -> None:
    workflow, _ = make_unit(tenant, workflow_id="same-name")
    _, anothers = make_unit(other_tenant, workflow_id="same-name")
    attest(anothers, {})

    assert moments_of(workflow, "attempt_attested") == []
