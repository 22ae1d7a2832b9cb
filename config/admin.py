"""The admin site: the platform's monitor."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlencode

from django.apps import apps
from django.contrib import admin
from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.exceptions import PermissionDenied, SuspiciousOperation, ValidationError
from django.db import transaction
from django.db.models import Model
from django.db.models.base import ModelBase
from django.dispatch import Signal
from django.http import HttpRequest, HttpResponse, QueryDict
from django.urls import path, reverse
from unfold.sites import UnfoldAdminSite

# The sidebar: groups of (title, material icon, model). An account sees what it may open.
NAVIGATION = {
    "Work": [
        ("Workflows", "account_tree", "jobs.Workflow"),
        ("Jobs", "bolt", "jobs.Job"),
        ("Errors", "bug_report", "jobs.ErrorGroup"),
        ("Proof sessions", "terminal", "attestations.ProofSession"),
        ("Submissions", "rate_review", "attestations.Submission"),
        ("Attestations", "verified", "attestations.Attestation"),
        ("Transactions", "receipt_long", "attestations.ChainTransaction"),
        ("Events", "timeline", "jobs.Event"),
        ("Operations", "playlist_add_check", "jobs.BulkOperation"),
        ("Evaluations", "fact_check", "jobs.EvaluationRun"),
    ],
    "Webhooks": [
        ("Endpoints", "webhook", "webhooks.Endpoint"),
        ("Deliveries", "outgoing_mail", "webhooks.Delivery"),
        ("Messages", "mail", "webhooks.Message"),
        ("Receipts", "move_to_inbox", "webhooks.Receipt"),
        ("Senders", "contact_mail", "webhooks.Sender"),
    ],
    "Recipes": [("Collections", "auto_stories", "jobs.Collection")],
    "Fleet": [
        ("Queues", "stacks", "jobs.Queue"),
        ("Clusters", "dns", "jobs.Cluster"),
        ("Workers", "memory", "jobs.Worker"),
        ("Schedules", "schedule", "jobs.Schedule"),
    ],
    "Access": [
        ("Tenants", "apartment", "jobs.Tenant"),
        ("API keys", "key", "jobs.ApiKey"),
        ("Users", "person", "auth.User"),
        ("Groups", "group", "auth.Group"),
        ("Audit log", "history_edu", "jobs.AuditEntry"),
    ],
}


# Sent with the `request`: somebody was refused what a POST asks for; somebody has changed his own password.
action_refused = Signal()
password_changed = Signal()

View = Callable[..., HttpResponse]

_pages: list[tuple[str, View, str]] = []  # route, view, name: of no one model


def monitor_page(route: str, *, name: str) -> Callable[[View], View]:
    """Serve the decorated view at `/admin/<route>` as `admin:<name>`, to staff alone; the rest it checks itself."""

    def register(view: View) -> View:
        _pages.append((route, view, name))
        return view

    return register


class MonitorSite(UnfoldAdminSite):  # type: ignore[misc]
    """Django's admin in unfold's clothes, under the product's name."""

    index_title = "Overview"

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Lead to the overview after a login that came from nowhere; unfold's form does not say where to go."""
        overview = {"next": reverse("admin:index")}
        path = request.get_full_path() if "next" in request.GET else f"{request.path}?{urlencode(overview)}"
        response: HttpResponse = super().login(request, {"app_path": path, **(extra_context or {})})
        return response

    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Callable[..., Any]:
        """Answer 400 where an address holds what no column can be compared with."""

        @functools.wraps(view)
        def guarded(request: HttpRequest, *args: Any, **options: Any) -> Any:
            if any("\0" in value for value in _compared(request.GET)):
                raise SuspiciousOperation("Text may hold no NUL.")
            try:
                _check_keys(getattr(view, "__self__", None), request)
                return view(request, *args, **options)
            except PermissionDenied:
                if request.method == "POST":
                    action_refused.send(type(self), request=request)
                raise
            except ValidationError as error:  # a key that is none, where Django expects one
                raise SuspiciousOperation(" ".join(error.messages)) from error

        admin_view: Callable[..., Any] = super().admin_view(guarded, cacheable)
        return admin_view

    def get_urls(self) -> list[Any]:
        pages = [path(route, self.admin_view(view), name=name) for route, view, name in _pages]
        # Django's redirect to an object's own page would only tell which objects there are: none has such a page.
        return pages + [url for url in super().get_urls() if getattr(url, "name", "") != "view_on_site"]

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        with transaction.atomic():
            response: HttpResponse = super().password_change(request, extra_context)
            if request.method == "POST" and response.status_code == 302:
                password_changed.send(type(self), request=request)
        return response

    def register(
        self, model_or_iterable: ModelBase | Iterable[ModelBase], admin_class: Any = None, **options: Any
    ) -> None:
        """Register all but django-q2's models: its Schedule page runs whatever dotted path is typed into it."""
        models = [model_or_iterable] if isinstance(model_or_iterable, ModelBase) else list(model_or_iterable)
        ours: list[Any] = [model for model in models if _app_of(model) != "django_q"]
        super().register(ours, admin_class, **options)


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar of this account, as unfold takes it; groups without a page for it are left out."""
    overview = {"title": "Overview", "icon": "monitoring", "link": reverse("admin:index")}
    groups: list[dict[str, Any]] = [{"items": [overview]}]
    for title, entries in NAVIGATION.items():
        items = [
            {"title": name, "icon": icon, "link": _list_of(model)}
            for name, icon, label in entries
            if _may_open(request, model := apps.get_model(label))
        ]
        if items:
            groups.append({"title": title, "separator": True, "items": items})
    return groups


def _may_open(request: HttpRequest, model: type[Model]) -> bool:
    return admin.site.get_model_admin(model).has_view_or_change_permission(request)


def _list_of(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def _compared(query: QueryDict) -> Iterator[str]:
    """What an address gives to compare columns with; what is searched for is looked at by the search."""
    return (str(value) for name, values in query.lists() if name != SEARCH_VAR for value in values)


def _check_keys(model_admin: Any, request: HttpRequest) -> None:
    """Raise ValidationError where a list is asked to act on keys that its model can't have."""
    if request.method == "POST" and isinstance(model_admin, ModelAdmin):
        for key in request.POST.getlist(ACTION_CHECKBOX_NAME):
            if "\0" in key:
                raise ValidationError("A key may hold no NUL.")
            model_admin.opts.pk.to_python(key)


def _app_of(model: Any) -> str:
    label: str = model._meta.app_label
    return label
