"""Turns every exception of an API view into `application/problem+json`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import (
    ObjectDoesNotExist,
    PermissionDenied,
    RequestDataTooBig,
    ValidationError,
)
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from config.problems import CONTENT_TYPE, problem
from jobs.errors import DomainError, FieldProblem

logger = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 2


def problem_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """The REST framework's exception handler. None (a 500) for what nobody foresaw."""
    answer = _answer(error)
    if answer is not None:
        set_rollback()
        answer.content_type = CONTENT_TYPE
    return answer


def _answer(error: Exception) -> Response | None:
    match error:
        case DomainError():
            headers = {}
            if error.retry_after_seconds is not None:
                headers["Retry-After"] = str(error.retry_after_seconds)
            return _response(error.status, error.code, error.detail, errors=error.errors, headers=headers)
        case exceptions.ValidationError():
            found = list(_flattened(error.get_full_details(), ""))
            return _response(422, "invalid", "The request can't be accepted as it is.", errors=found)
        case exceptions.APIException():
            code = error.get_codes()
            headers = {}
            if wait := getattr(error, "wait", None):
                headers["Retry-After"] = str(int(wait))
            if challenge := getattr(error, "auth_header", None):
                headers["WWW-Authenticate"] = challenge
            return _response(error.status_code, str(code), str(error.detail), headers=headers)
        case Http404() | ObjectDoesNotExist():  # the retention was faster than a verb
            return _response(404, "not_found", "There is no such thing, or it is another tenant's.")
        case PermissionDenied():
            return _response(403, "permission_denied")
        case RequestDataTooBig():
            return _response(413, "body_too_large")
        case ValidationError() | DataError():
            # A net: whatever comes this far should have been refused by name before.
            logger.error("a value reached the database that it refuses", exc_info=error)
            return _response(422, "invalid", "A value of the request can't be stored or compared.")
        case OperationalError() | InterfaceError():
            # Nothing was stored, and the caller may simply come again.
            logger.error("the database is away", exc_info=error)
            return _response(
                503,
                "database_unavailable",
                "The database can't be reached; nothing was stored.",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
    return None


def _response(
    status: int,
    code: str,
    detail: str = "",
    *,
    errors: list[FieldProblem] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    listed = [{"pointer": e.pointer, "code": e.code, "detail": e.detail} for e in errors or []]
    return Response(problem(status, code, detail, errors=listed), status=status, headers=headers)


def _flattened(details: Any, pointer: str) -> Iterator[FieldProblem]:
    """The leaves of the REST framework's nested error details, as pointers."""
    if isinstance(details, list):
        for index, item in enumerate(details):
            is_leaf = isinstance(item, dict) and item.keys() == {"message", "code"}
            yield from _flattened(item, pointer if is_leaf else f"{pointer}/{index}")
    elif isinstance(details, dict) and details.keys() == {"message", "code"}:
        yield FieldProblem(pointer, str(details["code"]), str(details["message"]))
    elif isinstance(details, dict):
        for key, item in details.items():
            yield from _flattened(item, pointer if key == "non_field_errors" else f"{pointer}/{key}")
