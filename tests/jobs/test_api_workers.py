"""The workers' protocol: claim, report, end."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from jobs.models import Event, Job, Tenant, Worker
from jobs.queue.sweep import sweep
from tests.conftest import ApiClient
from tests.factories import make_job
from tests.jobs.test_api_access import assert_problem

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 32


def claim(api: ApiClient, **fields: Any) -> list[dict[str, Any]]:
    body = {"worker_id": "gpu-0", "services": ["gpu"], **fields}
    jobs: list[dict[str, Any]] = api.send("post", "/api/workers/claim", body).json()["jobs"]
    return jobs


def test_a_claim_answers_what_the_worker_needs(api: ApiClient, tenant: Tenant) -> None:
    job = make_job(tenant, service_required="gpu", payload={"n": 1}, ctx={"miniapp_req": {"a": 1}})

    (claimed,) = claim(api)

    assert claimed["id"] == str(job.pk)
    assert (claimed["attempt"], claimed["payload"], claimed["ctx"]) == (
        1,
        {"n": 1},
        {"miniapp_req": {"a": 1}},
    )
    assert {"lease_token", "lease_expires_at", "timeout_seconds", "trace_id"} <= claimed.keys()
    worker = Worker.objects.get()
    assert (worker.worker_id, worker.services, worker.tenant, worker.is_online) == (
        "gpu-0",
        ["gpu"],
        tenant,
        True,
    )


def test_a_claim_takes_no_more_than_asked(api: ApiClient, tenant: Tenant) -> None:
    for _ in range(3):
        make_job(tenant, service_required="gpu")

    assert len(claim(api, limit=2)) == 2
    assert len(claim(api)) == 1
    assert claim(api) == []


def test_an_empty_claim_says_when_to_ask_again(api: ApiClient, tenant: Tenant) -> None:
    body = {"worker_id": "gpu-0", "services": ["gpu"], "wait_seconds": 5}

    response = api.send("post", "/api/workers/claim", body)

    assert response["X-Ask-Again-Topics"] == f"service/{tenant.pk}/gpu"
    assert response["X-Ask-Again-Seconds"] == "5.0"


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"services": []}, "/services"),
        ({"services": ["a b"]}, "/services/0"),
        ({"limit": 101}, "/limit"),
        ({"wait_seconds": 31}, "/wait_seconds"),
        ({"worker_id": ""}, "/worker_id"),
    ],
)
def test_a_wrong_claim_is_422(api: ApiClient, fields: dict[str, Any], pointer: str) -> None:
    response = api.send("post", "/api/workers/claim", {"worker_id": "w", "services": ["gpu"], **fields})

    problem = assert_problem(response, 422, "invalid")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]  # type: ignore[attr-defined]


def test_a_job_goes_through_its_whole_protocol(api: ApiClient, tenant: Tenant) -> None:
    make_job(tenant, service_required="gpu")
    (job,) = claim(api)
    path, token = f"/api/jobs/{job['id']}", job["lease_token"]

    beat = api.send("post", f"{path}/heartbeat", {"lease_token": token}).json()
    api.send("post", f"{path}/progress", {"lease_token": token, "progress": 40, "message": "sky"})
    api.send("post", f"{path}/log", {"lease_token": token, "lines": ["one", "two"]})
    answer = api.send("post", f"{path}/complete", {"lease_token": token, "result": {"url": "x"}})

    assert beat["cancel_requested"] is False
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["result"]) == ("completed", {"url": "x"})
    assert list(Event.objects.values_list("type", "data")) == [
        ("progress", {"progress": 40, "message": "sky"}),
        ("log", {"lines": ["one", "two"]}),
    ]


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("heartbeat", {}),
        ("progress", {"progress": 1}),
        ("log", {"lines": ["x"]}),
        ("complete", {"result": 1}),
        ("fail", {"error": {"code": "x", "message": "y"}}),
    ],
)
def test_every_word_under_a_stale_lease_is_409_and_changes_nothing(
    api: ApiClient, tenant: Tenant, verb: str, body: dict[str, Any]
) -> None:
    job = make_job(tenant, service_required="gpu", status="running")

    response = api.send("post", f"/api/jobs/{job.pk}/{verb}", {"lease_token": str(uuid4()), **body})

    assert_problem(response, 409, "lease_lost")
    job.refresh_from_db()
    assert (job.status, job.progress) == ("running", 0)
    assert not Event.objects.exists()


def test_a_dead_workers_late_word_is_refused_and_the_next_worker_finishes(
    api: ApiClient, tenant: Tenant
) -> None:
    make_job(tenant, service_required="gpu")
    (first,) = claim(api, worker_id="dead")
    Job.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    sweep()

    (second,) = claim(api, worker_id="alive")
    late = {"lease_token": first["lease_token"], "result": "late"}
    refused = api.send("post", f"/api/jobs/{first['id']}/complete", late)
    done = {"lease_token": second["lease_token"], "result": "done"}
    api.send("post", f"/api/jobs/{second['id']}/complete", done)

    assert_problem(refused, 409, "lease_lost")
    job = Job.objects.get()
    assert (job.status, job.result, job.attempt, job.worker) == ("completed", "done", 2, "alive")


def test_a_failure_is_tried_again_unless_it_says_no(api: ApiClient, tenant: Tenant) -> None:
    for retryable, status in ((True, "queued"), (False, "failed")):
        job = make_job(tenant, service_required="gpu", status="running")
        error = {"code": "oom", "message": "out of memory"}
        body = {"lease_token": str(job.lease_token), "error": error, "retryable": retryable}

        answer = api.send("post", f"/api/jobs/{job.pk}/fail", body).json()

        assert (answer["status"], answer["error"]) == (status, error)


def test_a_failure_of_the_longest_message_is_kept_whole(api: ApiClient, tenant: Tenant) -> None:
    job = make_job(tenant, service_required="gpu", status="running")
    error = {"code": "oom", "message": "x" * 10_000}

    answer = api.send(
        "post", f"/api/jobs/{job.pk}/fail", {"lease_token": str(job.lease_token), "error": error}
    )

    assert answer.json()["error"] == error


@pytest.mark.django_db(transaction=True)  # a file's end lets go of connections
def test_an_artifact_gets_its_real_type_and_an_address(
    api: ApiClient, tenant: Tenant, settings: Any, tmp_path: object
) -> None:
    settings.MEDIA_ROOT = tmp_path
    job = make_job(tenant, service_required="gpu", status="running")

    stored = put(api, job, "output.bin", PNG)

    assert stored.status_code == 201
    answer = stored.json()
    assert (answer["content_type"], answer["name"], answer["bytes"]) == ("image/png", "output.png", len(PNG))
    shown = show(api, answer["url"])
    assert shown.getvalue() == PNG
    assert (shown["Content-Type"], shown["X-Content-Type-Options"]) == ("image/png", "nosniff")
    assert "sandbox" in shown["Content-Security-Policy"]


@pytest.mark.django_db(transaction=True)  # a file's end lets go of connections
def test_a_page_in_an_artifact_never_runs_here(
    api: ApiClient, tenant: Tenant, settings: Any, tmp_path: object
) -> None:
    settings.MEDIA_ROOT = tmp_path
    job = make_job(tenant, service_required="gpu", status="running")

    for name in ("evil.html", "evil.svg", "evil.png"):
        answer = put(api, job, name, b"<script>alert(1)</script>").json()
        shown = show(api, answer["url"])
        assert shown["Content-Type"] == "application/octet-stream"
        assert shown["Content-Disposition"].startswith("attachment")


def test_artifacts_are_refused_without_the_lease_too_large_empty_or_badly_named(
    api: ApiClient, tenant: Tenant, settings: Any, tmp_path: object
) -> None:
    settings.MEDIA_ROOT = tmp_path
    settings.ARTIFACT_MAX_BYTES = 64
    job = make_job(tenant, service_required="gpu", status="running")

    assert_problem(put(api, job, "a.png", PNG, token=str(uuid4())), 409, "lease_lost")
    assert_problem(put(api, job, "a.png", PNG, token=""), 422, "invalid")
    assert_problem(put(api, job, "a.png", b"x" * 65), 413, "body_too_large")
    assert_problem(put(api, job, "a.png", b""), 422, "invalid")
    assert_problem(put(api, job, "..%2Fx", PNG), 404, "not_found")
    assert_problem(put(api, job, ".hidden", PNG), 422, "invalid")
    assert default_storage.listdir("")[0] == []


@pytest.mark.parametrize(
    "path",
    [
        "a%00b",
        "acme/1/token/a%00b",
        "acme/1/token/" + "a" * 300,
        "acme/1/../1/a.png",
        "acme",
        "acme/1/token/no.png",
    ],
)
def test_an_address_of_no_artifact_is_404(settings: Any, tmp_path: Path, path: str) -> None:
    settings.MEDIA_ROOT = tmp_path
    (tmp_path / "acme" / "1" / "token").mkdir(parents=True)

    assert_problem(ApiClient().get(f"/artifacts/{path}"), 404, "not_found")


def put(api: ApiClient, job: Job, name: str, body: bytes, *, token: str | None = None) -> Any:
    headers = {"X-Lease-Token": str(job.lease_token) if token is None else token}
    path = f"/api/jobs/{job.pk}/artifacts/{name}"
    return api.put(path, body, content_type="application/octet-stream", headers=headers)


def show(api: ApiClient, url: str) -> Any:
    """Fetch an artifact; the file behind the answer is read and closed."""
    shown = api.get(url.removeprefix("http://127.0.0.1:8000"))
    body = shown.getvalue()
    shown.close()
    shown.getvalue = lambda: body
    return shown
