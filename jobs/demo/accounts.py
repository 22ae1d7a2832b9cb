"""The demo's tenant, keys and operator."""

from __future__ import annotations

import secrets

from django.contrib.auth import get_user_model
from django.utils import timezone

from jobs.models import ApiKey, Scope, Tenant
from jobs.tenancy.services import create_api_key, create_tenant

SLUG = "demo"
OPERATOR = "operator"


def ensure_tenant() -> Tenant:
    """The demo's tenant, made on the first run."""
    return Tenant.objects.filter(slug=SLUG).first() or create_tenant(SLUG, name="Demo")


def replace_key(tenant: Tenant, name: str, *scopes: Scope) -> str:
    """Make a key under this name and close earlier ones: no run needs another's, so none is kept on disk."""
    ApiKey.objects.filter(tenant=tenant, name=name, revoked_at=None).update(revoked_at=timezone.now())
    _, text = create_api_key(tenant, name=name, scopes=scopes)
    return text.text


def ensure_operator() -> str | None:
    """Make the operator's account on the first run and return its password; None when it exists."""
    users = get_user_model()._default_manager
    if users.filter(username=OPERATOR).exists():
        return None
    password = secrets.token_urlsafe(15)
    users.create_superuser(username=OPERATOR, email="", password=password)
    return password
