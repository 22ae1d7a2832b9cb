"""Who may watch a stream: a program by its key, a browser by a token of that key, a person by his session."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.models import AnonymousUser, User
from django.http import Http404, HttpRequest
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated, PermissionDenied
from rest_framework.request import Request

from config.streaming import Access
from config.tracing import bind_fields
from jobs.models import ApiKey, Tenant
from jobs.streams.tokens import read_token
from jobs.tenancy.restriction import restriction_of


@dataclass(frozen=True, slots=True)
class KeyAccess:
    """A key of a scope, or a token of that key, which ends by itself."""

    key_id: str
    scope: str
    expires_at: datetime | None = None

    @property
    def holder(self) -> str:
        return f"key:{self.key_id}"

    def holds(self) -> bool:
        if self.expires_at and self.expires_at <= timezone.now():
            return False
        key = ApiKey.objects.select_related("tenant").filter(pk=self.key_id).first()
        return key is not None and key.is_usable and key.allows(self.scope)


@dataclass(frozen=True, slots=True)
class SessionAccess:
    """A person who is logged in to the admin and has a permission; for one tenant's things, where he sees no other's."""

    user_id: int
    session_key: str
    permission: str
    restriction: UUID | None = None

    @property
    def holder(self) -> str:
        return f"user:{self.user_id}"

    def holds(self) -> bool:
        request = HttpRequest()
        request.session = import_module(settings.SESSION_ENGINE).SessionStore(self.session_key)
        user = get_user(request)
        is_the_same = user.pk == self.user_id and restriction_of(user) == self.restriction
        return is_the_same and _may_watch(user, self.permission)


def stream_access(request: Request, *, scope: str, permission: str) -> tuple[Access, Tenant | None]:
    """Who watches, and the tenant whose things that may be: the key's, or the one that `?tenant=SLUG` names.

    A key, or a token of one (`?token=`), needs `scope`; whoever is logged in to the admin needs `permission`, may look
    at every tenant's things, and has None for a tenant unless he names one; where he is restricted to one, it is that.
    Raises NotAuthenticated, AuthenticationFailed, PermissionDenied, and Http404 for a tenant that there is not, or that
    is not his to see.
    """
    if isinstance(request.auth, ApiKey):
        _demand(request.auth.allows(scope), scope)
        return KeyAccess(request.auth.pk, scope), request.auth.tenant
    if "token" in request.query_params:
        return _access_by_token(request.query_params["token"], scope)
    access = _access_by_session(request._request, permission)
    return access, _tenant_to_watch(request, access.restriction)


def _access_by_token(text: str, scope: str) -> tuple[Access, Tenant]:
    token = read_token(text)
    key = ApiKey.objects.select_related("tenant").filter(pk=token.key_id).first() if token else None
    if token is None or key is None or not key.is_usable:
        raise AuthenticationFailed(
            "The stream token is unknown, expired, or its key is.", code="invalid_token"
        )
    bind_fields(tenantId=str(key.tenant_id), actorId=f"key:{key.pk}")
    _demand(token.allows(scope) and key.allows(scope), scope)
    return KeyAccess(key.pk, scope, token.expires_at), key.tenant


def _demand(is_allowed: bool, scope: str) -> None:
    if not is_allowed:
        raise PermissionDenied(
            f"This stream needs a key, or a token, of scope {scope!r}.", code="scope_missing"
        )


def _access_by_session(request: HttpRequest, permission: str) -> SessionAccess:
    user = get_user(request)  # the framework of the API has put its own nobody in the place of `request.user`
    if isinstance(user, AnonymousUser):
        raise NotAuthenticated
    if not _may_watch(user, permission):
        raise PermissionDenied(
            f"Watching this needs the permission {permission!r}.", code="permission_denied"
        )
    return SessionAccess(user.pk, request.session.session_key or "", permission, restriction_of(user))


def _may_watch(user: User | AnonymousUser, permission: str) -> bool:
    return bool(user.is_active and user.is_staff and user.has_perm(permission))


def _tenant_to_watch(request: Request, restriction: UUID | None) -> Tenant | None:
    """The tenant that is named, or the only one that may be."""
    slug = request.query_params.get("tenant")
    if slug is None and restriction is None:
        return None
    seen = Tenant.objects.all() if restriction is None else Tenant.objects.filter(pk=restriction)
    tenant = (seen if slug is None else seen.filter(slug=slug)).first()
    if tenant is None:
        raise Http404
    return tenant
