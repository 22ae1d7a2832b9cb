"""What the audit log keeps of operators' actions, and who may read it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.urls import reverse

from jobs.hygiene.masking import MASK
from jobs.models import ApiKey, AuditEntry, Collection, StaffTenant, Tenant
from tests.factories import (
    make_audit_entry,
    make_collection,
    make_job,
    make_key,
    make_operator,
    make_restricted,
    make_superuser,
    make_user,
)

STEP = {"name": "paint", "service_required": "artgen", "payload": {"prompt": "a cat"}}
AUDIT = "admin:jobs_auditentry_changelist"


@pytest.fixture
def root(db: None) -> User:
    return make_superuser("root")


@pytest.fixture
def monitor(root: User) -> Client:
    client = Client(REMOTE_ADDR="192.0.2.7")
    client.force_login(root)
    return client


def only() -> AuditEntry:
    return AuditEntry.objects.get()


def inline(*rows: dict[str, Any], initial: int = 0) -> dict[str, Any]:
    """What the form of a user posts of his restriction."""
    fields = {
        f"restriction-{number}-{name}": value
        for number, row in enumerate(rows)
        for name, value in row.items()
    }
    return {"restriction-TOTAL_FORMS": len(rows), "restriction-INITIAL_FORMS": initial, **fields}


def save_user(client: Client, user: User, **fields: Any) -> Any:
    joined = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    given = {"username": user.username, "is_active": "on", "is_staff": "on", **joined, **inline(), **fields}
    return client.post(reverse("admin:auth_user_change", args=[user.pk]), given)


# Forms


def test_what_a_form_changes_is_kept_before_and_after(monitor: Client, tenant: Tenant) -> None:
    collection = make_collection(tenant, name="cats", steps=[STEP])
    url = reverse("admin:jobs_collection_change", args=[collection.pk])

    monitor.post(url, {"name": "dogs", "steps": f"[{str(STEP).replace(chr(39), chr(34))}]"})

    entry = only()
    assert (entry.actor, entry.action, entry.model, entry.object_id) == (
        "root",
        "change",
        "jobs.Collection",
        str(collection.pk),
    )
    assert (entry.before, entry.after) == ({"name": "cats"}, {"name": "dogs"})
    assert (entry.tenant, entry.address, entry.is_refused) == (tenant, "192.0.2.7", False)
    assert entry.trace_id


def test_a_form_that_changes_nothing_is_no_action(monitor: Client, tenant: Tenant) -> None:
    url = reverse("admin:jobs_tenant_change", args=[tenant.pk])

    monitor.post(url, {"name": tenant.name, "is_active": "on"})

    assert not AuditEntry.objects.exists()


def test_a_form_that_is_refused_leaves_nothing(monitor: Client, tenant: Tenant) -> None:
    collection = make_collection(tenant)

    monitor.post(reverse("admin:jobs_collection_change", args=[collection.pk]), {"name": "", "steps": "["})

    assert not AuditEntry.objects.exists()


def test_masked_fields_are_masked_in_it(monitor: Client, tenant: Tenant) -> None:
    collection = make_collection(tenant, name="cats", steps=[STEP])
    url = reverse("admin:jobs_collection_change", args=[collection.pk])
    steps = '[{"name": "paint", "service_required": "artgen", "payload": {"api_key": "hunter2"}}]'

    monitor.post(url, {"name": "cats", "steps": steps})

    after = only().after
    assert after is not None
    assert after["steps"][0]["payload"] == {"api_key": MASK}
    assert "hunter2" not in str(AuditEntry.objects.values_list())


def test_a_deletion_keeps_what_there_was(monitor: Client, tenant: Tenant) -> None:
    one, two = (make_collection(tenant, name=name, steps=[STEP]) for name in ("one", "two"))

    monitor.post(reverse("admin:jobs_collection_delete", args=[one.pk]), {"post": "yes"})
    monitor.post(
        reverse("admin:jobs_collection_changelist"),
        {"action": "delete_selected", "_selected_action": [str(two.pk)], "post": "yes"},
    )

    assert not Collection.objects.exists()
    deleted = list(AuditEntry.objects.filter(action="delete").order_by("pk"))
    assert [entry.object_id for entry in deleted] == [str(one.pk), str(two.pk)]
    assert [entry.before["steps"] for entry in deleted if entry.before] == [[STEP], [STEP]]


# Keys, accounts, rights


def test_a_key_is_noted_without_its_text(monitor: Client, tenant: Tenant) -> None:
    url = reverse("admin:jobs_apikey_add")

    made = monitor.post(url, {"tenant": str(tenant.pk), "name": "fleet", "scopes": ["work"]})

    key = ApiKey.objects.get()
    entry = only()
    assert (entry.action, entry.object_id, entry.tenant) == ("add", key.pk, tenant)
    assert entry.after is not None
    assert entry.after["scopes"] == ["work"]
    secret = str(made.context["key_text"]).removeprefix(f"afd_{key.pk}_")
    assert len(secret) == 43 + 1 + 6
    assert secret[:43] not in str(AuditEntry.objects.values_list())


def test_a_revoked_key_is_noted_once(monitor: Client, tenant: Tenant) -> None:
    key = make_key(tenant)[0]
    posted = {"action": "revoke_keys", "_selected_action": [key.pk], "confirmed": "1"}

    monitor.post(reverse("admin:jobs_apikey_changelist"), posted)

    assert [(entry.action, entry.object_id) for entry in AuditEntry.objects.all()] == [("revoke", key.pk)]


def test_rights_and_restrictions_are_noted_by_name(monitor: Client, tenant: Tenant) -> None:
    user = make_operator(name="mallory")
    role = Group.objects.get(name="operator")

    saved = save_user(monitor, user, groups=[role.pk], **inline({"tenant": str(tenant.pk), "user": user.pk}))

    assert saved.status_code == 302
    assert StaffTenant.objects.get(user=user).tenant == tenant
    entry = only()
    assert (entry.model, entry.object_text, entry.action) == ("auth.User", "mallory", "change")
    assert entry.after is not None
    assert entry.before is not None
    assert (entry.before["groups"], entry.after["groups"]) == ([], ["operator"])
    assert entry.after["restriction to a tenant"] == [{"tenant": "acme"}]


def test_a_lifted_restriction_is_noted(monitor: Client, tenant: Tenant) -> None:
    user = make_restricted(make_operator(name="mallory"), tenant)
    row = {"tenant": str(tenant.pk), "user": user.pk, "DELETE": "on"}

    save_user(monitor, user, **inline(row, initial=1))

    assert not StaffTenant.objects.exists()
    entry = only()
    assert entry.before is not None
    assert entry.after is not None
    assert entry.before["restriction to a tenant"] != []
    assert entry.after["restriction to a tenant"] == []


def test_passwords_are_noted_and_not_kept(monitor: Client, root: User) -> None:
    user = make_user("mallory")
    secret = "a battery that is correct"

    monitor.post(
        reverse("admin:auth_user_password_change", args=[user.pk]),
        {"usable_password": "true", "password1": secret, "password2": secret},
    )
    own = {"old_password": "correct horse", "new_password1": secret, "new_password2": secret}
    monitor.post(reverse("admin:password_change"), own)

    noted = [(entry.object_text, entry.after) for entry in AuditEntry.objects.order_by("pk")]
    assert noted == [("mallory", {"password": MASK}), ("root", {"password": MASK})]
    assert User.objects.get(pk=user.pk).check_password(secret)
    assert secret not in str(AuditEntry.objects.values_list())


def test_a_hash_is_not_kept_whatever_is_masked(monitor: Client, settings: Any) -> None:
    settings.MASKED_FIELDS = ["ssn"]
    user = make_user("mallory")

    monitor.post(reverse("admin:auth_user_delete", args=[user.pk]), {"post": "yes"})

    entry = AuditEntry.objects.get(action="delete")
    assert entry.before is not None
    assert (entry.before["username"], entry.before["password"]) == ("mallory", MASK)
    assert user.password not in str(AuditEntry.objects.values_list())


# Logins and refusals


def test_logins_and_logouts_are_noted(root: User) -> None:
    client = Client(REMOTE_ADDR="192.0.2.7")

    client.post(reverse("admin:login"), {"username": "root", "password": "correct horse"})
    client.post(reverse("admin:logout"))

    noted = AuditEntry.objects.order_by("pk").values_list("action", "actor", "user_id", "address")
    assert list(noted) == [
        ("log in", "root", root.pk, "192.0.2.7"),
        ("log out", "root", root.pk, "192.0.2.7"),
    ]


def test_a_failed_login_is_noted_without_its_password(db: None) -> None:
    name = "n" * 500

    Client().post(reverse("admin:login"), {"username": name[:150], "password": "hunter2"})

    entry = only()
    assert (entry.action, entry.actor, entry.is_refused) == ("log in failed", "n" * 150, True)
    assert "hunter2" not in str(AuditEntry.objects.values_list())


def test_a_refused_post_is_noted_and_a_refused_look_is_not(tenant: Tenant) -> None:
    client = Client()
    client.force_login(make_operator("jobs.view_collection", name="eve"))
    collection = make_collection(tenant)
    url = reverse("admin:jobs_collection_change", args=[collection.pk])

    client.get(reverse("admin:jobs_apikey_changelist"))
    client.post(url, {"name": "mine"})

    entry = only()
    assert (entry.actor, entry.action, entry.is_refused) == ("eve", "change", True)
    assert entry.object_text == url


# The log itself


def test_the_database_refuses_to_change_an_entry(tenant: Tenant) -> None:
    entry = make_audit_entry(tenant)

    with pytest.raises(DatabaseError), transaction.atomic():
        AuditEntry.objects.filter(pk=entry.pk).update(actor="somebody else")

    with connection.cursor() as cursor:
        cursor.execute("SELECT actor FROM jobs_auditentry")
        assert cursor.fetchall() == [("alice",)]


def test_the_log_is_filtered_and_searched(monitor: Client, tenant: Tenant, other_tenant: Tenant) -> None:
    job = make_job(tenant)
    retried = make_audit_entry(tenant, object_id=str(job.pk), reason="The GPU is back.")
    refused = make_audit_entry(other_tenant, actor="bob", action="cancel", is_refused=True)
    part = make_audit_entry(None, actor="carol", action="pause", operation_id=job.pk, model="jobs.Queue")

    def found(**query: str) -> set[int]:
        response = monitor.get(reverse(AUDIT), query, follow=True)
        assert response.status_code == 200
        return {entry.pk for entry in response.context["cl"].result_list}

    assert found() == {retried.pk, refused.pk, part.pk}
    assert found(actor="bob") == {refused.pk}
    assert found(action="pause") == {part.pk}
    assert found(model="jobs.Job", object=str(job.pk)) == {retried.pk}
    assert found(refused="yes") == {refused.pk}
    assert found(operation=str(job.pk)) == {part.pk}
    assert found(tenant="acme") == {retried.pk}
    assert found(at="hour") == {retried.pk, refused.pk, part.pk}
    assert found(q="carol") == {part.pk}
    assert found(q=str(job.pk)) == {retried.pk, part.pk}
    assert found(q="nobody") == set()


def test_an_entry_shows_what_changed_and_leads_to_it(monitor: Client, tenant: Tenant) -> None:
    collection = make_collection(tenant)
    entry = make_audit_entry(
        tenant,
        action="change",
        model="jobs.Collection",
        object_id=str(collection.pk),
        before={"name": "cats"},
        after={"name": "<b>dogs</b>"},
        reason="They bark.",
    )

    html = monitor.get(reverse("admin:jobs_auditentry_change", args=[entry.pk])).content.decode()

    assert "cats" in html
    assert "&lt;b&gt;dogs&lt;/b&gt;" in html
    assert "They bark." in html
    assert reverse("admin:jobs_collection_change", args=[collection.pk]) in html


def test_a_records_history_leads_to_the_log_for_who_may_read_it(tenant: Tenant) -> None:
    collection = make_collection(tenant)
    url = reverse("admin:jobs_collection_history", args=[collection.pk])
    reader, other = Client(), Client()
    reader.force_login(make_operator("jobs.view_collection", "jobs.view_auditentry"))
    other.force_login(make_operator("jobs.view_collection"))

    assert f"object={collection.pk}" in reader.get(url).content.decode()
    assert "auditentry" not in other.get(url).content.decode()


def test_who_is_restricted_reads_what_was_done_to_his_tenant(tenant: Tenant, other_tenant: Tenant) -> None:
    mine, theirs = make_audit_entry(tenant), make_audit_entry(other_tenant, actor="bob")
    make_audit_entry(None, actor="carol")
    client = Client()
    client.force_login(make_restricted(make_operator("jobs.view_auditentry"), tenant))

    listed = client.get(reverse(AUDIT))

    assert [entry.pk for entry in listed.context["cl"].result_list] == [mine.pk]
    html = listed.content.decode()
    assert "bob" not in html
    assert "carol" not in html
    assert client.get(reverse("admin:jobs_auditentry_change", args=[theirs.pk])).status_code == 302
