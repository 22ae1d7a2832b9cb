"""What is kept of a list, and what is taken away from it: saved views and exports."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse

from jobs.admin.lists import exports, scans
from jobs.models import AuditEntry, Event, Job, SavedView, StaffTenant, Tenant
from tests.factories import make_event, make_job, make_key, make_operator, make_superuser, make_workflow

JOBS = reverse("admin:jobs_job_changelist")
SAVE = reverse("admin:jobs_job_save_view")
CSV = reverse("admin:jobs_job_export", args=["csv"])
JSON = reverse("admin:jobs_job_export", args=["json"])


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def viewer(db: None) -> User:
    return make_operator("jobs.view_job", name="vera")


@pytest.fixture
def colleague(db: None) -> User:
    return make_operator("jobs.view_job", name="carl")


@pytest.fixture
def restricted(tenant: Tenant) -> User:
    user = make_operator("jobs.view_job", name="rita")
    StaffTenant.objects.create(user=user, tenant=tenant)
    return user


def save(user: User, name: str, query: str = "status=failed", **fields: str) -> SavedView:
    response = client_of(user).post(SAVE, {"name": name, "query": query, **fields})
    assert response.status_code == 302, response
    return SavedView.objects.get(user=user, name=name)


def tabs(user: User) -> list[str]:
    return [tab.view.name for tab in client_of(user).get(JOBS).context["cl"].tabs]


def page_of(view: SavedView) -> str:
    return reverse("admin:jobs_job_saved_view", args=[view.pk])


# --- Saved views ------------------------------------------------------------------------------------


def test_filters_are_kept_under_a_name(viewer: User, colleague: User) -> None:
    view = save(viewer, "Failures", "status=failed&kind__not=x&before=1&p=3&e=1&q=")

    (tab,) = client_of(viewer).get(f"{JOBS}?{view.query}").context["cl"].tabs
    assert (view.query, view.model, view.is_shared) == ("kind__not=x&status=failed", "jobs.Job", False)
    assert (tab.url, tab.is_current, tab.is_mine) == ("?kind__not=x&status=failed", True, True)
    assert tabs(colleague) == []
    (entry,) = AuditEntry.objects.filter(action="save view")
    assert (entry.actor, entry.object_text) == ("vera", "Failures")
    assert entry.after == {"list": "jobs.Job", "query": view.query, "is_shared": False}


def test_a_view_of_the_same_name_is_changed(viewer: User) -> None:
    save(viewer, "Mine")
    view = save(viewer, "Mine", "status=queued", is_shared="on")

    assert (view.query, view.is_shared, SavedView.objects.count()) == ("status=queued", True, 1)


def test_a_shared_view_is_seen_by_who_may_open_the_list(viewer: User, colleague: User) -> None:
    save(viewer, "Shared", is_shared="on")

    assert tabs(colleague) == ["Shared"]
    stranger = client_of(make_operator("jobs.view_worker"))
    assert stranger.get(JOBS).status_code == 403
    assert stranger.post(SAVE, {"name": "x", "query": ""}).status_code == 403


def test_a_restricted_account_sees_views_of_its_own_restriction_alone(
    viewer: User, restricted: User, tenant: Tenant, other_tenant: Tenant
) -> None:
    mate, rival = make_operator("jobs.view_job", name="mate"), make_operator("jobs.view_job", name="rival")
    StaffTenant.objects.create(user=mate, tenant=tenant)
    StaffTenant.objects.create(user=rival, tenant=other_tenant)
    for user in (viewer, mate, rival):
        save(user, f"of {user.username}", is_shared="on")

    assert tabs(restricted) == ["of mate"]
    assert tabs(viewer) == ["of mate", "of rival", "of vera"]


def test_ones_own_view_is_renamed_and_deleted(viewer: User) -> None:
    view = save(viewer, "Old")
    client = client_of(viewer)

    client.post(page_of(view), {"name": "New", "is_shared": "on"})
    view.refresh_from_db()
    assert (view.name, view.is_shared) == ("New", True)

    client.post(page_of(view), {"delete": "1", "name": "New"})
    assert not SavedView.objects.exists()
    assert list(AuditEntry.objects.order_by("pk").values_list("action", flat=True)) == [
        "save view",
        "change",
        "delete",
    ]


def test_anothers_view_is_changed_by_a_superuser_alone_and_only_where_it_is_shared(
    viewer: User, colleague: User
) -> None:
    shared, own = save(viewer, "Shared", is_shared="on"), save(viewer, "Own")
    chief = client_of(make_superuser())

    assert client_of(colleague).post(page_of(shared), {"name": "Mine now"}).status_code == 403
    assert client_of(colleague).post(page_of(own), {"delete": "1"}).status_code == 404
    assert chief.post(page_of(own), {"delete": "1"}).status_code == 404
    assert chief.post(page_of(shared), {"delete": "1"}).status_code == 302
    assert list(SavedView.objects.all()) == [own]


@pytest.mark.parametrize("name", ["", "   "])
def test_a_view_without_a_name_is_refused(viewer: User, name: str) -> None:
    response = client_of(viewer).post(SAVE, {"name": name, "query": "status=failed"}, follow=True)

    assert "A view needs a name." in response.content.decode()
    assert not SavedView.objects.exists()


def test_a_name_that_is_taken_is_refused(viewer: User) -> None:
    save(viewer, "One")
    two = save(viewer, "Two")

    response = client_of(viewer).post(page_of(two), {"name": "One"}, follow=True)

    assert "There is a view “One” already." in response.content.decode()
    two.refresh_from_db()
    assert two.name == "Two"


def test_odd_views_do_no_harm(viewer: User) -> None:
    client = client_of(viewer)

    client.post(SAVE, {"name": "<script>alert(1)</script>" + "x" * 100, "query": "status=broken&nothing=1"})
    client.post(SAVE, {"name": "long", "query": "q=" + "x" * 5_000})
    client.post(SAVE, {"name": "a\0b", "query": ""})

    assert client.get(SAVE).status_code == 405
    assert sorted(SavedView.objects.values_list("name", flat=True))[-1] == "a\ufffdb"
    assert not SavedView.objects.filter(name="long").exists()
    assert "<script>alert" not in client.get(JOBS).content.decode()


# --- Exports ----------------------------------------------------------------------------------------


def text_of(user: User, url: str) -> str:
    response: Any = client_of(user).get(url)
    assert response.status_code == 200
    return b"".join(response.streaming_content).decode("utf-8-sig")


def csv_of(user: User, query: str = "") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text_of(user, CSV + query))))


def json_of(user: User, query: str = "") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(text_of(user, JSON + query))
    return rows


def test_a_filtered_list_is_exported(viewer: User, tenant: Tenant) -> None:
    failed = [make_job(tenant, status="failed", worker="gpu-7") for _ in range(3)][::-1]
    make_job(tenant)

    rows, objects = csv_of(viewer, "?status=failed"), json_of(viewer, "?status=failed")

    assert [row["id"] for row in rows] == [row["id"] for row in objects] == [str(job.pk) for job in failed]
    assert rows[0]["tenant"] == objects[0]["tenant"] == "acme"
    assert failed[0].failed_at
    assert rows[0]["failed_at"] == objects[0]["failed_at"] == failed[0].failed_at.isoformat()
    assert objects[0]["attempt"] == 0
    assert objects[0]["workflow_id"] is None
    assert not {"payload", "result", "lease_token", "error"} & rows[0].keys()


def test_payloads_are_exported_where_they_are_asked_for_and_masked(viewer: User, tenant: Tenant) -> None:
    make_job(tenant, payload={"prompt": "a castle", "auth": {"password": "hunter2"}}, result=["x"])

    ((row,), (item,)) = csv_of(viewer, "?with=payload"), json_of(viewer, "?with=payload")

    assert item["payload"] == {"prompt": "a castle", "auth": {"password": "••••••"}}
    assert json.loads(row["payload"]) == item["payload"]
    assert (item["result"], row["result"]) == (["x"], '["x"]')


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("x")'])
def test_no_cell_is_a_formula(viewer: User, tenant: Tenant, text: str) -> None:
    make_job(tenant, worker=text)

    (row,) = csv_of(viewer)
    (item,) = json_of(viewer)

    assert row["worker"] == f"'{text}"
    assert item["worker"] == text


def test_text_comes_through_as_it_is(viewer: User, tenant: Tenant) -> None:
    text = 'ü, "quoted"\nand → more'
    make_job(tenant, worker=text)

    assert csv_of(viewer)[0]["worker"] == text
    assert json_of(viewer)[0]["worker"] == text


def test_an_export_goes_on_over_lots_and_windows(
    viewer: User, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "LOT", 2)
    monkeypatch.setattr(scans, "SEARCHED_ROWS", 5)
    jobs = [make_job(tenant, worker="gpu" if n % 3 else "x", status="completed") for n in range(17)]
    wanted = [str(job.pk) for job in reversed(jobs) if job.worker == "gpu"]

    for query in ("?worker=gpu", "?q=gpu", "?service__not=x&worker=gpu", "?tenant=acme&worker__not=x"):
        assert [row["id"] for row in json_of(viewer, query)] == wanted, query


def test_an_export_is_cut_and_says_so(viewer: User, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "EXPORT_MAX", 3)
    for _ in range(3):
        make_job(tenant)
    assert len(json_of(viewer)) == 3

    make_job(tenant)

    response = client_of(viewer).get(CSV)
    assert response["X-Export-Cut"] == "true"
    assert [row["id"] for row in csv_of(viewer)][3:] == ["Cut after 3 rows: there are more."]
    assert json_of(viewer)[3:] == [{"cut": "There are more than 3 rows."}]


def test_an_empty_list_is_exported(viewer: User) -> None:
    assert csv_of(viewer) == []
    assert json_of(viewer) == []


def test_an_export_is_written_down(restricted: User, tenant: Tenant) -> None:
    make_job(tenant, status="failed")

    json_of(restricted, "?status=failed&with=payload")

    (entry,) = AuditEntry.objects.filter(action="export")
    assert (entry.actor, entry.model, entry.tenant_id, entry.outcome) == (
        "rita",
        "jobs.Job",
        tenant.pk,
        "1 rows",
    )
    assert entry.after == {"filters": "status=failed", "format": "json", "with_payload": True}


def test_an_export_has_what_the_account_may_see(
    restricted: User, tenant: Tenant, other_tenant: Tenant
) -> None:
    ours = make_job(tenant)
    make_job(other_tenant)
    make_job()

    assert [row["id"] for row in json_of(restricted)] == [str(ours.pk)]
    assert json_of(restricted, "?tenant=globex") == []
    stranger = client_of(make_operator("jobs.view_worker"))
    assert (stranger.get(CSV).status_code, Client().get(CSV).status_code) == (403, 302)


def test_an_export_of_what_a_filter_cant_take_is_empty(viewer: User, tenant: Tenant) -> None:
    make_job(tenant, payload={"password": "x"})

    assert json_of(viewer, "?payload=password=x") == []
    assert client_of(viewer).get(reverse("admin:jobs_job_export", args=["xml"])).status_code == 404
    assert client_of(viewer).get(f"{CSV}?lease_token=x").status_code == 400


def test_a_digest_of_a_key_is_not_exported(tenant: Tenant) -> None:
    key = make_key(tenant)[0]

    text = text_of(make_superuser(), reverse("admin:jobs_apikey_export", args=["csv"]))

    assert key.pk in text
    assert "digest" not in text
    assert key.digest not in text


def test_no_export_of_any_list_has_a_secret_column() -> None:
    names = {
        f"{model._meta.label}.{field.name}"
        for model in admin.site._registry
        for field in model._meta.concrete_fields
        if exports._may_leave(field)
    }

    assert "attestations.Attestation.digest" in names
    assert not {name for name in names if "sealed" in name or "lease" in name and "token" in name}
    assert not names & {"jobs.ApiKey.digest", "auth.User.password"}


def test_addresses_in_an_export_are_masked(viewer: User, tenant: Tenant) -> None:
    make_job(tenant, worker="https://u:hunter2@host.example")

    assert csv_of(viewer)[0]["worker"] == "https://u:••••••@host.example"


def test_other_lists_are_exported_too(tenant: Tenant) -> None:
    chief = make_superuser()
    make_event(make_job(tenant, workflow=make_workflow(tenant), step_index=0), lines=["a line"])
    event = Event.objects.get()

    (row,) = json.loads(text_of(chief, reverse("admin:jobs_event_export", args=["json"]) + "?with=payload"))

    assert (row["id"], row["type"], row["tenant"]) == (event.pk, "log", "acme")
    assert row["data"] == event.data


@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_held_while_an_export_is_read(viewer: User) -> None:
    for _ in range(3):
        Job.objects.create(kind="system.ping", queue="default", trace_id="1" * 32)

    response: Any = client_of(viewer).get(JSON)
    stream = iter(response.streaming_content)
    next(stream)
    next(stream)

    assert connection.get_autocommit()
    assert not connection.in_atomic_block
    response.close()


def test_an_export_of_failures_says_why(viewer: User, tenant: Tenant) -> None:
    make_job(
        tenant, status="failed", error={"code": "out_of_memory", "message": "No room at https://u:p@gpu/"}
    )
    make_job(tenant, status="failed", error="no object")

    plain, told = sorted(csv_of(viewer), key=lambda row: row["error_code"])

    assert (told["error_code"], plain["error_code"]) == ("out_of_memory", "")
    assert told["error_message"] == "No room at https://u:••••••@gpu/"
