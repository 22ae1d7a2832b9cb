"""Idempotency-Key: a POST that is sent twice creates once and is answered the same both times."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator

from jobs.hygiene import retention
from jobs.models import Collection, Event, IdempotencyKey, Job, Tenant, Workflow
from jobs.queue.enqueue import enqueue_job
from jobs.testing import RunJobs
from tests.conftest import ApiClient
from tests.factories import STEPS, make_collection, make_key, make_tenant
from tests.jobs.stepping import fail, make_steps
from tests.jobs.test_api_access import assert_problem

JOB = {"service_required": "gpu", "payload": {"n": 1}}
CREATING = [
    ("/api/jobs", JOB),
    ("/api/jobs/bulk", {"jobs": [JOB, {"kind": "system.ping", "workflow_id": "mine-1"}]}),
    ("/api/jobs/enqueue", {"jobName": "system.ping", "payload": {}}),
    ("/api/collections", {"name": "posters", "steps": STEPS}),
    ("/collections/{collection}/generations", {"variables": {"prompt": "sunset"}}),
]


def post(api: ApiClient, body: Any = JOB, *, path: str = "/api/jobs", key: str = "order-1") -> Any:
    return api.send("post", path, body, idempotency_key=key)


def count_rows() -> tuple[int, ...]:
    return tuple(model.objects.count() for model in (Job, Workflow, Collection, IdempotencyKey))


@pytest.mark.parametrize(("path", "body"), CREATING)
def test_what_was_created_is_answered_again_byte_for_byte(
    api: ApiClient, tenant: Tenant, path: str, body: Any
) -> None:
    path = path.format(collection=make_collection(tenant).pk)

    first = post(api, body, path=path)
    rows = count_rows()
    again = post(api, body, path=path)

    assert (first.status_code, again.status_code) == (201, 201)
    assert (again.content, again["Content-Type"]) == (first.content, first["Content-Type"])
    assert again.get("Location") == first.get("Location")
    assert ("Idempotent-Replayed" in first, again["Idempotent-Replayed"]) == (False, "true")
    assert count_rows() == rows


def test_the_first_answer_is_what_it_would_have_been_without_a_key(api: ApiClient) -> None:
    keyed = post(api)
    plain = api.send("post", "/api/jobs", JOB)

    assert keyed["Content-Type"] == plain["Content-Type"] == "application/json"
    assert keyed.json().keys() == plain.json().keys()
    assert keyed["Location"] == f"/api/jobs/{keyed.json()['id']}"
    assert keyed.json() == api.send("get", keyed["Location"]).json()


def test_the_answer_stays_what_it_was_when_the_job_goes_on(api: ApiClient) -> None:
    first = post(api)
    api.send("post", f"/api/jobs/{first.json()['id']}/cancel")

    assert post(api).content == first.content


@pytest.mark.parametrize(
    ("path", "before"),
    [
        ("/api/jobs/{job}/cancel", "queued"),
        ("/api/jobs/{job}/retry", "failed"),
        ("/api/workflows/w/cancel", "running"),
        ("/api/workflows/w/retry", "failed"),
    ],
)
def test_what_is_stopped_or_run_again_is_answered_again(
    api: ApiClient, tenant: Tenant, path: str, before: str
) -> None:
    workflow, (step, _) = make_steps(tenant, count=2)
    if before == "failed":
        fail(step)
    path = path.format(job=step.pk)

    first = post(api, {}, path=path)
    events = Event.objects.count()
    again = post(api, {}, path=path)

    assert (first.status_code, again.status_code, again["Idempotent-Replayed"]) == (200, 200, "true")
    assert again.content == first.content
    assert Event.objects.count() == events > 0
    assert api.send("post", path, {}).status_code == 409  # without the key it is asked for anew


def test_without_the_header_it_costs_nothing(api: ApiClient, statements: list[str]) -> None:
    api.send("post", "/api/jobs", JOB)

    assert not [text for text in statements if "idempotency" in text or "advisory" in text]
    assert not IdempotencyKey.objects.exists()


@pytest.mark.parametrize(
    ("path", "body"),
    [("/api/jobs", {**JOB, "priority": 1}), ("/api/jobs/bulk", {"jobs": [JOB]})],
    ids=["another body", "another address"],
)
def test_a_key_that_belongs_to_another_request_is_422(api: ApiClient, path: str, body: Any) -> None:
    post(api)

    assert_problem(post(api, body, path=path), 422, "idempotency_key_reused")
    assert Job.objects.count() == 1


def test_two_tenants_may_use_the_same_key(api: ApiClient, other_tenant: Tenant) -> None:
    mine = post(api)
    theirs = post(ApiClient(make_key(other_tenant)[1]), {**JOB, "priority": 1})

    assert "Idempotent-Replayed" not in theirs
    assert theirs.json()["tenant_id"] == str(other_tenant.pk)
    assert post(api).content == mine.content


def test_two_keys_of_one_tenant_are_one_client(
    api: ApiClient, tenant: Tenant, api_as: Callable[..., ApiClient]
) -> None:
    first = post(api)

    assert post(api_as(tenant, "submit")).content == first.content
    assert_problem(post(api_as(tenant, "read")), 403, "scope_missing")


def test_a_refused_request_leaves_the_key_free_for_the_corrected_one(api: ApiClient) -> None:
    api.send("post", "/api/jobs", {**JOB, "workflow_id": "taken"})

    assert_problem(post(api, {**JOB, "priority": 101}), 422, "invalid")
    assert_problem(post(api, {**JOB, "workflow_id": "taken"}), 409, "workflow_exists")
    assert_problem(post(api, {"jobName": "no.such"}, path="/api/jobs/enqueue"), 422, "invalid")
    missing = f"/collections/{uuid4()}/generations"
    assert_problem(post(api, {"variables": {}}, path=missing), 404, "not_found")

    assert count_rows() == (1, 1, 0, 0)
    assert post(api).status_code == 201


@pytest.mark.parametrize(
    ("raw", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "parse_error"),
        (b"", "application/json", 422, "invalid"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
        (b'{"payload": {"a": "\\u0000"}}', "application/json", 422, "invalid"),
        (b'{"x": "' + b"y" * 1_100_000 + b'"}', "application/json", 413, "body_too_large"),
    ],
)
def test_no_body_whatever_yields_a_500(
    api: ApiClient, raw: bytes, content_type: str, status: int, code: str
) -> None:
    headers = {"Idempotency-Key": "order-1"}

    response = api.generic("POST", "/api/jobs", raw, content_type=content_type, headers=headers)

    assert_problem(response, status, code)
    assert count_rows() == (0, 0, 0, 0)


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "tab\there", "line\nbreak", "del\x7f", "日"])
def test_a_key_has_1_to_255_printable_ascii_characters(api: ApiClient, key: str) -> None:
    assert_problem(post(api, key=key), 422, "idempotency_key_invalid")
    assert count_rows() == (0, 0, 0, 0)


@pytest.mark.parametrize("key", ["x", "x" * 255, '"8e03978e-40d5"', "two words ~!"])
def test_any_such_key_will_do(api: ApiClient, key: str) -> None:
    assert post(api, key=key).status_code == 201
    assert IdempotencyKey.objects.get().key == key


def test_after_24_hours_a_key_is_new(api: ApiClient) -> None:
    post(api)
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=23, minutes=59))
    assert post(api)["Idempotent-Replayed"] == "true"
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=24, minutes=1))

    later = post(api, {**JOB, "priority": 1})

    assert (later.status_code, "Idempotent-Replayed" in later) == (201, False)
    assert Job.objects.count() == 2
    assert post(api, {**JOB, "priority": 1}).content == later.content


def test_old_keys_are_forgotten_batch_by_batch(
    api: ApiClient, run_jobs: RunJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    for n in range(6):
        post(api, key=f"order-{n}")
    old = IdempotencyKey.objects.exclude(key="order-5")
    old.update(created_at=timezone.now() - timedelta(hours=25))

    enqueue_job("system.apply_retention")
    (job,) = run_jobs()

    assert job.result
    assert (job.status, job.result["idempotency keys"]) == ("completed", 5)
    assert IdempotencyKey.objects.get().key == "order-5"


def test_the_schema_names_the_header_where_it_counts() -> None:
    schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]

    taking = {
        (method, path)
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
        if "Idempotency-Key" in [parameter["name"] for parameter in operation.get("parameters", [])]
    }

    assert taking == {
        ("post", "/api/jobs/"),
        ("post", "/api/jobs/bulk/"),
        ("post", "/api/jobs/enqueue/"),
        ("post", "/api/jobs/{job_id}/cancel/"),
        ("post", "/api/jobs/{job_id}/renotify/"),
        ("post", "/api/jobs/{job_id}/retry/"),
        ("post", "/api/workflows/{workflow_id}/cancel/"),
        ("post", "/api/workflows/{workflow_id}/renotify/"),
        ("post", "/api/workflows/{workflow_id}/retry/"),
        ("post", "/api/submissions/{submission_id}/approve/"),
        ("post", "/api/submissions/{submission_id}/publish/"),
        ("post", "/api/submissions/{submission_id}/reject/"),
        ("post", "/api/collections/"),
        ("post", "/collections/{collection_id}/generations/"),
        ("post", "/api/webhook-endpoints/"),
        ("post", "/api/webhook-endpoints/{endpoint_id}/rotate/"),
        ("post", "/api/webhook-endpoints/{endpoint_id}/test/"),
        ("post", "/api/webhook-deliveries/{delivery_id}/redeliver/"),
    }


@pytest.mark.django_db(transaction=True)
def test_while_the_first_is_being_worked_on_the_second_is_409() -> None:
    text = make_key(make_tenant())[1]
    ApiClient(text).send("get", "/api/jobs")  # the key's use is noted once a minute: not again below
    has_answered, may_commit = threading.Event(), threading.Event()
    first: list[Any] = []

    def work_slowly() -> None:
        with transaction.atomic():
            first.append(post(ApiClient(text)))
            has_answered.set()
            may_commit.wait(10)
        connection.close()

    thread = threading.Thread(target=work_slowly)
    thread.start()
    assert has_answered.wait(10)
    refused = post(ApiClient(text))
    may_commit.set()
    thread.join()

    assert_problem(refused, 409, "idempotency_key_in_flight")
    assert refused["Retry-After"] == "1"
    assert post(ApiClient(text)).content == first[0].content
    assert Job.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_twenty_at_once_create_one() -> None:
    text = make_key(make_tenant())[1]
    together = threading.Barrier(20)
    answers: list[Any] = []

    def insist() -> None:
        client = ApiClient(text)
        together.wait(10)
        while (response := post(client)).status_code == 409:
            time.sleep(0.01)
        answers.append(response)
        connection.close()

    threads = [threading.Thread(target=insist) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert len([answer for answer in answers if "Idempotent-Replayed" not in answer]) == 1
    assert count_rows() == (1, 0, 0, 1)
