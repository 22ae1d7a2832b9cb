"""Staff of one tenant: what they reach of another's, which is nothing, and how the monitor answers them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.models import Group, User
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model
from django.test import Client, RequestFactory
from django.urls import reverse

from jobs.admin.access.scoping import ScopedAdmin
from jobs.models import ApiKey, Collection, Job, Tenant
from jobs.rollups.folding import fold, sample_queues
from jobs.streams.access import SessionAccess
from tests.factories import (
    make_cluster,
    make_collection,
    make_endpoint,
    make_event,
    make_job,
    make_key,
    make_message,
    make_operator,
    make_restricted,
    make_service,
    make_session,
    make_submission,
    make_superuser,
    make_worker,
    make_workflow,
)
from webhooks.models import Endpoint, Sender

HIDDEN = [
    f"hidden{noun}"
    for noun in ("host", "code", "service", "workflow", "endpoint", "user", "worker", "queue", "operator")
]
STEPS = '[{"name": "paint", "service_required": "artgen", "payload": {}}]'


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def operator(tenant: Tenant) -> User:
    """An admin and superuser, to whom the restriction to `acme` is the only limit."""
    user = make_superuser("root of acme")
    user.groups.add(Group.objects.get(name="admin"))
    return make_restricted(user, tenant)


@pytest.fixture
def monitor(operator: User) -> Client:
    return client_of(operator)


def list_of(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def listed(client: Client, model: type[Model], **query: str) -> set[Any]:
    response = client.get(list_of(model), query)
    assert response.status_code == 200
    return {row.pk for row in response.context["cl"].result_list}


@pytest.mark.parametrize("model", admin.site._registry, ids=lambda model: model._meta.label)
def test_every_page_says_whose_its_rows_are(model: type[Model]) -> None:
    model_admin = admin.site._registry[model]

    assert isinstance(model_admin, ScopedAdmin), f"{model._meta.label} is not scoped"
    if model_admin.tenant_path not in ("", "pk"):
        found: Any = model
        for name in model_admin.tenant_path.split("__"):
            found = found._meta.get_field(name).related_model
        assert found is Tenant


@pytest.mark.parametrize("model", admin.site._registry, ids=lambda model: model._meta.label)
def test_what_is_the_platforms_own_is_said_to_be(model: type[Model]) -> None:
    model_admin = admin.site._registry[model]
    assert isinstance(model_admin, ScopedAdmin)
    try:
        model._meta.get_field("tenant")
    except FieldDoesNotExist:
        assert model_admin.tenant_path in ("", "pk")
    else:
        assert model_admin.tenant_path


def test_of_what_is_the_platforms_own_even_a_superuser_has_no_right(operator: User) -> None:
    request = RequestFactory().get("/")
    request.user = operator

    for model, model_admin in admin.site._registry.items():
        assert isinstance(model_admin, ScopedAdmin)
        if model_admin.tenant_path:
            continue
        rights = model_admin.get_model_perms(request)
        assert not any(rights.values()), (model, rights)
        assert not model_admin.has_module_permission(request), model
        assert not model_admin.get_queryset(request).exists(), model
        assert model_admin.get_actions(request) == {}, model


def test_a_search_finds_ones_own_rows_alone(monitor: Client, tenant: Tenant, other_tenant: Tenant) -> None:
    mine, theirs = (make_workflow(each, workflow_id="order-7") for each in (tenant, other_tenant))
    job = make_job(other_tenant, workflow=theirs, step_index=0)

    assert listed(monitor, type(mine), q="order-7") == {mine.pk}
    assert listed(monitor, type(mine), q=str(theirs.pk)) == set()
    assert listed(monitor, Job, q=str(job.pk)) == set()
    assert listed(monitor, type(mine), q="order-7", tenant="globex") == set()


def test_filters_offer_nothing_of_another_tenant(
    monitor: Client, tenant: Tenant, other_tenant: Tenant
) -> None:
    make_worker(other_tenant, services=["secretservice"])
    make_service("hiddenservice")
    make_collection(other_tenant, name="hiddencollection")
    endpoint = make_endpoint(other_tenant, description="hiddenendpoint")
    make_job(tenant)

    for model in admin.site._registry:
        response = monitor.get(list_of(model))
        if response.status_code == 403:
            continue
        html = response.content.decode()
        for word in ("globex", "secretservice", "hiddenservice", "hiddencollection", "hiddenendpoint"):
            assert word not in html, (model, word)
        assert str(endpoint.pk) not in html, model


def test_the_overview_shows_nothing_of_another_tenant(
    monitor: Client, tenant: Tenant, other_tenant: Tenant
) -> None:
    make_cluster(hostname="hiddenhost")
    make_job(other_tenant, status="failed", service_required="hiddenservice", error={"code": "hiddencode"})
    make_job(other_tenant, service_required="hiddenservice")
    make_workflow(other_tenant, workflow_id="hiddenworkflow")
    make_endpoint(
        other_tenant, description="hiddenendpoint", disabled_at="2026-01-01T00:00:00Z", disabled_reason="gone"
    )
    make_submission(other_tenant, user_id="hiddenuser")
    make_worker(other_tenant, worker_id="hiddenworker")
    make_service("hiddenqueue", paused_at="2026-01-01T00:00:00Z", paused_by="hiddenoperator")
    fold()
    sample_queues()

    for name in ("index", "overview_figures"):
        html = monitor.get(reverse(f"admin:{name}")).content.decode()
        told = [word for word in HIDDEN if word in html]
        assert told == [], name
        assert "to be reviewed" not in html, name
        assert "globex" not in html, name


def test_a_form_takes_and_offers_ones_own_tenant_alone(
    monitor: Client, tenant: Tenant, other_tenant: Tenant
) -> None:
    fields = {"name": "new", "steps": STEPS, "scopes": ["read"], "url": "https://93.184.215.14/hooks"}
    fields |= {"max_in_flight": "1", "session_id": "new", "proof_type": "groth16"}
    for model in (Collection, ApiKey, Endpoint, Sender):
        add = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add")
        model.objects.all().delete()

        form = monitor.get(add).content.decode()
        refused = monitor.post(add, {**fields, "tenant": str(other_tenant.pk)})
        taken = monitor.post(add, {**fields, "tenant": str(tenant.pk)})

        assert str(tenant.pk) in form, model
        assert "errors" in refused.context, model
        assert refused.context["errors"], model
        assert taken.status_code in (200, 302)
        owners = [row.tenant for row in model.objects.select_related("tenant")]
        assert owners == [tenant], model


def test_an_autocomplete_offers_ones_own_tenant_alone(
    monitor: Client, tenant: Tenant, other_tenant: Tenant
) -> None:
    query = {"app_label": "jobs", "model_name": "collection", "field_name": "tenant"}

    found = json.loads(monitor.get(reverse("admin:autocomplete"), query).content)

    assert [each["text"] for each in found["results"]] == ["acme"]


def test_actions_over_all_touch_ones_own_rows_alone(
    monitor: Client, tenant: Tenant, other_tenant: Tenant
) -> None:
    mine, theirs = (make_collection(each) for each in (tenant, other_tenant))
    posted = {
        "action": "delete_selected",
        ACTION_CHECKBOX_NAME: [str(theirs.pk), str(mine.pk)],
        "select_across": "1",
        "post": "yes",
    }

    monitor.post(list_of(Collection), posted)

    assert list(Collection.objects.all()) == [theirs]


def test_a_bulk_operation_over_all_touches_ones_own_rows_alone(
    monitor: Client, tenant: Tenant, other_tenant: Tenant, run_jobs: Any
) -> None:
    mine, theirs = (
        make_job(each, service_required="artgen", status="failed") for each in (tenant, other_tenant)
    )
    posted = {
        "action": "retry_jobs",
        ACTION_CHECKBOX_NAME: [str(theirs.pk), str(mine.pk)],
        "select_across": "1",
        "confirmed": "1",
        "reason": "The GPU is back.",
    }

    monitor.post(list_of(Job), posted)
    run_jobs()

    mine.refresh_from_db()
    theirs.refresh_from_db()
    assert (mine.status, theirs.status) == ("queued", "failed")


def test_a_key_of_another_tenant_is_not_revoked(monitor: Client, other_tenant: Tenant) -> None:
    key = make_key(other_tenant)[0]
    posted = {"action": "revoke_keys", ACTION_CHECKBOX_NAME: [key.pk], "confirmed": "1"}

    monitor.post(list_of(ApiKey), posted)

    key.refresh_from_db()
    assert key.revoked_at is None


def test_where_an_object_has_its_page_is_not_told(monitor: Client, other_tenant: Tenant) -> None:
    assert monitor.get(f"/admin/r/1/{other_tenant.pk}/").status_code == 404


def test_a_trace_shows_ones_own_part_of_it(monitor: Client, tenant: Tenant, other_tenant: Tenant) -> None:
    trace = "ab" * 16
    mine, theirs = (make_workflow(each, trace_id=trace) for each in (tenant, other_tenant))
    jobs = [make_job(each.tenant, workflow=each, step_index=0, trace_id=trace) for each in (mine, theirs)]
    message = make_message(other_tenant, workflow=theirs, trace_id=trace)

    html = monitor.get(reverse("admin:trace", args=[trace])).content.decode()

    assert str(mine.workflow_id) in html
    assert str(jobs[0].pk) in html
    for row in (theirs, jobs[1], message):
        assert str(row.pk) not in html
    assert "globex" not in html


def test_an_own_tenant_is_seen_and_not_changed(monitor: Client, tenant: Tenant, other_tenant: Tenant) -> None:
    url = reverse("admin:jobs_tenant_change", args=[tenant.pk])

    assert listed(monitor, Tenant) == {tenant.pk}
    assert monitor.get(url).status_code == 200
    assert monitor.post(url, {"name": "mine"}).status_code == 403
    assert monitor.get(reverse("admin:jobs_tenant_add")).status_code == 403


def test_an_inactive_tenants_staff_see_it_still(monitor: Client, tenant: Tenant) -> None:
    job = make_job(tenant)
    Tenant.objects.filter(pk=tenant.pk).update(is_active=False)

    assert listed(monitor, Job) == {job.pk}


# Streams


def test_streams_are_of_ones_own_tenant_alone(tenant: Tenant, other_tenant: Tenant) -> None:
    user = make_restricted(make_operator("jobs.view_workflow", "jobs.view_job"), tenant)
    client = client_of(user)
    mine = make_workflow(tenant, workflow_id="order-7")
    theirs = make_workflow(other_tenant, workflow_id="order-8")
    job = make_job(other_tenant, workflow=theirs, step_index=0)
    make_event(make_job(tenant, workflow=mine, step_index=0), lines=["mine"])

    def status(path: str, **query: str) -> int:
        return client.get(path, query).status_code

    assert status("/api/workflows/order-7/events") == 200
    assert status("/api/workflows/order-7/events", tenant="acme") == 200
    assert status("/api/workflows/order-7/events", tenant="globex") == 404
    assert status("/api/workflows/order-8/events") == 404
    assert status("/api/workflows/order-8/events", tenant="globex") == 404
    assert status(f"/api/jobs/{job.pk}/events") == 404


def test_a_stream_ends_when_its_watcher_is_restricted(tenant: Tenant) -> None:
    user = make_operator("jobs.view_job")
    client = client_of(user)
    access = SessionAccess(user.pk, client.session.session_key or "", "jobs.view_job")
    held_before = access.holds()

    make_restricted(user, tenant)

    assert held_before
    assert not access.holds()


def test_a_session_is_watched_by_its_tenants_staff(tenant: Tenant, other_tenant: Tenant) -> None:
    user = make_restricted(make_operator("attestations.view_proofsession"), tenant)
    client = client_of(user)
    theirs = make_session(other_tenant, session_id="theirs")

    response = client.get("/api/workflow", {"sessionId": theirs.session_id, "tenant": "globex"})

    assert response.status_code == 404
