"""What every test may use: a tenant, and a client that calls the API with its key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.test import Client

from jobs.models import Tenant
from tests.factories import make_key, make_tenant
from tests.receivers import Receiver, answer
from webhooks.models import Endpoint
from webhooks.services.endpoints import create_endpoint

pytest_plugins = ["jobs.testing"]

# An endpoint and its secret, at the receiver unless a `url` is given.
MakeEndpoint = Callable[..., tuple[Endpoint, str]]


@pytest.fixture(scope="session", autouse=True)
def _static_root() -> None:
    """WhiteNoise warns of a folder that collectstatic has not made yet."""
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)


@pytest.fixture
def tenant(db: None) -> Tenant:
    return make_tenant("acme")


@pytest.fixture
def other_tenant(db: None) -> Tenant:
    return make_tenant("globex")


class ApiClient(Client):
    """Django's client, speaking JSON with an API key."""

    def __init__(self, key: str = "") -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        super().__init__(headers=headers)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        call = getattr(self, method.lower())
        return call(path, data=body, content_type="application/json", headers=names)


@pytest.fixture
def api(tenant: Tenant) -> ApiClient:
    """The API as tenant `acme`, with every scope."""
    return ApiClient(make_key(tenant)[1])


@pytest.fixture
def api_as() -> Callable[..., ApiClient]:
    """The API as any tenant with any scopes: `api_as(tenant, "read")`."""

    def make(owner: Tenant, *scopes: str) -> ApiClient:
        return ApiClient(make_key(owner, *scopes)[1])

    return make


@pytest.fixture
def loopback(settings: Any) -> None:
    """Deliveries may go to this machine, over plain http."""
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.0/8", "::1/128"]
    settings.WEBHOOK_ALLOW_HTTP = True


@pytest.fixture
def receiver(loopback: None) -> Iterator[Receiver]:
    """A client's app that answers 200; `receiver.behaviour` makes it do otherwise."""
    with Receiver(answer(200)) as server:
        yield server


@pytest.fixture
def make_endpoint(tenant: Tenant, receiver: Receiver) -> MakeEndpoint:
    def make(owner: Tenant = tenant, **fields: Any) -> tuple[Endpoint, str]:
        return create_endpoint(owner, **{"url": receiver.url, **fields})

    return make


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that goes through psycopg, Django's and ours."""
    seen: list[str] = []
    real = psycopg.Cursor.execute

    def noting(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(str(query))
        return real(self, query, *args, **kwargs)

    monkeypatch.setattr(psycopg.Cursor, "execute", noting)
    return seen


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run fault tests at their full length")
