"""The roles of people at the monitor: groups that `migrate` makes and keeps, each with the rights of those before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import Group, Permission

VIEWER, OPERATOR, ADMIN = ROLES = ("viewer", "operator", "admin")

# Of each model, what each role may do beside what the roles before it may: words of Django's, like `view change`.
Rights = tuple[str, str, str]

RIGHTS: dict[str, Rights] = {
    #                       viewer   operator              admin
    "jobs.Workflow":       ("view", "change",             ""),
    "jobs.Job":            ("view", "change",             "reveal_payloads"),
    "jobs.Event":          ("view", "",                   ""),
    "jobs.EvaluationRun":  ("view", "",                   ""),
    "jobs.ErrorGroup":     ("view", "",                   ""),
    "jobs.Collection":     ("view", "add change delete",  ""),
    "jobs.Queue":          ("view", "add change",         "delete"),
    "jobs.Cluster":        ("view", "",                   "delete"),
    "jobs.Worker":         ("view", "",                   ""),
    "jobs.Schedule":       ("view", "change",             ""),
    "jobs.BulkOperation":  ("view", "change",             ""),
    "jobs.Tenant":         ("view", "",                   "add change"),
    "jobs.ApiKey":         ("",     "",                   "view add change"),
    "jobs.AuditEntry":     ("",     "view",               ""),
    "jobs.StaffTenant":    ("",     "",                   "view add change delete"),
    "auth.User":           ("",     "",                   "view add change"),
    "auth.Group":          ("",     "",                   "view"),
}  # fmt: skip


def add_rights(rights: Mapping[str, Rights]) -> None:
    """Give the roles rights on the models of an upper floor; called by its app config."""
    RIGHTS.update(rights)


def permissions_of(role: str) -> dict[str, set[str]]:
    """The permissions of a role by app label, each as a codename."""
    found: dict[str, set[str]] = {}
    for model, rights in RIGHTS.items():
        app_label, _, name = model.lower().partition(".")
        words = " ".join(rights[: ROLES.index(role) + 1]).split()
        found.setdefault(app_label, set()).update(_codename(word, name) for word in words)
    return found


def keep_roles(sender: Any, **_: Any) -> None:
    """Make the groups of the roles and give each exactly these permissions of the sender's models.

    Called after the migration of each app that has rights here, when its permissions are there; those of other apps,
    and other groups, are left alone.
    """
    labels = {sender.label, "auth"} if sender.label == "jobs" else {sender.label}
    for role in ROLES:
        group = Group.objects.get_or_create(name=role)[0]
        wanted = permissions_of(role)
        for label in labels:
            _give(group, label, wanted.get(label, set()))


def _give(group: Group, app_label: str, codenames: set[str]) -> None:
    of_app = Permission.objects.filter(content_type__app_label=app_label)
    wanted = set(of_app.filter(codename__in=codenames))
    held = set(group.permissions.filter(content_type__app_label=app_label))
    group.permissions.add(*(wanted - held))
    group.permissions.remove(*(held - wanted))


def _codename(word: str, model: str) -> str:
    """Django's own rights are named after their model; a model's others stand for themselves."""
    return f"{word}_{model}" if word in ("view", "add", "change", "delete") else word
