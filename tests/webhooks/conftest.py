"""What the tests of this floor share."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.test import Client

from jobs.models import Tenant
from tests.factories import make_endpoint, make_operator, make_superuser
from tests.webhooks.calls import make_sender
from tests.webhooks.pages import URL, client_of
from webhooks.models import Endpoint
from webhooks.services import receipts


@pytest.fixture(autouse=True)
def _every_refusal_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests of one second are refused more often than a process may store in it."""
    monkeypatch.setattr(receipts, "_allowance", receipts.Allowance(100_000))


@pytest.fixture
def root(known_content_types: None) -> Client:
    return client_of(make_superuser("root"))


@pytest.fixture
def viewer(known_content_types: None) -> Client:
    models = ("endpoint", "delivery", "message", "receipt", "sender")
    return client_of(make_operator(*(f"webhooks.view_{model}" for model in models)))


@pytest.fixture
def endpoint(tenant: Tenant) -> Endpoint:
    return make_endpoint(tenant, url=URL, description="Production")


@pytest.fixture
def known_content_types(db: None) -> None:
    """Django caches these: only the first page of a process asks for them."""
    ContentType.objects.get_for_models(*apps.get_models())


@pytest.fixture
def secret(tenant: Tenant) -> str:
    """What a sender of `acme` signs with."""
    return make_sender(tenant)[1]
