"""Submitting and steering jobs over REST."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.models import Event, Job, Tenant, Workflow
from jobs.queue import handlers
from jobs.queue.handlers import served_queues
from jobs.testing import RunJobs
from tests.conftest import ApiClient
from tests.factories import make_job, make_workflow
from tests.jobs.test_api_access import assert_problem

TRACEPARENT = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"


def test_a_submitted_job_is_answered_whole(api: ApiClient, tenant: Tenant) -> None:
    body = {"service_required": "gpu", "payload": {"prompt": "a"}, "ctx": {"k": 1}, "priority": 70}

    response = api.send("post", "/api/jobs", body, traceparent=TRACEPARENT, x_request_id="req-1")

    assert response.status_code == 201
    answer = response.json()
    job = Job.objects.get()
    assert response["Location"] == f"/api/jobs/{job.pk}"
    assert answer["id"] == str(job.pk)
    assert (job.tenant, job.service_required, job.queue, job.priority) == (tenant, "gpu", "gpu", 70)
    assert (job.trace_id, job.request_id) == ("ab" * 16, "req-1")
    assert (response["X-Trace-Id"], response["X-Request-Id"]) == ("ab" * 16, "req-1")
    assert answer == api.send("get", f"/api/jobs/{job.pk}").json()


def test_the_actor_is_who_the_caller_says_or_the_key(api: ApiClient) -> None:
    named = api.send("post", "/api/jobs", {"service_required": "gpu"}, x_actor_id="alice").json()
    unnamed = api.send("post", "/api/jobs", {"service_required": "gpu"}).json()

    assert named["actor_id"] == "alice"
    assert unnamed["actor_id"].startswith("key:")


def test_a_slash_at_the_end_is_fine(api: ApiClient) -> None:
    assert api.send("post", "/api/jobs/", {"service_required": "gpu"}).status_code == 201


def test_enqueue_answers_the_wire_shape_and_the_job_runs(
    api: ApiClient, tenant: Tenant, run_jobs: RunJobs
) -> None:
    body = {"jobName": "system.ping", "payload": {}}

    response = api.send("post", "/api/jobs/enqueue", body, traceparent=TRACEPARENT, x_actor_id="bob")

    assert response.status_code == 201
    answer = response.json()
    assert answer.keys() == {"data", "meta"}
    assert answer["data"].keys() == {"jobId", "jobName", "enqueuedAt"}
    assert answer["meta"] == {"traceId": "ab" * 16}
    (job,) = run_jobs()
    assert str(job.pk) == answer["data"]["jobId"]
    assert (job.status, job.actor_id, job.tenant) == ("completed", "bob", tenant)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"jobName": "system.nothing", "payload": {}}, "/jobName"),
        ({"jobName": "system.ping", "payload": {"extra": 1}}, "/payload/extra"),
        ({"jobName": "system.ping", "payload": []}, "/payload"),
        ({"payload": {}}, "/jobName"),
        ({"jobName": "system.ping", "playload": {}}, "/playload"),
    ],
)
def test_a_wrong_enqueue_is_422_naming_the_field(api: ApiClient, body: dict[str, Any], pointer: str) -> None:
    problem = assert_problem(api.send("post", "/api/jobs/enqueue", body), 422, "invalid")

    assert [error["pointer"] for error in problem["errors"]] == [pointer]  # type: ignore[attr-defined]
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"service_required": None}, "/service_required"),
        ({"kind": "system.ping"}, ""),
        ({"queue": "default"}, "/queue"),
        ({"priority": 101}, "/priority"),
        ({"priority": 2**80}, "/priority"),
        ({"payload": "text"}, "/payload"),
        ({"run_at": "tomorrow"}, "/run_at"),
        ({"max_attempts": 0}, "/max_attempts"),
        ({"timeout_seconds": 10**9}, "/timeout_seconds"),
        ({"singleton_key": "x" * 201}, "/singleton_key"),
        ({"workflow_id": "has space"}, "/workflow_id"),
        ({"workflow_id": "mine:attempt-2"}, "/workflow_id"),
    ],
)
def test_a_wrong_job_is_422_naming_the_field(api: ApiClient, change: dict[str, Any], pointer: str) -> None:
    body = {"service_required": "gpu", **change}

    problem = assert_problem(api.send("post", "/api/jobs", body), 422, "invalid")

    assert [error["pointer"] for error in problem["errors"]] == [pointer]  # type: ignore[attr-defined]
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("raw", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "parse_error"),
        (b"\xff\xfe", "application/json", 400, "parse_error"),
        (b'{"payload": NaN}', "application/json", 400, "parse_error"),
        (b'{"payload": 1, "payload": 2}', "application/json", 400, "parse_error"),
        (b"[]", "application/json", 422, "invalid"),
        (b"null", "application/json", 422, "invalid"),
        (b"", "application/json", 422, "invalid"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
        (b"a=1", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b'{"payload": {"a": "\\u0000"}}', "application/json", 422, "invalid"),
        (b'{"payload": {"\\ud800": 1}}', "application/json", 422, "invalid"),
        (b'{"payload": {"a": 1e999}}', "application/json", 422, "invalid"),
        (b'{"payload": {"a": 1' + b"0" * 400 + b"}}", "application/json", 422, "invalid"),
        (b'{"payload": ' + b'{"a":' * 70 + b"1" + b"}" * 71, "application/json", 422, "invalid"),
        (b'{"payload": ' + b"[" * 5000 + b"]" * 5000 + b"}", "application/json", 422, "invalid"),
        (b'{"x": "' + b"y" * 1_100_000 + b'"}', "application/json", 413, "body_too_large"),
    ],
)
def test_no_body_whatever_yields_a_500(
    api: ApiClient, raw: bytes, content_type: str, status: int, code: str
) -> None:
    response = api.generic("POST", "/api/jobs", raw, content_type=content_type)

    assert_problem(response, status, code)
    assert not Job.objects.exists()


@pytest.mark.parametrize("path", ["/api/nothing", "/api/jobs/not-a-uuid", "/nothing"])
def test_an_unknown_address_is_404_as_a_problem(api: ApiClient, path: str) -> None:
    assert_problem(api.send("get", path), 404, "not_found")


def test_a_wrong_method_is_405_as_a_problem(api: ApiClient) -> None:
    assert_problem(api.send("delete", "/api/jobs"), 403, "permission_denied")


@pytest.mark.parametrize(
    "number",
    ["9" * 210 + "e99", "-" + "9" * 240 + ".5E+99", "1" + "0" * 202 + "e99", "2e300", "1" + "0" * 301],
)
def test_a_number_beyond_measure_is_422(api: ApiClient, number: str) -> None:
    raw = f'{{"service_required": "gpu", "ctx": {{"a": [{number}]}}}}'

    response = api.generic("POST", "/api/jobs", raw, content_type="application/json")

    problem = assert_problem(response, 422, "invalid")
    (error,) = problem["errors"]  # type: ignore[misc]
    assert (error["pointer"], error["code"]) == ("/ctx/a/0", "number_too_large")
    assert not Job.objects.exists()


@pytest.mark.parametrize("number", ["9" * 199 + ".9e+99", "0." + "0" * 250 + "9e99", "1" + "0" * 250])
def test_numbers_of_many_digits_are_kept(api: ApiClient, number: str) -> None:
    raw = f'{{"service_required": "gpu", "payload": {{"a": {number}}}}}'

    response = api.generic("POST", "/api/jobs", raw, content_type="application/json")

    assert response.status_code == 201
    assert float(Job.objects.get().payload["a"]) == float(number)


def test_a_queue_that_no_handler_uses_is_422(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    others = {kind: known for kind, known in handlers._handlers.items() if known.queue != "proof-publishing"}
    monkeypatch.setattr(handlers, "_handlers", others)
    body = {"kind": "system.ping", "queue": "proof-publishing"}

    problem = assert_problem(api.send("post", "/api/jobs", body), 422, "invalid")
    with_id = api.send("post", "/api/jobs", {**body, "workflow_id": "mine-1"})

    (error,) = problem["errors"]  # type: ignore[misc]
    assert (error["pointer"], error["code"]) == ("/queue", "queue_not_served")
    assert_problem(with_id, 422, "invalid")
    assert not Job.objects.exists()
    assert not Workflow.objects.exists()


def test_a_queue_that_some_handler_uses_is_taken(api: ApiClient) -> None:
    queue = served_queues()[-1]

    answer = api.send("post", "/api/jobs", {"kind": "system.ping", "queue": queue})

    assert answer.status_code == 201
    assert answer.json()["queue"] == queue


def test_a_job_with_a_workflow_id_is_a_workflow_of_one(api: ApiClient, run_jobs: RunJobs) -> None:
    body = {"kind": "system.ping", "workflow_id": "mine-1"}

    response = api.send("post", "/api/jobs", body)

    assert response.status_code == 201
    assert response.json()["workflow_id"] == "mine-1"
    run_jobs()
    assert Workflow.objects.get().status == "completed"
    assert_problem(api.send("post", "/api/jobs", body), 409, "workflow_exists")
    assert Job.objects.count() == 1


def test_lists_are_paged_by_cursor_and_filtered(api: ApiClient, tenant: Tenant) -> None:
    jobs = [make_job(tenant, service_required="gpu") for _ in range(5)]
    make_job(tenant, status="completed")

    page = api.send("get", "/api/jobs?limit=3&status=queued&service_required=gpu").json()
    rest = api.send("get", page["next"].split("testserver")[1]).json()

    ids = [job["id"] for job in page["results"] + rest["results"]]
    assert ids == [str(job.pk) for job in reversed(jobs)]
    assert rest["next"] is None


def test_cancelling_a_queued_job_ends_it(api: ApiClient, tenant: Tenant) -> None:
    job = make_job(tenant)

    answer = api.send("post", f"/api/jobs/{job.pk}/cancel", x_actor_id="carol").json()

    assert answer["status"] == "cancelled"
    assert Event.objects.get(job=job).data == {"by": "carol"}


def test_cancelling_a_running_job_asks_its_worker(api: ApiClient, tenant: Tenant) -> None:
    job = make_job(tenant, service_required="gpu", status="running")

    answer = api.send("post", f"/api/jobs/{job.pk}/cancel").json()

    assert answer["status"] == "running"
    assert answer["cancel_requested_at"] is not None
    beat = api.send("post", f"/api/jobs/{job.pk}/heartbeat", {"lease_token": str(job.lease_token)}).json()
    assert beat["cancel_requested"] is True
    error = {"code": "cancelled", "message": "as you wish"}
    end = {"lease_token": str(job.lease_token), "error": error}
    assert api.send("post", f"/api/jobs/{job.pk}/fail", end).json()["status"] == "cancelled"


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_what_has_ended_is_not_cancelled(api: ApiClient, tenant: Tenant, status: str) -> None:
    job = make_job(tenant, status=status)

    assert_problem(api.send("post", f"/api/jobs/{job.pk}/cancel"), 409, "invalid_transition")


def test_a_retry_with_another_payload_keeps_the_first(api: ApiClient, tenant: Tenant) -> None:
    job = make_job(tenant, service_required="gpu", status="failed", attempt=3, payload={"n": 1})

    body = {"reason": "typo", "payload": {"n": 2}}
    answer = api.send("post", f"/api/jobs/{job.pk}/retry", body, x_actor_id="dave").json()

    assert (answer["status"], answer["attempt"], answer["max_attempts"]) == ("queued", 3, 4)
    assert (answer["payload"], answer["original_payload"]) == ({"n": 2}, {"n": 1})
    assert Event.objects.get(job=job).data == {
        "by": "dave",
        "reason": "typo",
        "before": {"n": 1},
        "after": {"n": 2},
    }


def test_a_retry_reopens_the_failed_workflow(api: ApiClient, tenant: Tenant) -> None:
    workflow = make_workflow(tenant, status="failed")
    job = make_job(tenant, status="failed", workflow=workflow, step_index=0, attempt=1)

    assert api.send("post", f"/api/jobs/{job.pk}/retry", {}).status_code == 200

    workflow.refresh_from_db()
    assert (workflow.status, workflow.attempt, workflow.failed_at) == ("running", 2, None)


@pytest.mark.parametrize("status", ["queued", "running", "completed"])
def test_only_failed_and_cancelled_jobs_are_retried(api: ApiClient, tenant: Tenant, status: str) -> None:
    job = make_job(tenant, status=status)

    assert_problem(api.send("post", f"/api/jobs/{job.pk}/retry", {}), 409, "invalid_transition")


def test_a_retry_gives_way_to_the_job_that_lives_under_its_singleton_key(
    api: ApiClient, tenant: Tenant
) -> None:
    failed = make_job(tenant, status="failed", singleton_key="nightly", attempt=1)
    make_job(tenant, singleton_key="nightly")

    answer = api.send("POST", f"/api/jobs/{failed.pk}/retry")

    assert (answer.status_code, answer.json()["code"]) == (409, "invalid_transition")
    failed.refresh_from_db()
    assert failed.status == "failed"
