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

from attestations.models import Attestation, ChainTransaction, Submission
from config.admin import NAVIGATION, navigation
from jobs.models import (
    ApiKey,
    AuditEntry,
    Cluster,
    Collection,
    Job,
    Queue,
    Tenant,
    Worker,
)
from tests.everything import rows_of, rows_of_the_platform
from tests.factories import make_operator, make_restricted, make_superuser, make_user
from webhooks.models import Endpoint, Sender

EDITED = {Tenant, Collection, Queue, Endpoint, Sender, User, Group}
DELETED = {Collection, Queue, Cluster, User, Group}

Rows = dict[type[Model], Model]


@pytest.fixture
def rows(tenant: Tenant) -> Rows:
    """One row of each registered model, which an action would have something to do with."""
    found = {**rows_of(tenant), **rows_of_the_platform()}
    return {model: found[model._meta.label] for model in admin.site._registry}


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
    """Every row of every registered model as stored, but for the time of a login and the log of refusals."""
    return {
        model.__name__: [
            {name: value for name, value in row.items() if name != "last_login"}
            for row in model._default_manager.order_by("pk").values()
        ]
        for model in admin.site._registry
        if model is not AuditEntry
    }


def stored(rows: Rows) -> list[dict[str, Any]]:
    """These rows as they are stored now."""
    return [row for model, one in rows.items() for row in model._default_manager.filter(pk=one.pk).values()]


def actions_of(model_admin: Any) -> dict[str, Any]:
    """Every action of an admin class: its own, the site's, and unfold's four kinds."""
    own = {name: func for func, name, _ in model_admin._get_base_actions()}
    kinds = ("list", "detail", "row", "submit_line")
    more = [action for kind in kinds for action in getattr(model_admin, f"_get_base_actions_{kind}")()]
    return {**own, **{action.action_name: action.method for action in more}}


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


def test_nobody_saves_a_record(rows: Rows) -> None:
    client = client_of(make_superuser())
    before = snapshot()

    for model in set(rows) - EDITED:
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
                assert client.post(urls["changelist"], posted).status_code == 403, (model, action)

    assert snapshot() == before


def test_a_tenants_operator_changes_nothing_of_anothers_by_any_post(rows: Rows, other_tenant: Tenant) -> None:
    client = client_of(make_restricted(make_superuser("root"), other_tenant))
    before = stored(rows)

    for model, row in rows.items():
        urls = pages_of(row)
        for name in ("change", "delete"):
            posted = {"name": "changed", "username": "changed", "post": "yes", "_save": "Save"}
            assert client.post(urls[name], posted).status_code in {302, 403}, (model, name)
        for action in [*actions_of(admin.site._registry[model]), "delete_selected"]:
            for extra in ({}, {"confirmed": "1", "post": "yes"}, {"confirmed": "1", "select_across": "1"}):
                asked: dict[str, Any] = {
                    "action": action,
                    ACTION_CHECKBOX_NAME: [str(row.pk)],
                    "reason": "Why not.",
                    **extra,
                }
                assert client.post(urls["changelist"], asked).status_code in {200, 302, 403}, (model, action)

    assert stored(rows) == before


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


def test_the_sidebar_shows_what_the_account_may_open(db: None) -> None:
    request = RequestFactory().get("/")
    request.user = make_operator("jobs.view_worker")

    links = [str(item["link"]) for group in navigation(request) for item in group["items"]]

    assert links == [reverse("admin:index"), page("changelist", Worker)]


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
