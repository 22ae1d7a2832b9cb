"""/miniapp-gen-mock: takes what we send as a client's app would, calls back, and misbehaves when it is asked to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import standardwebhooks
from django.db import connections
from pytest_django.live_server_helper import LiveServer

from jobs.models import Event, Job, Tenant
from jobs.queue.handlers import find_handler
from jobs.testing import RunJobs
from tests.factories import make_workflow
from tests.jobs.test_api_access import assert_problem
from tests.webhooks.calls import MINIAPP, PATHS, RECEIPT_FIELDS, make_sender, plain, post, send
from webhooks.models import Receipt, Sender, SenderSecret
from webhooks.services.senders import rotate_sender_secret
from webhooks.signatures import matches_plain

BARE = {"workflow_id": "order-7", "user_id": "user-1"}


@dataclass
class App:
    """A server that notes what it is sent, and answers `status`."""

    url: str
    status: int = 200
    calls: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def app(settings: Any) -> Iterator[App]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802  the name http.server calls
            headers = {name.lower(): value for name, value in self.headers.items()}
            noted.calls.append((self.path, headers, self.rfile.read(int(headers["content-length"]))))
            self.send_response(noted.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Nothing: the tests read `calls`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    noted = App(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    reach(settings, noted.url)
    yield noted
    server.shutdown()
    thread.join()
    server.server_close()


def reach(settings: Any, url: str) -> None:
    settings.PUBLIC_URL = url
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    settings.WEBHOOK_ALLOW_HTTP = True


@pytest.fixture
def sender(tenant: Tenant) -> Sender:
    return make_sender(tenant)[0]


@pytest.fixture
def secret(sender: Sender) -> str:
    return sender.secrets.get().text


def event(type_: str, **fields: Any) -> dict[str, Any]:
    """The body of a message of ours."""
    return {"type": type_, "timestamp": "2026-01-01T00:00:00Z", **BARE, "data": {"n": 1}, **fields}


@pytest.mark.parametrize(
    "content",
    [
        BARE,
        event("workflow.completed"),
        event("workflow.failed"),
        event("workflow.cancelled"),
        event("request.reminder"),
    ],
)
def test_what_tells_a_user_is_stored_and_called_back_for(
    tenant: Tenant, sender: Sender, secret: str, content: dict[str, Any]
) -> None:
    response = send(MINIAPP, content, secret)

    assert response.status_code == 200
    assert response.json().keys() == RECEIPT_FIELDS
    receipt = Receipt.objects.get()
    assert (receipt.path, receipt.state, receipt.body) == ("miniapp", "applied", content)
    assert (receipt.sender, receipt.tenant) == (sender, tenant)
    job = Job.objects.get()
    assert (job.kind, job.queue, job.tenant) == ("miniapp.call_back", "webhooks", tenant)
    assert job.payload == {"receipt_id": str(receipt.pk)}
    assert job.trace_id == response["X-Trace-Id"]


@pytest.mark.parametrize(
    "content",
    [
        event("job.completed"),
        event("endpoint.test"),
        event("workflow.completed", user_id=None),
        event("workflow.completed", workflow_id=None),
        {"workflow_id": "order-7"},
        {"user_id": "user-1"},
        {},
    ],
)
def test_what_tells_no_user_is_only_stored(tenant: Tenant, secret: str, content: dict[str, Any]) -> None:
    response = send(MINIAPP, content, secret)

    assert response.status_code == 200
    receipt = Receipt.objects.get()
    assert (receipt.state, receipt.reason) == ("ignored", "nobody_to_tell")
    assert not Job.objects.exists()


@pytest.mark.parametrize("fields", [{"type": 7}, {"workflow_id": "w" * 201}, {"user_id": {}}])
def test_a_wrong_field_is_named(tenant: Tenant, secret: str, fields: dict[str, Any]) -> None:
    problem = assert_problem(send(MINIAPP, {**BARE, **fields}, secret), 422, "invalid")

    assert [error["pointer"][1:] for error in problem["errors"]] == list(fields)  # type: ignore[attr-defined]
    assert not Job.objects.exists()


def test_the_call_back_is_signed_in_both_forms_with_the_current_secret(
    sender: Sender, secret: str, app: App, run_jobs: RunJobs
) -> None:
    send(MINIAPP, BARE, secret)
    current = rotate_sender_secret(sender)

    (job,) = run_jobs()

    assert (job.status, job.result) == ("completed", {"status": 200}), job.error
    ((path, headers, body),) = app.calls
    assert path == f"/api/user_notified?sender={sender.pk}"
    assert headers["content-type"] == "application/json"
    assert headers["traceparent"].split("-")[1] == job.trace_id
    assert matches_plain(headers["x-webhook-signature"], [current], body)
    receipt = Receipt.objects.get()
    assert standardwebhooks.Webhook(current).verify(body, headers) == {
        **BARE,
        "notified_at": receipt.created_at.isoformat(),
        "method": "miniapp",
    }


def test_a_secret_that_can_sign_in_the_plain_form_alone_does(
    tenant: Tenant, app: App, run_jobs: RunJobs
) -> None:
    _, secret = make_sender(tenant, secret="a phrase of our own!")
    send(MINIAPP, BARE, secret)

    run_jobs()

    ((_, headers, body),) = app.calls
    assert matches_plain(headers["x-webhook-signature"], [secret], body)
    assert not [name for name in headers if name.startswith("webhook-")]


def test_an_app_that_fails_is_called_again_with_the_same_bytes(
    secret: str, app: App, run_jobs: RunJobs
) -> None:
    app.status = 503
    send(MINIAPP, BARE, secret)

    (job,) = run_jobs(include_delayed=True)

    handler = find_handler("miniapp.call_back")
    assert handler
    assert handler.retry.delays == (1, 5, 15, 60)
    assert (job.status, job.attempt) == ("failed", 5)
    assert "503" in str(job.error)
    assert len(app.calls) == 5
    assert len({(body, headers["webhook-id"]) for _, headers, body in app.calls}) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_an_app_that_refuses_is_not_called_again(
    secret: str, app: App, run_jobs: RunJobs, status: int
) -> None:
    app.status = status
    send(MINIAPP, BARE, secret)

    (job,) = run_jobs(include_delayed=True)

    assert (job.status, job.attempt) == ("failed", 1)
    assert job.error
    assert job.error["code"] == "call_back_refused"


def test_where_nobody_answers_it_is_tried_again(secret: str, settings: Any, run_jobs: RunJobs) -> None:
    reach(settings, "http://127.0.0.1:9")
    send(MINIAPP, BARE, secret)

    (job,) = run_jobs()

    assert (job.status, job.attempt) == ("queued", 1)


def test_a_receipt_without_its_sender_is_given_up(sender: Sender, secret: str, run_jobs: RunJobs) -> None:
    send(MINIAPP, BARE, secret)
    SenderSecret.objects.all().delete()
    sender.delete()

    (job,) = run_jobs()

    assert (job.status, job.attempt) == ("failed", 1)
    assert job.error
    assert job.error["code"] == "call_back_refused"


@pytest.mark.django_db(transaction=True)
def test_in_the_end_the_user_is_marked_as_told(
    tenant: Tenant, secret: str, live_server: LiveServer, settings: Any, run_jobs: RunJobs
) -> None:
    reach(settings, live_server.url)
    workflow = make_workflow(tenant, status="completed", notification_status="delivered", **BARE)

    response = send(MINIAPP, event("workflow.completed"), secret)
    (job,) = run_jobs()

    assert job.status == "completed", job.error
    workflow.refresh_from_db()
    assert workflow.notification_status == "told"
    told = Receipt.objects.get(path="user_notified")
    assert (told.state, told.trace_id) == ("applied", response["X-Trace-Id"])
    assert Event.objects.get(type="user_notified").data["method"] == "miniapp"
    connections.close_all()


Ask = Callable[..., Any]


@pytest.fixture
def ask(secret: str, settings: Any) -> Ask:
    """Calls the stand-in where it obeys."""
    settings.MINIAPP_MOCK_OBEYS = True

    def call(query: str, *, attempt: str = "") -> Any:
        headers = {"webhook-attempt": attempt} if attempt else {}
        return post(f"{MINIAPP}?{query}", BARE, plain(secret, BARE) | headers)

    return call


def test_it_fails_as_often_as_it_is_asked_to(ask: Ask) -> None:
    attempts = [ask("fail=2", attempt=attempt) for attempt in ("", "1", "2", "nonsense")]

    assert [answer.status_code for answer in attempts] == [503] * 4
    assert not Receipt.objects.exists()
    assert not Job.objects.exists()
    last = ask("fail=2", attempt="3")
    assert (last.status_code, last.json()["state"]) == (200, "applied")
    assert Job.objects.get().kind == "miniapp.call_back"


@pytest.mark.parametrize("status", [302, 400, 410, 429, 500])
def test_it_answers_the_status_it_is_asked_for_and_leaves_nothing(ask: Ask, status: int) -> None:
    response = ask(f"status={status}&retry_after=7")

    assert (response.status_code, response["Retry-After"]) == (status, "7")
    assert not Receipt.objects.exists()


def test_status_and_fail_together_fail_that_way_for_a_while(ask: Ask) -> None:
    assert ask("fail=1&status=429").status_code == 429
    assert ask("fail=1&status=429", attempt="2").status_code == 200


def test_it_may_succeed_with_another_status_or_with_garbage(ask: Ask) -> None:
    assert ask("status=202").json()["state"] == "applied"

    garbage = ask("body=garbage")

    assert garbage.status_code == 200
    with pytest.raises(UnicodeDecodeError):
        garbage.json()
    assert Receipt.objects.get().duplicate_count == 1


def test_it_waits_when_it_is_asked_to(ask: Ask) -> None:
    began = time.monotonic()

    assert ask("delay=1").status_code == 200

    assert 1 <= time.monotonic() - began < 3


@pytest.mark.parametrize(
    "query", ["fail=x", "fail=-1", "status=99", "status=600", "delay=31", "retry_after=", "fail=%00"]
)
def test_what_it_can_not_do_is_a_problem(ask: Ask, query: str) -> None:
    assert_problem(ask(query), 422, "invalid")
    assert not Job.objects.exists()


def test_it_verifies_first(ask: Ask) -> None:
    for query in ("fail=9", "status=200", "delay=30", "body=garbage", "fail=x"):
        assert_problem(post(f"{MINIAPP}?{query}", BARE), 401, "signature_invalid")


def test_it_obeys_nobody_where_that_is_not_set(ask: Ask, settings: Any) -> None:
    settings.MINIAPP_MOCK_OBEYS = False

    for query in ("fail=9", "status=500", "delay=30", "body=garbage", "fail=x", "retry_after=7"):
        response = ask(query)
        assert (response.status_code, response.json()["state"]) == (200, "applied")
        assert "Retry-After" not in response


def test_the_other_paths_obey_nobody(ask: Ask, secret: str) -> None:
    for path in PATHS[:2]:
        assert send(f"{path}?fail=9&status=500", BARE, secret).status_code == 200
