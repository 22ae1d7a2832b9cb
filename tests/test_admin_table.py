"""What every address of the admin answers to everybody: the table of who may what, walked with GET and with POST.

The addresses are taken from the site itself: a page that is not in the tables below fails the test.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.contrib.messages import SUCCESS, get_messages
from django.db.models import Model
from django.test import Client
from django.urls import URLPattern, URLResolver, reverse

from jobs.models import AuditEntry, SavedView, Tenant
from tests.everything import Rows, rows_of, rows_of_the_platform
from tests.factories import make_restricted, make_user

# What each may do on the pages of a model: r(ead list, page, history), a(dd), c(hange), d(elete),
# o(perate: the forms of verbs, beside the actions of lists).
MODELS = {
    #                               viewer  operator  operator of a tenant  admin
    "jobs.Workflow":                ("r",   "r",      "r",                  "r"),
    "jobs.Job":                     ("r",   "ro",     "ro",                 "ro"),
    "jobs.Event":                   ("r",   "r",      "r",                  "r"),
    "jobs.EvaluationRun":           ("r",   "r",      "",                   "r"),
    "jobs.ErrorGroup":              ("r",   "r",      "r",                  "r"),
    "jobs.Collection":              ("r",   "racd",   "racd",               "racd"),
    "jobs.Queue":                   ("r",   "rac",    "",                   "racd"),
    "jobs.Cluster":                 ("r",   "r",      "",                   "rd"),
    "jobs.Schedule":                ("r",   "r",      "",                   "r"),
    "jobs.Worker":                  ("r",   "r",      "r",                  "r"),
    "jobs.BulkOperation":           ("r",   "r",      "r",                  "r"),
    "jobs.Tenant":                  ("r",   "r",      "r",                  "rac"),
    "jobs.ApiKey":                  ("",    "",       "",                   "ra"),
    "jobs.AuditEntry":              ("",    "r",      "r",                  "r"),
    "auth.User":                    ("",    "",       "",                   "rac"),
    "auth.Group":                   ("",    "",       "",                   "r"),
    "attestations.Attestation":     ("r",   "r",      "r",                  "r"),
    "attestations.ProofSession":    ("r",   "ra",     "ra",                 "ra"),
    "attestations.Submission":      ("r",   "r",      "r",                  "r"),
    "attestations.ChainTransaction": ("r",  "r",      "r",                  "r"),
    "webhooks.Endpoint":            ("r",   "r",      "r",                  "rac"),
    "webhooks.Delivery":            ("r",   "r",      "r",                  "r"),
    "webhooks.Message":             ("r",   "r",      "r",                  "r"),
    "webhooks.Receipt":             ("r",   "r",      "r",                  "r"),
    "webhooks.Sender":              ("r",   "r",      "r",                  "rac"),
}  # fmt: skip

# What the pages of no one model, and those beside a model's usual ones, answer to GET/POST: ok, no (403), gone (404),
# not (405), login, home (led to the overview, which is how Django says that there is no such row).
PAGES = {
    #                              anonymous      viewer       operator     of a tenant  another's    admin
    "index":                      ("login/login", "ok/ok",     "ok/ok",     "ok/ok",     "ok/ok",     "ok/ok"),
    "overview_figures":           ("login/login", "ok/ok",     "ok/ok",     "ok/ok",     "ok/ok",     "ok/ok"),
    "cluster_figures":            ("login/login", "ok/ok",     "ok/ok",     "no/no",     "no/no",     "ok/ok"),
    "worker_figures":             ("login/login", "ok/ok",     "ok/ok",     "ok/ok",     "gone/gone", "ok/ok"),
    "trace":                      ("login/login", "ok/ok",     "ok/ok",     "ok/ok",     "ok/ok",     "ok/ok"),
    "queue_figures":              ("login/login", "ok/ok",     "ok/ok",     "no/no",     "no/no",     "ok/ok"),
    "search":                     ("login/login", "ok/ok",     "ok/ok",     "ok/ok",     "ok/ok",     "ok/ok"),
    "jsi18n":                     ("login/login", "ok/not",    "ok/not",    "ok/not",    "ok/not",    "ok/not"),
    "login":                      ("ok/ok",       "home/ok",   "home/ok",   "home/ok",   "home/ok",   "home/ok"),
    "password_change":            ("login/login", "ok/ok",     "ok/ok",     "ok/ok",     "ok/ok",     "ok/ok"),
    "password_change_done":       ("login/login", "ok/not",    "ok/not",    "ok/not",    "ok/not",    "ok/not"),
    "autocomplete":               ("login/login", "no/not",    "no/not",    "no/not",    "no/not",    "no/not"),
    "app_list":                   ("login/login", "ok/ok",     "ok/ok",     "ok/ok",     "ok/ok",     "ok/ok"),
    "logout":                     ("home/home",   "not/ok",    "not/ok",    "not/ok",    "not/ok",    "not/ok"),
    "auth_user_password_change":  ("login/login", "no/no",     "no/no",     "no/no",     "no/no",     "ok/ok"),
    "jobs_bulkoperation_progress": ("login/login", "ok/ok",    "ok/ok",     "ok/ok",     "gone/gone", "ok/ok"),
    "jobs_bulkoperation_abort":   ("login/login", "not/no",    "not/ok",    "not/ok",    "not/gone",  "not/ok"),
}  # fmt: skip

VIEWERS = ("anonymous", "viewer", "operator", "of a tenant", "another's", "admin")
# A model's usual pages, each with the right that a GET and a POST of it need; "-" is not to be had that way.
USUAL = {
    "changelist": ("r", "r"),
    "add": ("a", "a"),
    "change": ("r", "c"),
    "delete": ("d", "d"),
    "history": ("r", "r"),
    "redirect": ("", ""),  # leads to the page, which looks at who asks
    "export": ("r", "r"),
    "save_view": ("-", "r"),
    "saved_view": ("-", "r"),
    "edit": ("o", "o"),
}
OF_A_ROW = ("change", "delete", "history", "edit")
TENANTS_OWN = {"of a tenant", "another's"}  # who is restricted, and whose rows he asks for
FORM = {"name": "changed", "username": "changed", "post": "yes", "_save": "Save"}


@dataclass(frozen=True)
class Page:
    """An address of the admin, and what stands in the tables of it."""

    name: str
    url: str
    model: str = ""  # of the usual ones

    def __str__(self) -> str:
        return f"{self.model or 'admin'} {self.name}"


def client_of(viewer: str, tenant: Tenant) -> Client:
    """Somebody who is logged in under a role, as `migrate` has made it."""
    client = Client(raise_request_exception=False)
    if viewer != "anonymous":
        role = "operator" if viewer in TENANTS_OWN else viewer
        user = make_user(f"the {role}", is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        if viewer in TENANTS_OWN:
            make_restricted(user, tenant)
        client.force_login(user)
    return client


def names() -> list[str]:
    """The name of each address; one without a name is a model's redirect, or the site's last resort."""

    def walk(found: list[URLPattern | URLResolver]) -> Iterator[str]:
        for each in found:
            if isinstance(each, URLResolver):
                yield from walk(each.url_patterns)
            else:
                yield each.name or ""

    return [name for name in walk(admin.site.get_urls()) if name]


def usual_page(name: str) -> tuple[str, str] | None:
    """The model and the page that a name like `jobs_job_change` stands for."""
    app_label, model, page = [*name.split("_", 2), "", ""][:3]
    label = next((each for each in MODELS if each.lower() == f"{app_label}.{model}"), "")
    return (label, page) if label and page in USUAL else None


def pages(rows: Rows) -> Iterator[Page]:
    """Every address of the admin, those of rows for these."""
    for name in names():
        if name in PAGES or not (found := usual_page(name)):
            continue
        label, page = found
        arguments = {
            "changelist": [],
            "add": [],
            "save_view": [],
            "export": ["csv"],
            "saved_view": [rows["jobs.SavedView"].pk],
        }.get(page, [rows[label].pk])
        yield Page(page, reverse(f"admin:{name}", args=arguments), label)
        if page == "change":
            yield Page("redirect", reverse(f"admin:{name}", args=arguments).removesuffix("change/"), label)
    for name in PAGES:
        yield Page(name, reverse(f"admin:{name}", kwargs=arguments_of(name, rows)))


def arguments_of(name: str, rows: Rows) -> dict[str, Any]:
    given = {
        "app_list": {"app_label": "jobs"},
        "cluster_figures": {"key": rows["jobs.Cluster"].pk},
        "worker_figures": {"key": rows["jobs.Worker"].pk},
        "trace": {"trace_id": getattr(rows["jobs.Job"], "trace_id", "")},
        "queue_figures": {"key": rows["jobs.Queue"].pk},
        "auth_user_password_change": {"id": rows["auth.User"].pk},
        "jobs_bulkoperation_progress": {"key": rows["jobs.BulkOperation"].pk},
        "jobs_bulkoperation_abort": {"key": rows["jobs.BulkOperation"].pk},
    }
    return given.get(name, {})


def expected(page: Page, method: str, viewer: str) -> str:
    """What the tables say."""
    if not page.model:
        answers = PAGES[page.name][VIEWERS.index(viewer)].split("/")
        return answers[0 if method == "GET" else 1]
    if viewer == "anonymous":
        return "login"
    columns = ("viewer", "operator", "of a tenant", "admin")
    rights = MODELS[page.model][columns.index("of a tenant" if viewer in TENANTS_OWN else viewer)]
    return expected_of_rights(page.name, method, rights, is_seen=viewer != "another's")


def expected_of_rights(page: str, method: str, rights: str, *, is_seen: bool) -> str:
    needed = USUAL[page][0 if method == "GET" else 1]
    if needed == "-":
        return "not"
    if needed not in rights:
        return "no"
    if page == "saved_view":
        return "gone"  # it is somebody else's
    if page in OF_A_ROW and not is_seen:
        return "gone" if page == "edit" else "home"
    return "ok"


def said(response: Any) -> str:
    """An answer in the words of the tables."""
    known = {200: "ok", 403: "no", 404: "gone", 405: "not"}
    if response.status_code != 302:
        return known.get(response.status_code, str(response.status_code))
    target = response["Location"]
    if target.startswith(reverse("admin:login")):
        return "login"
    if target != reverse("admin:index"):
        return "ok"
    # Who has deleted a record of a list that he may not change is led to the overview, too.
    return (
        "ok" if any(message.level == SUCCESS for message in get_messages(response.wsgi_request)) else "home"
    )


def snapshot() -> dict[str, list[Any]]:
    """Every row of every registered model as stored, but for what is noted of refusals and logins."""
    kept: list[type[Model]] = [
        SavedView,
        *(model for model in admin.site._registry if model is not AuditEntry),
    ]
    without = {"last_login"}
    return {
        model.__name__: [
            {name: value for name, value in row.items() if name not in without}
            for row in model._default_manager.order_by("pk").values()
        ]
        for model in kept
    }


def test_every_registered_model_is_in_the_table() -> None:
    assert set(MODELS) == {model._meta.label for model in admin.site._registry}


def test_every_address_is_in_a_table() -> None:
    found = set(names())

    assert {name for name in found if name not in PAGES and not usual_page(name)} == set()
    assert set(PAGES) - found == set()


@pytest.mark.parametrize("viewer", VIEWERS)
def test_every_address_answers_as_the_table_says(viewer: str, tenant: Tenant, other_tenant: Tenant) -> None:
    theirs = rows_of(tenant)
    others = rows_of(other_tenant)
    asked_for = others if viewer == "another's" else theirs
    client = client_of(viewer, tenant)
    asked = [
        (page, method)
        for page in pages({**asked_for, **rows_of_the_platform()})
        for method in ("GET", "POST")
    ]
    wanted = {pair: expected(*pair, viewer) for pair in asked}
    # First what is refused, all of which changes nothing; then what is shown, what is done, and last what deletes.
    refused = [pair for pair in asked if wanted[pair] not in ("ok", "login")] + [
        pair for pair in asked if wanted[pair] == "login"
    ]
    allowed = sorted((pair for pair in asked if wanted[pair] == "ok"), key=_harm)
    before = snapshot()

    answers = {pair: ask(client, *pair) for pair in refused}
    after = snapshot()
    answers |= {pair: ask(client, *pair) for pair in allowed}

    wrong = {
        f"{method} {page}": f"{answers[page, method]}, not {wanted[page, method]}"
        for page, method in asked
        if answers[page, method] != wanted[page, method]
    }
    assert wrong == {}
    assert after == before


def ask(client: Client, page: Page, method: str) -> str:
    return said(client.get(page.url) if method == "GET" else client.post(page.url, FORM))


def _harm(asked: tuple[Page, str]) -> int:
    page, method = asked
    if method == "GET":
        return 0
    return {"delete": 2, "logout": 3}.get(page.name, 1)
