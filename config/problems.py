"""Errors as RFC 9457 `application/problem+json`, for routes outside the admin."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

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


def page(request: HttpRequest, status: int, detail: str) -> HttpResponse:
    """An error answer to a person."""
    context = {"title": HTTPStatus(status).phrase, "detail": detail, "trace_id": current_trace().trace_id}
    return render(request, "admin/refused.html", context, status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not is_admin(request):
        return problem_answer(400, "bad_request")
    if isinstance(exception, RequestDataTooBig | TooManyFieldsSent):
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0
        return page(request, 400, f"What was sent is too large: the monitor takes {limit:,} bytes at a time.")
    return page(request, 400, str(exception) or "This can't be asked.")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not is_admin(request):
        return problem_answer(403, "permission_denied")
    return page(request, 403, "This account may not open this page, or do what it asked for.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not is_admin(request):
        return problem_answer(404, "not_found", "There is nothing at this address.")
    return page(request, 404, "There is nothing at this address, or nothing that this account may see.")


def server_error(request: HttpRequest) -> HttpResponse:
    if is_admin(request):
        return page(request, 500, "Something went wrong here; the trace finds it in the log.")
    return problem_answer(500, "server_error", "Something went wrong here; the trace id finds it in the log.")
