"""Who may watch, how many at a time, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core import signing
from django.test import Client as Browser
from django.utils import timezone

from config import broadcasting
from jobs.models import ApiKey, Job, Tenant
from jobs.streams.tokens import SALT, read_token
from jobs.tenancy.services import revoke_api_key
from tests.conftest import ApiClient
from tests.factories import make_job, make_key, make_operator, make_tenant, make_user, make_workflow
from tests.jobs.streams.conftest import WebProcess
from tests.jobs.streams.watching import Client, on_thread, watch, watching
from tests.jobs.test_api_access import assert_problem


@pytest.fixture
def ended(tenant: Tenant) -> Job:
    """A job whose stream ends at once."""
    return make_job(tenant, status=Job.Status.COMPLETED)


def address_of(job: Job) -> str:
    return f"/api/jobs/{job.pk}/events"


def make_stream_token(api: ApiClient, **fields: Any) -> Any:
    return api.send("post", "/api/stream-tokens", fields)


def test_without_a_key_401(ended: Job) -> None:
    response = ApiClient().send("get", address_of(ended), accept="text/event-stream")

    assert_problem(response, 401, "not_authenticated")
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_another_scope_403(ended: Job, api_as: Callable[..., ApiClient], tenant: Tenant) -> None:
    workflow = make_workflow(tenant)

    for address in (address_of(ended), f"/api/workflows/{workflow.workflow_id}/events"):
        response = api_as(tenant, "submit", "work", "manage").send("get", address)

        assert_problem(response, 403, "scope_missing")


def test_a_strangers_stream_404(api: ApiClient, other_tenant: Tenant) -> None:
    theirs, workflow = make_job(other_tenant), make_workflow(other_tenant)

    for address in (address_of(theirs), f"/api/workflows/{workflow.workflow_id}/events"):
        assert_problem(api.send("get", address), 404, "not_found")
    assert_problem(api.send("get", f"/api/jobs/{uuid4()}/events"), 404, "not_found")


def test_a_finite_answer_is_all_that_plain_wsgi_gives(api: ApiClient, tenant: Tenant) -> None:
    running = make_job(tenant, status=Job.Status.RUNNING)

    response = api.send("get", address_of(running), accept="text/event-stream")

    assert response.status_code == 200
    assert response["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.content.startswith(b"retry: 3000\n\nevent: job\ndata: {")
    assert not response.streaming


def test_head_and_other_methods(api: ApiClient, ended: Job) -> None:
    head = api.send("head", address_of(ended))

    assert (head.status_code, head.content) == (200, b"")
    assert head["Content-Type"] == "text/event-stream; charset=utf-8"
    assert api.send("options", address_of(ended)).status_code == 200
    assert ApiClient().send("options", address_of(ended)).status_code == 401
    assert_problem(api.send("post", address_of(ended), {}), 403, "permission_denied")


def test_a_token_opens_streams_and_nothing_else(api: ApiClient, ended: Job) -> None:
    made = make_stream_token(api)
    token = made.json()["token"]

    assert made.status_code == 201
    assert made["Cache-Control"] == "no-store"
    response = ApiClient().send("get", f"{address_of(ended)}?token={token}")
    assert response.status_code == 200
    assert response["Access-Control-Allow-Origin"] == "*"
    assert_problem(ApiClient().send("get", f"/api/jobs/{ended.pk}?token={token}"), 401, "not_authenticated")
    assert_problem(ApiClient(token).send("get", address_of(ended)), 401, "invalid_api_key")


def test_a_token_expires(api: ApiClient, ended: Job) -> None:
    body = make_stream_token(api, expires_in_seconds=60).json()
    expires_at = read_token(body["token"]).expires_at  # type: ignore[union-attr]
    said = signing.loads(body["token"], salt=SALT)
    old = signing.dumps({**said, "expires": int(timezone.now().timestamp()) - 1}, salt=SALT)

    assert timedelta(seconds=55) < expires_at - timezone.now() <= timedelta(seconds=60)
    assert_problem(ApiClient().send("get", f"{address_of(ended)}?token={old}"), 401, "invalid_token")


@pytest.mark.parametrize("text", ["", "nonsense", "a:b:c", "\u00e9"])
def test_what_is_no_token_401(ended: Job, text: str) -> None:
    response = ApiClient().get(address_of(ended), {"token": text})

    assert_problem(response, 401, "invalid_token")


def test_a_token_dies_with_its_key(api: ApiClient, ended: Job) -> None:
    token = make_stream_token(api).json()["token"]

    revoke_api_key(ApiKey.objects.get())

    assert_problem(ApiClient().send("get", f"{address_of(ended)}?token={token}"), 401, "invalid_token")


def test_a_token_has_no_more_than_its_key(api_as: Callable[..., ApiClient], tenant: Tenant) -> None:
    submitter, reader = api_as(tenant, "submit"), api_as(tenant, "read")

    assert_problem(make_stream_token(submitter), 403, "scope_missing")
    assert_problem(make_stream_token(reader, scopes=["read", "submit"]), 403, "scope_missing")
    assert_problem(make_stream_token(ApiClient()), 401, "not_authenticated")
    assert_problem(make_stream_token(reader, scopes=["manage"]), 422, "invalid")
    assert_problem(make_stream_token(reader, expires_in_seconds=3_601), 422, "invalid")
    assert make_stream_token(submitter, scopes=["submit"]).status_code == 201


def test_a_token_of_another_scope_403(api: ApiClient, ended: Job) -> None:
    token = make_stream_token(api, scopes=["submit"]).json()["token"]

    assert_problem(ApiClient().send("get", f"{address_of(ended)}?token={token}"), 403, "scope_missing")


def test_a_token_ends_when_its_key_does(tenant: Tenant) -> None:
    soon = timezone.now() + timedelta(seconds=30)
    key = make_key(tenant, "read", expires_at=soon)[1]

    token = make_stream_token(ApiClient(key), expires_in_seconds=3_600).json()["token"]

    assert read_token(token).expires_at <= soon  # type: ignore[union-attr]


def logged_in(user: User) -> Browser:
    browser = Browser()
    browser.force_login(user)
    return browser


def test_a_person_watches_by_permission(ended: Job) -> None:
    may, may_not = make_operator("jobs.view_job"), make_operator("jobs.view_workflow")

    assert logged_in(may).get(address_of(ended)).status_code == 200
    assert_problem(logged_in(may_not).get(address_of(ended)), 403, "permission_denied")
    assert_problem(logged_in(make_user()).get(address_of(ended)), 403, "permission_denied")


def test_a_person_names_the_tenant_where_a_name_is_not_enough(tenant: Tenant, other_tenant: Tenant) -> None:
    for owner in (tenant, other_tenant):
        make_workflow(owner, workflow_id="same", status="completed")
    browser = logged_in(make_operator("jobs.view_workflow"))

    assert_problem(browser.get("/api/workflows/same/events"), 422, "invalid")
    assert browser.get("/api/workflows/same/events?tenant=acme").status_code == 200
    assert_problem(browser.get("/api/workflows/same/events?tenant=nobody"), 404, "not_found")


def running_job(web: WebProcess) -> tuple[Job, ApiKey, str]:
    owner = make_tenant()
    key, text = make_key(owner, "read")
    return make_job(owner, status=Job.Status.RUNNING), key, text


def test_a_revoked_key_closes_its_streams(web: WebProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcasting, "ACCESS_EVERY_SECONDS", 0.05)
    job, key, text = running_job(web)
    _, other = make_key(job.tenant, "read")  # type: ignore[arg-type]

    async def body() -> tuple[Client, bool]:
        async with (
            watching(address_of(job), key=text) as client,
            watching(address_of(job), key=other) as kept,
        ):
            await client.until(lambda c: bool(c.seen))
            await on_thread(revoke_api_key, key)
            await client.until_closed()
            return client, kept.is_closed

    client, is_other_closed = watch(body)

    assert [seen.event for seen in client.seen] == ["job"]
    assert not is_other_closed


@pytest.mark.parametrize("how", ["logged out", "demoted", "deactivated", "inactive tenant"])
def test_who_may_no_longer_watch_is_sent_away(
    web: WebProcess, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(broadcasting, "ACCESS_EVERY_SECONDS", 0.05)
    job, _, text = running_job(web)
    user = make_operator("jobs.view_job")
    cookie = logged_in(user).cookies["sessionid"].value
    key, headers = (text, {}) if "tenant" in how else ("", {"cookie": f"sessionid={cookie}"})

    def lose() -> None:
        if how == "logged out":
            Session.objects.all().delete()
        elif how == "demoted":
            user.user_permissions.clear()
            user.groups.clear()
        elif how == "deactivated":
            User.objects.update(is_active=False)
        else:
            Tenant.objects.update(is_active=False)

    async def body() -> None:
        async with watching(address_of(job), key=key, **headers) as client:
            await client.until(lambda c: bool(c.seen))
            assert not client.is_closed
            await on_thread(lose)
            await client.until_closed()

    watch(body)


def test_a_stream_ends_with_its_token(web: WebProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcasting, "ACCESS_EVERY_SECONDS", 0.05)
    job, _, text = running_job(web)
    token = make_stream_token(ApiClient(text), expires_in_seconds=2).json()["token"]

    async def body() -> Client:
        async with watching(f"{address_of(job)}?token={token}") as client:
            return await client.until_closed()

    assert watch(body).status == 200


def test_a_connection_has_a_longest_life(web: WebProcess, settings: Any) -> None:
    settings.STREAM_SECONDS = 0.2
    job, _, text = running_job(web)

    async def body() -> Client:
        async with watching(address_of(job), key=text) as client:
            return await client.until_closed()

    assert [seen.event for seen in watch(body).seen] == ["job"]


@pytest.mark.parametrize(
    ("setting", "status", "code"),
    [("STREAMS_PER_KEY", 429, "too_many_streams"), ("STREAMS_MAX", 503, "streams_full")],
)
def test_more_streams_than_there_is_room_for(
    web: WebProcess, settings: Any, setting: str, status: int, code: str
) -> None:
    setattr(settings, setting, 1)
    job, _, text = running_job(web)

    async def body() -> tuple[Client, int]:
        async with (
            watching(address_of(job), key=text) as first,
            watching(address_of(job), key=text) as second,
        ):
            assert not first.is_closed
            await second.until_closed()
        async with watching(address_of(job), key=text) as third:
            return second, third.status

    refused, third = watch(body)

    assert (refused.status, refused.problem["code"], third) == (status, code, 200)
    assert refused.headers["content-type"] == "application/problem+json"
    assert int(refused.headers["retry-after"]) > 0
    assert refused.problem["trace_id"] == refused.headers["x-trace-id"]


def test_a_page_of_another_site_may_read_why_it_is_refused(web: WebProcess, settings: Any) -> None:
    settings.STREAMS_PER_KEY = 1
    job, _, text = running_job(web)
    token = make_stream_token(ApiClient(text)).json()["token"]

    async def body() -> list[Client]:
        address = f"{address_of(job)}?token={token}"
        async with watching(address) as first, watching(address) as refused:
            await refused.until_closed()
        async with watching(address_of(job), key=text), watching(address_of(job), key=text) as by_key:
            return [first, refused, by_key]

    clients = watch(body)

    assert [client.status for client in clients] == [200, 429, 429]
    assert [client.headers.get("access-control-allow-origin") for client in clients] == ["*", "*", None]


def test_another_keys_streams_do_not_count(web: WebProcess, settings: Any) -> None:
    settings.STREAMS_PER_KEY = 1
    job, _, text = running_job(web)
    _, other = make_key(job.tenant, "read")  # type: ignore[arg-type]

    async def body() -> list[int]:
        async with (
            watching(address_of(job), key=text) as first,
            watching(address_of(job), key=other) as second,
        ):
            return [first.status, second.status]

    assert watch(body) == [200, 200]
