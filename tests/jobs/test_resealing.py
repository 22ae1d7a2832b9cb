"""`manage.py reseal` seals all that rests sealed with the first key, so that the others can be dropped."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.apps import apps
from django.core.management import CommandError, call_command

from attestations.services.creators import creator_of
from jobs.models import Tenant
from jobs.tenancy.resealing import add_sealed, sealed_columns
from tests.conftest import MakeEndpoint
from webhooks.models import EndpointSecret
from webhooks.services.endpoints import headers_of
from webhooks.services.senders import create_sender

OURS = ["jobs", "attestations", "webhooks"]


def test_every_sealed_column_is_registered() -> None:
    found = {
        (model, field.name)
        for label in OURS
        for model in apps.get_app_config(label).get_models()
        for field in model._meta.concrete_fields
        if field.name.startswith("sealed")
    }

    assert len(found) >= 4
    assert set(sealed_columns) == found


def test_a_column_is_registered_once() -> None:
    before = list(sealed_columns)

    add_sealed(before[:1])

    assert sealed_columns == before


def test_secrets_are_sealed_anew_with_the_first_key(
    tenant: Tenant, make_endpoint: MakeEndpoint, settings: Any
) -> None:
    endpoint, secret = make_endpoint(headers={"Authorization": "x"})
    sender, given = create_sender(tenant, name="app")
    creator = creator_of(tenant.pk)
    old, new = settings.ENCRYPTION_KEYS[0], Fernet.generate_key().decode()
    settings.ENCRYPTION_KEYS = [new, old]

    call_command("reseal", verbosity=0)

    settings.ENCRYPTION_KEYS = [new]
    endpoint.refresh_from_db()
    assert (endpoint.secrets.get().text, sender.secrets.get().text) == (secret, given)
    assert headers_of(endpoint) == ["Authorization"]
    assert creator_of(tenant.pk).secret == creator.secret


def test_what_no_key_opens_is_named_and_left(
    tenant: Tenant, make_endpoint: MakeEndpoint, settings: Any
) -> None:
    make_endpoint()
    creator_of(tenant.pk)
    before = EndpointSecret.objects.get().sealed
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    with pytest.raises(CommandError, match="2 of 2"):
        call_command("reseal", verbosity=0)

    assert EndpointSecret.objects.get().sealed == before
