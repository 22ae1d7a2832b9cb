"""How tests look at the pages of webhooks and act on them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.contrib.sessions.models import Session
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

HOSTILE = '</pre><script>alert("x")</script>'
URL = "https://93.184.215.14/hooks"  # an address and no name: nothing is looked up
SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]+")
STATES: dict[str, dict[str, Any]] = {
    "active": {},
    "resting": {"breaker_until": timezone.now() + timedelta(hours=1), "failures": 12},
    "paused": {"paused_at": timezone.now(), "paused_by": "alice"},
    "disabled": {"disabled_at": timezone.now(), "disabled_reason": "gone"},
}


def client_of(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def list_of(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def add_to(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add")


def page_of(row: Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def shown(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, url
    return response.content.decode()


def found(client: Client, model: type[Model], **query: str) -> set[Any]:
    response = client.get(list_of(model), query)
    assert response.status_code == 200
    return {row.pk for row in response.context["cl"].result_list}


def act(client: Client, action: str, *rows: Model, **fields: str) -> Any:
    posted = {"action": action, "_selected_action": [str(row.pk) for row in rows], **fields}
    return client.post(list_of(type(rows[0])), posted)


def told(response: Any) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


def logged() -> list[str]:
    return [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")]


def secret_in(response: Any) -> str:
    """The one secret on a page; it stands there twice, once on the button that copies it."""
    (secret,) = set(SECRET.findall(response.content.decode()))
    return str(secret)


def stored_texts() -> str:
    """All that the admin's own tables hold in clear."""
    sessions = [str(session.get_decoded()) for session in Session.objects.all()]
    return " ".join([*sessions, *logged()])
