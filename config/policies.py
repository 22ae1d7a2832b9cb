"""What a browser lets our pages do: nothing that they do not need."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

OF_PAGES = {
    "default-src": "'none'",
    "script-src": "'self'",
    # Widgets of unfold and of the API's documentation bring styles along in attributes.
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "object-src": "'none'",
    "frame-ancestors": "'none'",
}
# Unfold's pages are driven by Alpine, which makes functions of the expressions in their attributes.
OF_ADMIN = {**OF_PAGES, "script-src": "'self' 'unsafe-eval'"}

POLICIES = {"/admin": OF_ADMIN, "/api/docs": OF_PAGES}
UNUSED = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"


class PoliciesMiddleware:
    """Say with each answer what the page may load and run, and which of a browser's powers it has no use for.

    A view that has set a policy of its own keeps it.
    """

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", policy_of(request.path_info))
        response.headers.setdefault("Permissions-Policy", UNUSED)
        return response


def policy_of(path: str) -> str:
    """The Content-Security-Policy of an address."""
    for start, directives in POLICIES.items():
        if path == start or path.startswith(f"{start}/"):
            return "; ".join(f"{name} {sources}" for name, sources in directives.items())
    return NOTHING
