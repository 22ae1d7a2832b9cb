"""What a key may do: each view names a scope for each method, and what is not named is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

if TYPE_CHECKING:
    # The REST framework's views import this module through its settings.
    from rest_framework.views import APIView

    from jobs.models import ApiKey


class HasScope(BasePermission):
    """Allows a request whose key carries the scope that `view.scopes` names for its method."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        key: ApiKey | None = request.auth  # type: ignore[assignment]
        if key is None:
            return False  # answered as 401
        wanted = scope_of(view, request.method or "")
        if wanted is None:
            return request.method == "OPTIONS"
        if not key.allows(wanted):
            raise PermissionDenied(f"This call needs a key of scope {wanted!r}.", code="scope_missing")
        return True


def scope_of(view: object, method: str) -> str | None:
    """The scope that `view` wants for `method`; HEAD is GET. None: nobody may."""
    scopes: dict[str, str] = getattr(view, "scopes", {})
    return scopes.get("GET" if method == "HEAD" else method)
