"""API keys as `Authorization: Bearer <key>`."""

from __future__ import annotations

from django.http.request import HttpHeaders
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from config.tracing import bind_fields
from jobs.errors import InvalidInput
from jobs.models import ApiKey
from jobs.tenancy.services import find_api_key

ACTOR_MAX_CHARS = 200


class ApiKeyAuthentication(BaseAuthentication):
    """`request.auth` becomes the ApiKey, with its tenant; there is no Django user."""

    def authenticate(self, request: Request) -> tuple[None, ApiKey] | None:
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        key = find_api_key(text.strip())
        if key is None:
            raise AuthenticationFailed("The API key is unknown, revoked or expired.", code="invalid_api_key")
        bind_fields(tenantId=str(key.tenant_id), actorId=actor_of(request.headers, key))
        return None, key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="affidavit"'


def actor_of(headers: HttpHeaders, key: ApiKey) -> str:
    """Who acts: what `X-Actor-Id` says, else the key. Raises InvalidInput for one that is too long."""
    actor = headers.get("X-Actor-Id", "").strip()
    if len(actor) > ACTOR_MAX_CHARS or not actor.isprintable():
        raise InvalidInput.at(
            "", "actor_invalid", f"X-Actor-Id has up to {ACTOR_MAX_CHARS} printable characters."
        )
    return actor or f"key:{key.pk}"


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describes the scheme to OpenAPI."""

    target_class = ApiKeyAuthentication
    name = "apiKey"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "An API key, `afd_…`."}
