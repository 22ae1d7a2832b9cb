"""The roles that `migrate` keeps: three groups, their rights, and what is said of them."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.db.models.signals import post_migrate
from django.test import Client
from django.urls import reverse

from jobs.admin.access.roles import RIGHTS, ROLES, permissions_of
from tests.factories import make_superuser
from tests.pages import DOCS

pytestmark = pytest.mark.django_db


def held_by(role: str) -> set[str]:
    held = Group.objects.get(name=role).permissions.values_list("content_type__app_label", "codename")
    return {f"{app_label}.{codename}" for app_label, codename in held}


def wanted_of(role: str) -> set[str]:
    found = permissions_of(role)
    return {f"{app_label}.{codename}" for app_label, codenames in found.items() for codename in codenames}


def migrate_again() -> None:
    for label in ("jobs", "attestations", "webhooks"):
        config = apps.get_app_config(label)
        post_migrate.send(config, app_config=config, verbosity=0, interactive=False, using="default")


@pytest.mark.parametrize("role", ROLES)
def test_migrate_has_given_each_role_its_rights(role: str) -> None:
    assert held_by(role) == wanted_of(role)


def test_each_role_has_the_rights_of_those_before_it() -> None:
    viewer, operator, chief = map(held_by, ROLES)

    assert viewer < operator < chief
    assert {right for right in viewer if not right.partition(".")[2].startswith("view_")} == set()


def test_every_page_of_a_model_is_somebodys_to_see() -> None:
    assert {model._meta.label for model in admin.site._registry} <= set(RIGHTS)


def test_migrate_puts_a_role_back_and_leaves_other_groups_alone() -> None:
    add_tenant = Permission.objects.get(codename="add_tenant")
    viewer, own = Group.objects.get(name="viewer"), Group.objects.create(name="night shift")
    viewer.permissions.set([add_tenant])
    own.permissions.set([add_tenant])

    migrate_again()
    migrate_again()

    assert held_by("viewer") == wanted_of("viewer")
    assert held_by("night shift") == {"jobs.add_tenant"}


def test_migrate_makes_a_role_that_somebody_has_deleted() -> None:
    Group.objects.filter(name="operator").delete()

    migrate_again()

    assert held_by("operator") == wanted_of("operator")


def test_the_documented_table_is_what_the_code_says() -> None:
    documented = dict(map(row_of, filter(is_row, (DOCS / "roles.md").read_text().splitlines())))

    assert documented == RIGHTS


def is_row(line: str) -> bool:
    return line.startswith("| `") and "." in line


def row_of(line: str) -> tuple[str, tuple[str, ...]]:
    model, *rights = (cell.strip() for cell in line.strip("|").split("|"))
    return model.strip("`"), tuple(rights)


def test_a_role_is_not_changed_or_deleted_by_hand(client: Client) -> None:
    client.force_login(make_superuser())
    role = Group.objects.get(name="viewer")
    own = Group.objects.create(name="night shift")
    url = {group: reverse("admin:auth_group_change", args=[group.pk]) for group in (role, own)}

    answers: dict[str, Any] = {
        "role": client.post(url[role], {"name": "mine"}).status_code,
        "own": client.post(url[own], {"name": "day shift"}).status_code,
        "delete": client.post(
            reverse("admin:auth_group_delete", args=[role.pk]), {"post": "yes"}
        ).status_code,
    }

    assert answers == {"role": 403, "own": 302, "delete": 403}
    assert set(Group.objects.values_list("name", flat=True)) == {*ROLES, "day shift"}
