"""Telling once more of what has ended: nothing runs again, and what it comes to is noted as the first time."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from attestations.models import Attestation
from jobs.errors import InvalidTransition
from jobs.ids import uuid7
from jobs.models import Event, Job, Tenant, Workflow
from jobs.services.jobs import complete_job, retry_job
from jobs.testing import RunJobs
from tests.conftest import ApiClient, MakeEndpoint
from tests.factories import claim_one, make_job, make_workflow
from tests.jobs.stepping import complete, expire, fail, make_steps
from tests.jobs.test_api_access import assert_problem
from tests.receivers import Receiver, answer
from tests.webhooks.calls import NOTIFIED, make_sender, send
from webhooks.models import Delivery, Endpoint, Message
from webhooks.sending.loop import send_due
from webhooks.services.deliveries import note_notified
from webhooks.services.endpoints import pause_endpoint, resume_endpoint
from webhooks.services.renotify import NobodyListens, renotify_job, renotify_workflow

VERDICT = {"is_cleanup_evaluated": True, "status_category": "filed", "problem_type": "notification_missing"}


def completed(tenant: Tenant, name: str = "w") -> Workflow:
    """A workflow of one step that has just completed."""
    workflow, (job,) = make_steps(tenant, count=1, name=name, user_id="user-1")
    complete(job)
    workflow.refresh_from_db()
    return workflow


def status_of(workflow: Workflow) -> str:
    workflow.refresh_from_db()
    return workflow.notification_status


def deliver() -> None:
    """Send what is due; in vain at the first try means for good."""
    Delivery.objects.filter(status="pending").update(step=9)
    send_due()


# --- Workflows --------------------------------------------------------------------------------------


def test_done_but_untold_is_told_once_more_and_the_user_confirms(
    api: ApiClient, tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint(event_types=["workflow.completed"])
    workflow = completed(tenant)
    deliver()
    assert status_of(workflow) == "delivered"
    Workflow.objects.update(**VERDICT, evaluated_at=timezone.now(), problem_details={"missing": "A word."})
    before = (Job.objects.values().get(), list(Attestation.objects.values()))

    response = api.send(
        "post", "/api/workflows/w/renotify", {"reason": "The app was down."}, x_actor_id="alice"
    )

    assert response.status_code == 200
    body = response.json()
    assert (body["notification_status"], body["status"], len(body["jobs"])) == ("owed", "completed", 1)
    cleared = (False, "", "", None, None)
    names = ("is_cleanup_evaluated", "status_category", "problem_type", "problem_details", "evaluated_at")
    assert tuple(body[name] for name in names) == cleared
    first, second = Message.objects.order_by("id")
    assert (first.workflow_run, second.workflow_run) == (1, 1)
    assert bytes(first.body) == bytes(second.body)
    said = {"by": "alice", "reason": "The app was down.", "message_id": str(second.pk)}
    assert [event.data for event in Event.objects.filter(type="renotified", workflow=workflow)] == [said]
    deliver()
    assert status_of(workflow) == "delivered"
    ids = [request.headers["webhook-id"] for request in receiver.requests]
    assert ids == [first.webhook_id, second.webhook_id]
    assert (Job.objects.values().get(), list(Attestation.objects.values())) == before
    secret = make_sender(tenant)[1]
    assert send(NOTIFIED, {"workflow_id": "w", "user_id": "user-1"}, secret).json()["state"] == "applied"
    assert status_of(workflow) == "told"
    assert_problem(api.send("post", "/api/workflows/w/renotify"), 409, "invalid_transition")
    assert Message.objects.count() == 2


def test_a_failed_run_is_told_with_its_error_and_its_run(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint(event_types=["workflow.failed"])
    workflow, (job,) = make_steps(tenant, count=1)
    fail(job)
    retry_job(job, by="alice")
    fail(job, "Broken again.")
    workflow.refresh_from_db()

    renotify_workflow(workflow, by="alice")

    _, told, again = Message.objects.order_by("id")
    assert again.content == told.content
    assert (again.workflow_run, again.type, again.content["data"]["run"]) == (2, "workflow.failed", 2)
    assert again.content["data"]["error"] == {"code": "broken", "message": "Broken again."}


def test_a_workflow_that_runs_409(api: ApiClient, tenant: Tenant, make_endpoint: MakeEndpoint) -> None:
    make_endpoint()
    make_steps(tenant)

    assert_problem(api.send("post", "/api/workflows/w/renotify"), 409, "invalid_transition")

    assert not Message.objects.exists()


@pytest.mark.parametrize("endpoint", [None, {"event_types": ["job.completed"]}, {"is_deleted": True}])
def test_where_nobody_listens_409_and_nothing_changes(
    api: ApiClient, tenant: Tenant, make_endpoint: MakeEndpoint, endpoint: dict[str, Any] | None
) -> None:
    if endpoint:
        is_deleted = endpoint.pop("is_deleted", False)
        make_endpoint(**endpoint)
        Endpoint.objects.update(deleted_at=timezone.now() if is_deleted else None)
    workflow = make_workflow(tenant, status="completed", notification_status="failed", **VERDICT)

    response = api.send("post", f"/api/workflows/{workflow.workflow_id}/renotify")

    assert_problem(response, 409, "nobody_listens")
    workflow.refresh_from_db()
    assert (workflow.notification_status, workflow.status_category) == ("failed", "filed")
    assert not Message.objects.exists()
    assert not Event.objects.exists()


def test_an_endpoint_registered_since_then_is_told(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    workflow = completed(tenant)
    assert status_of(workflow) == "owed"
    make_endpoint()

    renotify_workflow(workflow, by="alice")
    deliver()

    assert status_of(workflow) == "delivered"


@pytest.mark.django_db(transaction=True)
def test_a_paused_endpoint_is_told_when_it_is_resumed(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    endpoint, _ = make_endpoint(event_types=["workflow.completed"])
    pause_endpoint(endpoint, by="alice")
    workflow = completed(tenant)

    renotify_workflow(workflow, by="alice")

    assert [row.status for row in Delivery.objects.all()] == ["held", "held"]
    deliver()
    assert status_of(workflow) == "owed"
    resume_endpoint(endpoint)
    deliver()
    assert status_of(workflow) == "delivered"


def test_the_same_request_sent_twice_tells_once(
    api: ApiClient, tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint(event_types=["workflow.completed"])
    completed(tenant)

    answers = [
        api.send("post", "/api/workflows/w/renotify", {}, idempotency_key="once").content for _ in range(2)
    ]

    assert answers[0] == answers[1]
    assert Message.objects.count() == 2


def test_the_new_message_says_what_the_first_did_as_long_as_that_is_kept(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint(event_types=["workflow.failed"])
    workflow, (one, two) = make_steps(tenant, count=2)
    token = claim_one(one).lease_token
    expire(two)
    complete_job(one, token, {})  # after its workflow has ended, with none of its steps completed

    renotify_workflow(workflow, by="alice")

    first, second = Message.objects.order_by("id")
    assert bytes(first.body) == bytes(second.body)
    assert first.content["data"]["completed_steps"] == 0
    Delivery.objects.all().delete()
    Message.objects.all().delete()
    renotify_workflow(workflow, by="alice")
    assert Message.objects.get().content["data"]["completed_steps"] == 1


def test_a_delivered_workflow_without_a_user_409(
    api: ApiClient, tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint(event_types=["workflow.completed"])
    workflow, (job,) = make_steps(tenant, count=1)
    complete(job)
    deliver()
    Workflow.objects.update(
        is_cleanup_evaluated=True, status_category="complete", evaluated_at=timezone.now()
    )

    response = api.send("post", "/api/workflows/w/renotify")

    assert_problem(response, 409, "invalid_transition")
    assert (status_of(workflow), workflow.status_category) == ("delivered", "complete")
    assert Message.objects.count() == 1


def test_no_more_than_five_messages_of_one_end_wait(
    api: ApiClient, tenant: Tenant, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint(event_types=["workflow.completed"])
    workflow = completed(tenant)
    answers = [api.send("post", "/api/workflows/w/renotify") for _ in range(5)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 409]
    assert_problem(answers[-1], 409, "too_many_waiting")
    assert Message.objects.count() == 5
    latest = Delivery.objects.latest("id")
    Delivery.objects.filter(pk=latest.pk).update(
        status="failed", failed_at=timezone.now(), next_attempt_at=None
    )
    assert renotify_workflow(workflow, by="alice").notification_status == "owed"


@pytest.mark.parametrize(
    "error", ["text", ["list"], 7, {"message": "No code."}, {"code": None, "message": {}}]
)
def test_an_odd_error_is_told_as_well_as_it_can_be(
    api: ApiClient, tenant: Tenant, make_endpoint: MakeEndpoint, error: Any
) -> None:
    make_endpoint(event_types=["workflow.failed", "job.failed"])
    make_workflow(tenant, workflow_id="odd", status="failed", error=error)
    job = make_job(tenant, status="failed", error=error)

    answers = [api.send("post", f"/api/{path}/renotify") for path in ("workflows/odd", f"jobs/{job.pk}")]

    assert [answer.status_code for answer in answers] == [200, 200]
    for message in Message.objects.all():
        told = message.content["data"]["error"]
        assert set(told) == {"code", "message"}
        assert all(isinstance(text, str) for text in told.values())


# --- What becomes of two messages of one run --------------------------------------------------------


@pytest.fixture
def owed_anew(tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint) -> Workflow:
    """A workflow with an open delivery of its first message and one of its second, at an endpoint each."""
    make_endpoint(event_types=["workflow.completed"], url=f"{receiver.url}/first")
    workflow = completed(tenant)
    Endpoint.objects.update(event_types=["nothing.else"])
    make_endpoint(event_types=["workflow.completed"], url=f"{receiver.url}/second")
    return renotify_workflow(workflow, by="alice")


def end(workflow: Workflow, receiver: Receiver, place: int, status: int) -> str:
    """Let the delivery of the first or second message end; what that means for the user."""
    message = Message.objects.order_by("id")[place]
    others = Delivery.objects.exclude(message=message).filter(status="pending")
    later = list(others.values_list("pk", "next_attempt_at"))
    others.update(next_attempt_at=timezone.now() + timedelta(hours=1))
    receiver.behaviour = answer(status)
    deliver()
    for key, at in later:
        Delivery.objects.filter(pk=key).update(next_attempt_at=at)
    return status_of(workflow)


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        ([(0, 500), (1, 500)], ["owed", "failed"]),
        ([(1, 500), (0, 500)], ["owed", "failed"]),
        ([(0, 500), (1, 200)], ["owed", "delivered"]),
        ([(1, 500), (0, 200)], ["owed", "delivered"]),
        ([(0, 200), (1, 500)], ["delivered", "delivered"]),
        ([(1, 200), (0, 500)], ["delivered", "delivered"]),
    ],
)
def test_a_run_told_twice_has_failed_when_nothing_of_it_is_on_its_way(
    owed_anew: Workflow, receiver: Receiver, ends: list[tuple[int, int]], told: list[str]
) -> None:
    assert [end(owed_anew, receiver, *each) for each in ends] == told


def test_a_new_message_that_fails_is_noted_though_an_earlier_one_was_delivered(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint(event_types=["workflow.completed"])
    workflow = completed(tenant)
    deliver()
    assert status_of(workflow) == "delivered"

    renotify_workflow(workflow, by="alice")
    receiver.behaviour = answer(500)
    deliver()

    assert status_of(workflow) == "failed"


def test_of_two_runs_in_one_batch_each_has_its_own_say(tenant: Tenant) -> None:
    workflow = make_workflow(tenant, status="failed", attempt=2, notification_status="owed")
    ended = [
        SimpleNamespace(workflow_id=workflow.pk, workflow_run=run, message_id=uuid7(), status=status)
        for run, status in ((1, "delivered"), (2, "failed"))
    ]

    with transaction.atomic():
        note_notified(ended)

    assert status_of(workflow) == "failed"


# --- Jobs outside workflows -------------------------------------------------------------------------


@pytest.fixture
def failed_delivery(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint, run_jobs: RunJobs
) -> Job:
    """A job that has completed, of which nobody could be told."""
    make_endpoint(event_types=["job.completed"])
    receiver.behaviour = answer(500)
    make_job(tenant)
    (job,) = run_jobs()
    deliver()
    assert Delivery.objects.get().status == "failed"
    receiver.behaviour = answer(200)
    return job


def test_a_job_is_told_once_more(api: ApiClient, failed_delivery: Job, receiver: Receiver) -> None:
    Job.objects.update(**{**VERDICT, "problem_type": "notification_failed"}, evaluated_at=timezone.now())
    seen = len(receiver.requests)

    response = api.send("post", f"/api/jobs/{failed_delivery.pk}/renotify", {"reason": "Mended."})
    deliver()

    assert response.status_code == 200
    body = response.json()
    assert (body["status"], body["attempt"], body["is_cleanup_evaluated"], body["evaluated_at"]) == (
        "completed",
        1,
        False,
        None,
    )
    first, second = Message.objects.order_by("id")
    assert bytes(first.body) == bytes(second.body)
    (told,) = receiver.requests[seen:]
    assert (told.headers["webhook-id"], json.loads(told.body)) == (second.webhook_id, second.content)
    event = Event.objects.get(type="renotified")
    assert (event.job_id, event.data["message_id"]) == (failed_delivery.pk, str(second.pk))
    assert Attestation.objects.count() == 1


def test_no_more_than_five_messages_of_a_jobs_end_wait(
    api: ApiClient, tenant: Tenant, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint(event_types=["job.failed"])
    job = make_job(tenant, service_required="gpu", max_attempts=1)
    fail(job)
    for _ in range(4):
        renotify_job(job, by="alice")

    assert_problem(api.send("post", f"/api/jobs/{job.pk}/renotify"), 409, "too_many_waiting")

    retry_job(job, by="alice")
    fail(job)
    renotify_job(job, by="alice")  # those of the end before are not counted
    assert Message.objects.count() == 7


def test_a_job_whose_end_somebody_has_taken_is_not_told_again(
    api: ApiClient, failed_delivery: Job, receiver: Receiver
) -> None:
    renotify_job(failed_delivery, by="alice")
    deliver()

    response = api.send("post", f"/api/jobs/{failed_delivery.pk}/renotify")

    assert_problem(response, 409, "invalid_transition")
    assert Message.objects.count() == 2


def test_what_was_told_of_an_earlier_end_does_not_count(
    tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint(event_types=["job.failed"])
    job = make_job(tenant, service_required="gpu", max_attempts=1)
    fail(job)
    deliver()
    retry_job(job, by="alice")
    receiver.behaviour = answer(500)
    fail(job)
    deliver()
    assert list(Delivery.objects.order_by("id").values_list("status", flat=True)) == ["delivered", "failed"]

    renotify_job(job, by="alice")

    assert Message.objects.count() == 3


def refused_jobs(tenant: Tenant) -> dict[str, Callable[[], Job]]:
    return {
        "is queued": lambda: make_job(tenant),
        "step of a workflow": lambda: make_job(
            tenant, status="completed", workflow=make_workflow(tenant), step_index=0
        ),
        "of this kind": lambda: make_job(tenant, kind="webhooks.match_receipts", status="completed"),
    }


@pytest.mark.parametrize("why", ["is queued", "step of a workflow", "of this kind"])
def test_a_job_of_which_there_is_nothing_to_tell_is_refused(
    tenant: Tenant, make_endpoint: MakeEndpoint, why: str
) -> None:
    make_endpoint()
    job = refused_jobs(tenant)[why]()

    with pytest.raises(InvalidTransition, match=why):
        renotify_job(job, by="alice")

    assert not Message.objects.exists()


def test_a_job_that_nobody_listens_to_is_refused(tenant: Tenant) -> None:
    with pytest.raises(NobodyListens):
        renotify_job(make_job(tenant, status="completed"), by="alice")


def test_another_field_is_refused(api: ApiClient, tenant: Tenant) -> None:
    job = make_job(tenant, status="completed")

    response = api.send("post", f"/api/jobs/{job.pk}/renotify", {"payload": {}})

    assert_problem(response, 422, "invalid")
