"""Submitting many jobs in one request: all or none, in the order given."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, connection

from jobs.models import Job, Tenant, Workflow
from jobs.queue import handlers
from jobs.queue.enqueue import NewJob, enqueue_jobs
from jobs.queue.handlers import handler
from jobs.services import workflows
from jobs.services.workflows import Step, start_workflow
from jobs.testing import RunJobs
from tests.conftest import ApiClient
from tests.factories import make_job, make_key, make_tenant, make_workflow
from tests.jobs.test_api_access import assert_problem

JOB = {"service_required": "gpu", "payload": {"n": 1}}
PING = {"kind": "system.ping"}


@dataclass(frozen=True)
class BuildReport:
    month: str


@pytest.fixture
def _reports() -> Iterator[None]:
    handler("test.report", payload=BuildReport)(lambda envelope: None)
    yield
    handlers.unregister("test.report")


def submit(api: ApiClient, *jobs: Any) -> Any:
    return api.send("post", "/api/jobs/bulk", {"jobs": list(jobs)})


def test_jobs_are_answered_whole_in_the_order_given(api: ApiClient, tenant: Tenant) -> None:
    asked = [
        {**JOB, "priority": 70},
        {**PING, "workflow_id": "mine-1"},
        {**PING, "singleton_key": "only"},
        {**JOB, "workflow_id": "a-mine-2", "ctx": {"miniapp_req": {"a": 1}}},
        {**JOB, "retry": {"delays": [1, 2]}},
    ]

    response = submit(api, *asked)

    assert response.status_code == 201
    answers = response.json()["jobs"]
    assert [(job["kind"], job["priority"], job["workflow_id"]) for job in answers] == [
        ("", 70, None),
        ("system.ping", 50, "mine-1"),
        ("system.ping", 50, None),
        ("", 50, "a-mine-2"),
        ("", 50, None),
    ]
    assert [job["max_attempts"] for job in answers] == [3] * 5
    for job in answers:
        assert job == api.send("get", f"/api/jobs/{job['id']}").json()
    assert set(Job.objects.values_list("tenant", flat=True)) == {tenant.pk}
    assert Workflow.objects.get(workflow_id="a-mine-2").miniapp_req == {"a": 1}


def test_they_run(api: ApiClient, run_jobs: RunJobs) -> None:
    submit(api, PING, {**PING, "workflow_id": "mine-1"})

    assert [job.status for job in run_jobs()] == ["completed"] * 2
    assert Workflow.objects.get().status == "completed"


@pytest.mark.usefixtures("_reports")
@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"kind": "test.report", "payload": {"month": 11}}, "/jobs/1/payload/month"),
        ({"kind": "test.report"}, "/jobs/1/payload/month"),
        ({"kind": "test.report", "payload": {}, "workflow_id": "mine-1"}, "/jobs/1/payload/month"),
        ({"kind": "test.nothing"}, "/jobs/1/kind"),
        ({"kind": "no kind"}, "/jobs/1/kind"),
        ({**JOB, **PING}, "/jobs/1"),
        ({**PING, "queue": "nobodys"}, "/jobs/1/queue"),
        ({**PING, "workflow_id": "mine-1:attempt-3"}, "/jobs/1/workflow_id"),
        ({**JOB, "priority": 101}, "/jobs/1/priority"),
        ({**JOB, "playload": {}}, "/jobs/1/playload"),
        ({**JOB, "retry": {"delays": [1, -1]}}, "/jobs/1/retry/delays/1"),
        ([], "/jobs/1"),
        (None, "/jobs/1"),
    ],
)
def test_a_wrong_one_is_named_and_nothing_is_stored(api: ApiClient, wrong: Any, pointer: str) -> None:
    problem = assert_problem(submit(api, JOB, wrong, PING), 422, "invalid")

    assert [error["pointer"] for error in problem["errors"]] == [pointer]  # type: ignore[attr-defined]
    assert not Job.objects.exists()
    assert not Workflow.objects.exists()


@pytest.mark.usefixtures("_reports")
def test_every_wrong_one_is_named(api: ApiClient) -> None:
    response = submit(api, {"kind": "test.report"}, PING, {"kind": "test.nothing"}, {"kind": "test.report"})

    problem = assert_problem(response, 422, "invalid")
    assert [error["pointer"] for error in problem["errors"]] == [  # type: ignore[attr-defined]
        "/jobs/0/payload/month",
        "/jobs/2/kind",
        "/jobs/3/payload/month",
    ]


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({}, "/jobs", "required"),
        ({"jobs": []}, "/jobs", "min_length"),
        ({"jobs": [JOB] * 1_001}, "/jobs", "max_length"),
        ({"jobs": [{}] * 200_000}, "/jobs", "max_length"),
        ({"jobs": JOB}, "/jobs", "not_a_list"),
        ({"jobs": [JOB], "atomic": True}, "/atomic", "unknown_field"),
        ([JOB], "", "invalid"),
    ],
)
def test_a_wrong_list_is_422(api: ApiClient, body: Any, pointer: str, code: str) -> None:
    problem = assert_problem(api.send("post", "/api/jobs/bulk", body), 422, "invalid")

    (error,) = problem["errors"]  # type: ignore[misc]
    assert (error["pointer"], error["code"]) == (pointer, code)
    assert not Job.objects.exists()


def test_a_thousand_are_taken(api: ApiClient) -> None:
    response = submit(api, *[JOB] * 1_000)

    assert response.status_code == 201
    ids = [job["id"] for job in response.json()["jobs"]]
    assert ids == sorted(ids)
    assert Job.objects.count() == len(set(ids)) == 1_000


def test_a_taken_workflow_id_refuses_all_and_is_named(api: ApiClient, tenant: Tenant) -> None:
    make_workflow(tenant, workflow_id="taken-1")
    make_workflow(tenant, workflow_id="taken-2")

    names = ["taken-2", "free", "taken-1"]
    response = submit(api, JOB, *[{**PING, "workflow_id": name} for name in names])

    problem = assert_problem(response, 409, "workflow_exists")
    assert problem["detail"] == "Taken by an earlier workflow: 'taken-1', 'taken-2'."
    assert not Job.objects.exists()
    assert Workflow.objects.count() == 2


def test_a_workflow_id_given_twice_refuses_all_and_is_named(api: ApiClient) -> None:
    response = submit(api, JOB, *[{**PING, "workflow_id": name} for name in ["twice", "once", "twice"]])

    problem = assert_problem(response, 409, "workflow_exists")
    assert problem["detail"] == "Given more than once: 'twice'."
    assert not Job.objects.exists()
    assert not Workflow.objects.exists()


def test_another_tenants_workflow_id_is_free(api: ApiClient, other_tenant: Tenant) -> None:
    make_workflow(other_tenant, workflow_id="mine-1")

    assert submit(api, {**PING, "workflow_id": "mine-1"}).status_code == 201


def test_a_singleton_that_lives_is_answered_instead(api: ApiClient, tenant: Tenant) -> None:
    holder = make_job(tenant, service_required="gpu", singleton_key="only")

    answers = submit(api, {**JOB, "singleton_key": "only"}, JOB, {**JOB, "singleton_key": "other"}).json()

    ids = [job["id"] for job in answers["jobs"]]
    assert ids[0] == str(holder.pk)
    assert Job.objects.count() == len(set(ids)) == 3


def test_a_singleton_given_twice_is_one_job(api: ApiClient) -> None:
    answers = submit(api, {**JOB, "singleton_key": "only", "priority": 7}, {**JOB, "singleton_key": "only"})

    first, second = answers.json()["jobs"]
    assert first == second
    assert Job.objects.get().priority == 7


@pytest.mark.parametrize("path", ["/api/jobs", "/api/jobs/bulk"])
def test_a_workflow_whose_singleton_lives_is_not_started(api: ApiClient, tenant: Tenant, path: str) -> None:
    holder = make_job(tenant, service_required="gpu", singleton_key="only")
    job = {**JOB, "singleton_key": "only", "workflow_id": "mine-1"}

    answer = api.send("post", path, {"jobs": [job]} if path.endswith("bulk") else job).json()

    (answered,) = answer.get("jobs", [answer])
    assert (answered["id"], answered["workflow_id"]) == (str(holder.pk), None)
    assert not Workflow.objects.exists()


@pytest.mark.parametrize("path", ["/api/jobs", "/api/jobs/bulk"])
def test_a_payload_with_placeholders_is_taken_as_it_is(api: ApiClient, path: str) -> None:
    job = {"service_required": "gpu", "payload": {"text": "${variables.x} ${home}"}, "workflow_id": "mine-1"}

    response = api.send("post", path, {"jobs": [job]} if path.endswith("bulk") else job)

    assert response.status_code == 201
    assert Job.objects.get().payload == job["payload"]


def test_the_number_of_statements_does_not_depend_on_the_jobs(api: ApiClient, statements: list[str]) -> None:
    def count(size: int) -> int:
        statements.clear()
        jobs = [[JOB, PING, {**JOB, "workflow_id": f"mine-{size}-{n}"}] for n in range(size)]
        assert submit(api, *[job for three in jobs for job in three]).status_code == 201
        return len(statements)

    count(1)  # notes the key's use, which the others need not

    assert count(2) == count(50)


def test_only_a_taken_name_is_workflow_exists(tenant: Tenant) -> None:
    step = Step(name="job", payload={}, kind="system.ping")

    with pytest.raises(IntegrityError, match="workflow_numbers_bounded"):
        start_workflow(tenant, workflow_id="mine-1", steps=[step], actor_id="", data={}, priority=101)


@pytest.mark.django_db(transaction=True)
def test_of_two_at_once_that_want_the_same_names_one_gets_them() -> None:
    text = make_key(make_tenant())[1]
    jobs = [{**JOB, "workflow_id": f"mine-{n}", "singleton_key": f"key-{n}"} for n in range(50)]
    together = threading.Barrier(2)
    answers: list[Any] = []

    def hurry(mine: list[Any]) -> None:
        together.wait(10)
        answers.append(submit(ApiClient(text), *mine).status_code)
        connection.close()

    threads = [threading.Thread(target=hurry, args=[mine]) for mine in (jobs, jobs[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answers) == [201, 409]
    assert (Workflow.objects.count(), Job.objects.count()) == (50, 50)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "make",
    [
        lambda n: {**JOB, "singleton_key": f"key-{n}"},
        lambda n: {**JOB, "service_required": f"gpu-{n}", "singleton_key": "only"},
    ],
    ids=["of one service", "of many services"],
)
def test_two_at_once_with_the_same_singletons_share_them(make: Callable[[int], dict[str, Any]]) -> None:
    text = make_key(make_tenant())[1]
    jobs = [make(n) for n in range(300)]
    together = threading.Barrier(2)
    answers: list[Any] = []

    def hurry(mine: list[Any]) -> None:
        together.wait(10)
        answers.append(submit(ApiClient(text), *mine))
        connection.close()

    threads = [threading.Thread(target=hurry, args=[mine]) for mine in (jobs, jobs[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    one, other = ({job["id"] for job in answer.json()["jobs"]} for answer in answers)
    assert one == other
    assert Job.objects.count() == 300


def test_singletons_are_taken_in_one_order_and_in_one_statement(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However they are given, or two that ask for the same ones could wait for each other for ever."""
    taken: list[list[tuple[str, str, str]]] = []

    def noting(new_jobs: Sequence[NewJob]) -> list[UUID]:
        taken.append([(new.kind, new.service_required, new.singleton_key) for new in new_jobs])
        return enqueue_jobs(new_jobs)

    monkeypatch.setattr(workflows, "enqueue_jobs", noting)
    asked = [
        {**JOB, "singleton_key": "k"},
        {"service_required": "cpu", "singleton_key": "k", "workflow_id": "mine-1"},
        {**PING, "singleton_key": "k"},
        {"service_required": "cpu", "singleton_key": "a"},
        {**PING, "singleton_key": "b", "workflow_id": "mine-2"},
    ]

    answers = submit(api, *asked).json()["jobs"]
    submit(api, *[{**job, "workflow_id": f"{n}"} for n, job in enumerate(reversed(asked))])

    names = [(job.get("kind", ""), job.get("service_required", ""), job["singleton_key"]) for job in asked]
    assert taken == [sorted(names)] * 2
    assert [(job["kind"], job["service_required"], job["singleton_key"]) for job in answers] == names
    assert [job["workflow_id"] for job in answers] == [None, "mine-1", None, None, "mine-2"]
