"""Tenants and their keys: the verbs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from jobs.errors import DomainError, InvalidInput
from jobs.models import ApiKey, Scope, Tenant
from jobs.statements import run
from jobs.tenancy.keys import KeyText, make_key, read_key

USE_NOTED_EVERY = timedelta(minutes=1)


class TenantExists(DomainError):
    """A tenant of this slug exists."""

    code = "tenant_exists"


def create_tenant(slug: str, *, name: str = "") -> Tenant:
    """Add a tenant; raises InvalidInput for a malformed slug and TenantExists for a taken one."""
    tenant = Tenant(slug=slug, name=name or slug)
    try:
        tenant.clean_fields()
    except ValidationError as error:
        raise InvalidInput("; ".join(error.messages)) from error
    try:
        with transaction.atomic():
            tenant.save(force_insert=True)
    except IntegrityError as error:
        raise TenantExists(f"There is a tenant {slug!r} already.") from error
    return tenant


def create_api_key(
    tenant: Tenant, *, name: str, scopes: Iterable[str], expires_at: datetime | None = None
) -> tuple[ApiKey, KeyText]:
    """Add a key and return it with its text, which nothing can show again.

    Raises InvalidInput for no or unknown scopes.
    """
    wanted = list(dict.fromkeys(scopes))
    unknown = [scope for scope in wanted if scope not in Scope.values]
    if unknown or not wanted:
        raise InvalidInput(f"Scopes are {', '.join(Scope.values)}; not {', '.join(unknown) or 'none'}.")
    text = make_key()
    key = ApiKey.objects.create(
        id=text.id, tenant=tenant, name=name, digest=text.digest, scopes=wanted, expires_at=expires_at
    )
    return key, text


def revoke_api_key(key: ApiKey) -> bool:
    """Close a key for good, at once; False when it was closed already."""
    return bool(ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now()))


def find_api_key(text: str) -> ApiKey | None:
    """The usable key of this text, with its tenant; notes the use, at most once a minute."""
    given = read_key(text)
    if given is None:
        return None
    key = _stored_key(given.id)
    if key is None or not given.matches(key.digest) or not key.is_usable:
        return None
    now = timezone.now()
    if key.last_used_at is None or now - key.last_used_at > USE_NOTED_EVERY:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
    return key


def _stored_key(key_id: str) -> ApiKey | None:
    """The key of this id with its tenant. Every request passes here, so the ORM doesn't compile it each time."""
    for row in run("find_api_key", {"id": key_id}):
        fields = row._asdict()
        tenant = Tenant(
            id=fields["tenant_id"],
            slug=fields.pop("slug"),
            name=fields.pop("tenant_name"),
            is_active=fields.pop("is_active"),
            created_at=fields.pop("tenant_created_at"),
        )
        key = ApiKey(**fields)
        key.tenant = tenant
        key._state.adding = tenant._state.adding = False
        return key
    return None
