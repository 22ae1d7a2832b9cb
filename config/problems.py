"""Errors as RFC 9457 `application/problem+json`, for routes outside the admin."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults

from config.tracing import current_trace

CONTENT_TYPE = "application/problem+json"


def problem(
    status: int, code: str, detail: str = "", *, errors: Sequence[dict[str, str]] = ()
) -> dict[str, Any]:
    """The body of an error answer: `type, title, status, code, detail, trace_id, errors`."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail or HTTPStatus(status).description,
        "trace_id": current_trace().trace_id,
        "errors": list(errors),
    }


def problem_answer(status: int, code: str, detail: str = "") -> JsonResponse:
    """An error answer from outside the REST framework."""
    return JsonResponse(problem(status, code, detail), status=status, content_type=CONTENT_TYPE)


def is_admin(request: HttpRequest) -> bool:
    """Whether a person is looking: the admin answers in HTML."""
    return request.path_info.startswith("/admin")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if is_admin(request):
        return defaults.bad_request(request, exception)
    return problem_answer(400, "bad_request")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    if is_admin(request):
        return defaults.permission_denied(request, exception)
    return problem_answer(403, "permission_denied")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if is_admin(request):
        return defaults.page_not_found(request, exception)
    return problem_answer(404, "not_found", "There is nothing at this address.")


def server_error(request: HttpRequest) -> HttpResponse:
    if is_admin(request):
        return defaults.server_error(request)
    return problem_answer(500, "server_error", "Something went wrong here; the trace id finds it in the log.")
