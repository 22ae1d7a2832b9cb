"""The admin site: the platform's monitor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from django.apps import apps
from django.contrib import admin
from django.db.models import Model
from django.db.models.base import ModelBase
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from unfold.sites import UnfoldAdminSite

# The sidebar: groups of (title, material icon, model). An account sees what it may open.
NAVIGATION = {
    "Work": [
        ("Workflows", "account_tree", "jobs.Workflow"),
        ("Jobs", "bolt", "jobs.Job"),
        ("Attestations", "verified", "attestations.Attestation"),
        ("Events", "timeline", "jobs.Event"),
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
    ],
    "Access": [
        ("Tenants", "apartment", "jobs.Tenant"),
        ("API keys", "key", "jobs.ApiKey"),
        ("Users", "person", "auth.User"),
        ("Groups", "group", "auth.Group"),
    ],
}


class MonitorSite(UnfoldAdminSite):  # type: ignore[misc]
    """Django's admin in unfold's clothes, under the product's name."""

    index_title = "Overview"

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Lead to the overview after a login that came from nowhere; unfold's form does not say where to go."""
        overview = {"next": reverse("admin:index")}
        path = request.get_full_path() if "next" in request.GET else f"{request.path}?{urlencode(overview)}"
        response: HttpResponse = super().login(request, {"app_path": path, **(extra_context or {})})
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


def _app_of(model: Any) -> str:
    label: str = model._meta.app_label
    return label
