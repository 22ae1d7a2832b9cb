"""Who may open and do what in the admin: every page and every action of every model, by every role."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.models import Group, Permission, User
from django.db.models import Model
from django.test import Client, RequestFactory
from django.urls import reverse

from attestations.models import Attestation, ChainTransaction, ProofSession, Submission
from config.admin import NAVIGATION
from jobs.models import (
    ApiKey,
    Cluster,
    Collection,
    EvaluationRun,
    Event,
    Job,
    Queue,
    Tenant,
    Worker,
    Workflow,
)
from tests.factories import (
    make_attempt,
    make_attestation,
    make_cluster,
    make_collection,
    make_delivery,
    make_endpoint,
    make_event,
    make_job,
    make_key,
    make_operator,
    make_receipt,
    make_sender,
    make_service,
    make_session,
    make_submission,
    make_superuser,
    make_transaction,
    make_user,
    make_worker,
    make_workflow,
)
from webhooks.models import Delivery, Endpoint, Message, Receipt, Sender

# What the platform alone writes.
RECORDS = {
    Job,
    Workflow,
    Event,
    EvaluationRun,
    Worker,
    Cluster,
    Attestation,
    Submission,
    ChainTransaction,
    Delivery,
    Message,
    Receipt,
}
ADDED = {Tenant, ApiKey, Collection, Queue, Endpoint, Sender, ProofSession, User, Group}
DELETED = {Collection, Queue, Cluster, User, Group}

Rows = dict[type[Model], Model]


@pytest.fixture
def rows(tenant: Tenant) -> Rows:
    """One row of each registered model, which an action would have something to do with."""
    workflow = make_workflow(tenant)
    job = make_job(tenant, service_required="artgen", workflow=workflow, step_index=0)
    delivery = make_delivery(make_endpoint(tenant), status="failed")
    make_attempt(delivery)
    sender = make_sender(tenant)
    submission = make_submission(tenant)
    found: list[Model] = [
        tenant,
        workflow,
        job,
        make_attestation(make_job(tenant, status="failed")),
        make_session(tenant),
        submission,
        make_transaction(submission),
        make_event(job),
        EvaluationRun.objects.create(problems={"stuck": 1}, categories={"incomplete": 1}),
        make_worker(tenant),
        make_cluster(),
        make_service("artgen"),
        make_collection(tenant),
        make_key(tenant)[0],
        delivery.endpoint,
        delivery.message,
        delivery,
        sender,
        make_receipt(sender),
        make_user("bystander"),
        Group.objects.create(name="operators"),
    ]
    return {type(row): row for row in found}


def page(name: str, model: type[Model], *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}", args=args)


def pages_of(row: Model) -> dict[str, str]:
    model = type(row)
    return {
        "changelist": page("changelist", model),
        "add": page("add", model),
        "change": page("change", model, row.pk),
        "delete": page("delete", model, row.pk),
        "history": page("history", model, row.pk),
    }


def statuses(client: Client, row: Model) -> dict[str, int]:
    return {name: client.get(url).status_code for name, url in pages_of(row).items()}


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def viewer() -> User:
    """An account that may look at everything and change nothing."""
    user = make_operator()
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    return user


def snapshot() -> dict[str, list[dict[str, Any]]]:
    """Every row of every registered model, as stored; only the time of a login is not looked at."""
    return {
        model.__name__: [
            {name: value for name, value in row.items() if name != "last_login"}
            for row in model._default_manager.order_by("pk").values()
        ]
        for model in admin.site._registry
    }


def actions_of(model_admin: Any) -> dict[str, Any]:
    """Every action of an admin class: its own, the site's, and unfold's four kinds."""
    own = {name: func for func, name, _ in model_admin._get_base_actions()}
    kinds = ("list", "detail", "row", "submit_line")
    more = [action for kind in kinds for action in getattr(model_admin, f"_get_base_actions_{kind}")()]
    return {**own, **{action.action_name: action.method for action in more}}


def test_the_walk_covers_every_registered_model(rows: Rows) -> None:
    assert set(rows) == set(admin.site._registry)
    assert set(rows) == RECORDS | ADDED


def test_every_registered_model_is_in_the_sidebar() -> None:
    named = {label for entries in NAVIGATION.values() for _, _, label in entries}

    assert named == {model._meta.label for model in admin.site._registry}


def test_the_schedules_of_the_queue_engine_are_not_in_the_admin() -> None:
    # Its Schedule page imports and runs whatever dotted path is typed into it.
    assert not [model for model in admin.site._registry if model._meta.app_label == "django_q"]


@pytest.mark.parametrize("model", admin.site._registry, ids=lambda model: model._meta.label)
def test_every_action_asks_for_a_permission(model: type[Model]) -> None:
    for name, action in actions_of(admin.site._registry[model]).items():
        assert getattr(action, "allowed_permissions", None), f"{model.__name__}.{name} asks for none"


def test_anonymous_is_sent_to_the_login(rows: Rows) -> None:
    for row in rows.values():
        for url in [*pages_of(row).values(), reverse("admin:index")]:
            response = Client().get(url)

            assert response.status_code == 302, url
            assert response["Location"].startswith(reverse("admin:login")), url


def test_an_account_outside_the_staff_is_sent_to_the_login(rows: Rows) -> None:
    client = client_of(make_user())

    for row in rows.values():
        assert set(statuses(client, row).values()) == {302}


def test_staff_without_permissions_see_an_empty_overview_and_nothing_else(rows: Rows) -> None:
    client = client_of(make_operator())

    overview = client.get(reverse("admin:index"))

    assert overview.status_code == 200
    assert "may look at nothing here yet" in overview.content.decode()
    for row in rows.values():
        assert set(statuses(client, row).values()) == {403}, row


def test_a_viewer_sees_lists_pages_and_history(rows: Rows) -> None:
    client = client_of(viewer())

    for row in rows.values():
        seen = {"changelist": 200, "change": 200, "history": 200, "add": 403, "delete": 403}
        assert statuses(client, row) == seen, row


def test_an_operator_adds_changes_and_deletes_only_what_is_edited_here(rows: Rows) -> None:
    client = client_of(make_superuser())

    for model, row in rows.items():
        assert statuses(client, row) == {
            "changelist": 200,
            "change": 200,
            "history": 200,
            "add": 200 if model in ADDED else 403,
            "delete": 200 if model in DELETED else 403,
        }, model


def test_nobody_saves_a_record(rows: Rows) -> None:
    client = client_of(make_superuser())
    before = snapshot()

    for model in RECORDS | {ApiKey, ProofSession}:
        assert client.post(page("change", model, rows[model].pk), {"status": "completed"}).status_code == 403
    for model in set(rows) - DELETED:
        assert client.post(page("delete", model, rows[model].pk), {"post": "yes"}).status_code == 403

    assert {**snapshot(), "User": []} == {**before, "User": []}


def test_a_viewer_changes_nothing_by_any_post(rows: Rows) -> None:
    client = client_of(viewer())
    before = snapshot()

    for model, row in rows.items():
        urls = pages_of(row)
        for name in ("add", "change", "delete"):
            response = client.post(urls[name], {"name": "changed", "post": "yes", "_save": "Save"})
            assert response.status_code == 403, (model, name)
        for action in [*actions_of(admin.site._registry[model]), "delete_selected"]:
            for extra in ({}, {"index": "0"}, {"confirmed": "1", "post": "yes"}, {"select_across": "1"}):
                posted = {"action": action, ACTION_CHECKBOX_NAME: [str(row.pk)], **extra}
                assert client.post(urls["changelist"], posted).status_code in {200, 302}

    assert snapshot() == before


def test_a_viewer_is_offered_no_action(rows: Rows) -> None:
    request = RequestFactory().get("/")
    request.user = viewer()

    for model, model_admin in admin.site._registry.items():
        assert model_admin.get_actions(request) == {}, model


def test_an_operator_of_jobs_has_the_verbs_of_jobs_only(rows: Rows) -> None:
    request = RequestFactory().get("/")
    request.user = make_operator("jobs.change_job", "jobs.view_apikey")

    assert set(admin.site._registry[Job].get_actions(request)) == {
        "cancel_jobs",
        "retry_jobs",
        "renotify_jobs",
    }
    assert admin.site._registry[ApiKey].get_actions(request) == {}


def test_a_reviewer_has_the_verbs_of_submissions_only(rows: Rows) -> None:
    request = RequestFactory().get("/")
    request.user = make_operator("attestations.change_submission", "attestations.view_chaintransaction")

    assert set(admin.site._registry[Submission].get_actions(request)) == {
        "approve_submissions",
        "reject_submissions",
        "publish_submissions",
    }
    assert admin.site._registry[ChainTransaction].get_actions(request) == {}


def test_an_operator_of_queues_has_their_verbs_and_deletes_none_from_the_list(rows: Rows) -> None:
    request = RequestFactory().get("/")
    request.user = make_operator("jobs.view_queue", "jobs.change_queue", "jobs.delete_queue")

    assert set(admin.site._registry[Queue].get_actions(request)) == {"pause_queues", "resume_queues"}


def test_the_sidebar_shows_what_the_account_may_open(rows: Rows) -> None:
    client = client_of(make_operator("jobs.view_worker"))

    html = client.get(reverse("admin:index")).content.decode()

    assert page("changelist", Worker) in html
    for model in set(rows) - {Worker}:
        assert f'href="{page("changelist", model)}"' not in html


def test_attestations_are_not_shown_on_a_job_to_who_may_not_see_them(rows: Rows) -> None:
    attestation = rows[Attestation]
    assert isinstance(attestation, Attestation)
    url = page("change", Job, attestation.job_id)

    blind = client_of(make_operator("jobs.view_job")).get(url).content.decode()
    seeing = client_of(make_operator("jobs.view_job", "attestations.view_attestation")).get(url)

    assert attestation.attestation_key not in blind
    assert attestation.attestation_key in seeing.content.decode()


def test_only_a_superuser_gives_rights_away(rows: Rows) -> None:
    keeper = make_operator("auth.view_user", "auth.change_user", "auth.delete_user", "auth.change_group")
    client = client_of(keeper)
    superuser = make_superuser("root")

    own = client.post(
        page("change", User, keeper.pk), {"username": "keeper", "is_superuser": "on", "is_active": "on"}
    )

    keeper.refresh_from_db()
    assert own.status_code == 302
    assert (keeper.username, keeper.is_superuser) == ("keeper", False)
    assert client.post(page("change", User, superuser.pk), {"username": "mine"}).status_code == 403
    assert client.get(reverse("admin:auth_user_password_change", args=[superuser.pk])).status_code == 403
    assert client.post(page("delete", User, superuser.pk), {"post": "yes"}).status_code == 403
    assert client.post(page("change", Group, rows[Group].pk), {"name": "mine"}).status_code == 403


def test_a_login_that_came_from_nowhere_leads_to_the_overview(db: None) -> None:
    make_superuser("root")
    client = Client()
    form = client.get(reverse("admin:login"))
    target = form.context["app_path"]

    response = client.post(target, {"username": "root", "password": "correct horse"})

    assert response["Location"] == reverse("admin:index")
