"""Generations: from a user's request over its steps to the attestations of all of it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from jobs.models import Collection, Job, Tenant, Workflow
from tests.conftest import ApiClient
from tests.factories import make_collection
from tests.jobs.test_api_access import assert_problem

REQUEST = {"variables": {"prompt": "sunset", "style": "realistic", "seed": 7}, "workflow_priority": 60}


def generate(api: ApiClient, collection: Collection, body: dict[str, Any] = REQUEST, **headers: str) -> Any:
    return api.send("post", f"/collections/{collection.pk}/generations", body, **headers)


def work(api: ApiClient, result: Any = None, **failure: Any) -> dict[str, Any]:
    """Claim the next job and end it."""
    claim = {"worker_id": "gpu-0", "services": ["artgen"]}
    (job,) = api.send("post", "/api/workers/claim", claim).json()["jobs"]
    verb, body = ("fail", failure) if failure else ("complete", {"result": result})
    api.send("post", f"/api/jobs/{job['id']}/{verb}", {"lease_token": job["lease_token"], **body})
    return dict(job)


def test_the_users_request_travels_with_every_job(api: ApiClient, tenant: Tenant) -> None:
    collection = make_collection(tenant)
    before = time.time() * 1000

    response = generate(api, collection, x_actor_id="user-9")

    assert response.status_code == 201
    workflow_id = response.json()["workflow_id"]
    assert [job["status"] for job in response.json()["jobs"]] == ["queued", "waiting"]
    claim = {"worker_id": "gpu-0", "services": ["artgen"]}
    (claimed,) = api.send("post", "/api/workers/claim", claim).json()["jobs"]
    request = claimed["ctx"]["miniapp_req"]
    assert request["request_body"] == {**REQUEST, "workflow_id": workflow_id}
    assert request["user_context"] == {"user_id": "user-9", "collection_id": str(collection.pk)}
    assert before - 5 <= request["metadata"]["timestamp"] <= time.time() * 1000
    assert request["metadata"]["request_id"] == workflow_id
    assert claimed["payload"] == {"prompt": "sunset"}
    assert claimed["priority"] == 60


def test_a_generation_runs_its_steps_and_leaves_three_attestations(api: ApiClient, tenant: Tenant) -> None:
    workflow_id = generate(api, make_collection(tenant)).json()["workflow_id"]

    painted = work(api, {"url": "https://cdn.example.com/1.png"})
    framed = work(api, {"url": "https://cdn.example.com/2.png"})

    assert framed["payload"] == {"image": "https://cdn.example.com/1.png"}
    workflow = api.send("get", f"/api/workflows/{workflow_id}").json()
    assert (workflow["status"], workflow["outputs"]) == ("completed", ["https://cdn.example.com/2.png"])
    body = api.send("get", f"/api/workflows/{workflow_id}/all-attestations").json()
    first, second, last = body["attestations"]
    assert [first["attestation_key"], second["attestation_key"], last["attestation_key"]] == [
        f"worker-completion:job-{painted['id']}",
        f"worker-completion:job-{framed['id']}",
        f"workflow-completion:{workflow_id}",
    ]
    assert first["attestation_type"] == "worker_completion"
    assert first["entity_type"] == "job"
    assert first["redis_step_id"] == painted["id"]
    assert first["redis_workflow_id"] == workflow_id
    assert first["worker_id"] == "gpu-0"
    assert first["status"] == "completed"
    data = first["attestation_data"]
    assert data["miniapp_req"] == workflow["miniapp_req"]
    assert data["emprops_req_payload"] == {"service_required": "artgen", "payload": {"prompt": "sunset"}}
    assert data["result"] == {"url": "https://cdn.example.com/1.png"}
    assert isinstance(data["completed_at"], int)
    assert last["redis_step_id"] is None
    assert last["attestation_data"].keys() == {
        "miniapp_req",
        "workflow_outputs",
        "total_steps",
        "completed_steps",
        "completed_at",
    }
    assert last["attestation_data"]["workflow_outputs"] == ["https://cdn.example.com/2.png"]
    assert (last["attestation_data"]["total_steps"], last["attestation_data"]["completed_steps"]) == (2, 2)


def test_a_failed_step_fails_the_workflow_and_a_retry_goes_on_from_there(
    api: ApiClient, tenant: Tenant
) -> None:
    workflow_id = generate(api, make_collection(tenant)).json()["workflow_id"]
    work(api, {"url": "https://cdn.example.com/1.png"})
    failed = work(api, error={"code": "oom", "message": "no memory"}, retryable=False)

    workflow = api.send("get", f"/api/workflows/{workflow_id}").json()
    assert (workflow["status"], workflow["error"]["code"]) == ("failed", "oom")
    api.send("post", f"/api/jobs/{failed['id']}/retry", {})
    work(api, {"url": "https://cdn.example.com/2.png"})

    workflow = api.send("get", f"/api/workflows/{workflow_id}").json()
    assert (workflow["status"], workflow["attempt"]) == ("completed", 2)
    body = api.send("get", f"/api/workflows/{workflow_id}/all-attestations").json()
    assert [item["attestation_key"] for item in body["attestations"]][1:] == [
        f"worker-failure:job-{failed['id']}",
        f"workflow-failure:{workflow_id}",
        f"worker-completion:job-{failed['id']}:attempt-1",
        f"workflow-completion:{workflow_id}:attempt-1",
    ]


def test_a_result_without_what_the_next_step_needs_fails_the_workflow(api: ApiClient, tenant: Tenant) -> None:
    workflow_id = generate(api, make_collection(tenant)).json()["workflow_id"]

    work(api, {"no": "url"})

    workflow = api.send("get", f"/api/workflows/{workflow_id}").json()
    assert (workflow["status"], workflow["error"]["code"]) == ("failed", "missing_input")
    assert "steps.paint.result.url" in workflow["error"]["message"]
    assert workflow["jobs"][1]["status"] == "failed"


def test_cancelling_a_step_cancels_the_workflow(api: ApiClient, tenant: Tenant) -> None:
    answer = generate(api, make_collection(tenant)).json()

    api.send("post", f"/api/jobs/{answer['jobs'][0]['id']}/cancel")

    workflow = api.send("get", f"/api/workflows/{answer['workflow_id']}").json()
    assert workflow["status"] == "cancelled"
    assert [job["status"] for job in workflow["jobs"]] == ["cancelled", "cancelled"]


def test_the_clients_own_workflow_id_is_kept_and_unique_per_tenant(
    api: ApiClient, tenant: Tenant, other_tenant: Tenant, api_as: Any
) -> None:
    body = {**REQUEST, "workflow_id": "wf-1"}

    assert generate(api, make_collection(tenant), body).json()["workflow_id"] == "wf-1"
    assert_problem(generate(api, make_collection(tenant), body), 409, "workflow_exists")
    assert generate(api_as(other_tenant), make_collection(other_tenant), body).status_code == 201
    assert Job.objects.count() == 4


@pytest.mark.parametrize("name", ["a:attempt-", "a:attempt-1b", "attempt-1", "a:attempt-1:b"])
def test_a_workflow_id_that_no_attestation_key_ends_like_is_taken(
    api: ApiClient, tenant: Tenant, name: str
) -> None:
    answer = generate(api, make_collection(tenant), {**REQUEST, "workflow_id": name})

    assert answer.status_code == 201
    assert api.send("get", f"/api/workflows/{name}").json()["workflow_id"] == name


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"variables": {"seed": 7}}, "/variables/prompt"),
        ({}, "/variables"),
        ({"variables": []}, "/variables"),
        ({"variables": {"prompt": "x"}, "workflow_priority": 101}, "/workflow_priority"),
        ({"variables": {"prompt": "x"}, "workflow_id": "../x"}, "/workflow_id"),
        ({"variables": {"prompt": "x"}, "workflow_id": "wf-1:attempt-1"}, "/workflow_id"),
        ({"variables": {"prompt": "x"}, "variable": {}}, "/variable"),
    ],
)
def test_a_wrong_request_is_422_and_leaves_no_row(
    api: ApiClient, tenant: Tenant, body: dict[str, Any], pointer: str
) -> None:
    problem = assert_problem(generate(api, make_collection(tenant), body), 422, "invalid")

    assert [error["pointer"] for error in problem["errors"]] == [pointer]  # type: ignore[attr-defined]
    assert not Workflow.objects.exists()
    assert not Job.objects.exists()


def step(name: str = "paint", **payload: Any) -> dict[str, Any]:
    return {"name": name, "service_required": "artgen", "payload": payload}


def test_collections_are_made_read_changed_and_deleted(api: ApiClient) -> None:
    made = api.send("post", "/api/collections", {"name": "demo", "steps": [step(n="${variables.n}")]})

    assert made.status_code == 201
    path = made["Location"]
    assert api.send("get", path).json() == made.json()
    assert api.send("get", "/api/collections").json()["results"] == [made.json()]
    assert api.send("patch", path, {"name": "other"}).json()["name"] == "other"
    assert api.send("put", path, {"name": "demo", "steps": [step()]}).json()["steps"] == [step()]
    assert api.send("delete", path).status_code == 204
    assert_problem(api.send("get", path), 404, "not_found")


def test_a_deleted_collections_work_keeps_its_id(api: ApiClient, tenant: Tenant) -> None:
    collection = make_collection(tenant)
    workflow_id = generate(api, collection).json()["workflow_id"]

    api.send("delete", f"/api/collections/{collection.pk}")

    assert api.send("get", f"/api/workflows/{workflow_id}").json()["collection_id"] == str(collection.pk)


def test_a_second_collection_of_a_name_is_409(api: ApiClient, tenant: Tenant) -> None:
    make_collection(tenant, name="demo")
    other = make_collection(tenant, name="other")

    body = {"name": "demo", "steps": [step()]}
    assert_problem(api.send("post", "/api/collections", body), 409, "collection_exists")
    renamed = api.send("patch", f"/api/collections/{other.pk}", {"name": "demo"})
    assert_problem(renamed, 409, "collection_exists")


@pytest.mark.parametrize(
    ("steps", "pointer"),
    [
        ([], "/steps"),
        ([step(), step()], "/steps/1/name"),
        ([step(image="${steps.later.result}"), step("later")], "/steps/0/payload"),
        ([step(image="${env.HOME}")], "/steps/0/payload"),
        ([step("no spaces")], "/steps/0/name"),
        ([{"name": "x", "payload": {}}], "/steps/0/service_required"),
        ([step("a.b")], "/steps/0/name"),
    ],
)
def test_a_recipe_that_cannot_work_is_422(api: ApiClient, steps: list[Any], pointer: str) -> None:
    response = api.send("post", "/api/collections", {"name": "demo", "steps": steps})

    problem = assert_problem(response, 422, "invalid")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]  # type: ignore[attr-defined]
    assert not Collection.objects.exists()
