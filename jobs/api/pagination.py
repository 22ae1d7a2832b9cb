"""Lists: filters from the address, and pages by cursor, newest first, that cost the same however far down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import Field, Model
from rest_framework.exceptions import NotFound
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.errors import FieldProblem, InvalidInput


class NewestFirst(CursorPagination):
    """`{results, next, previous}`; `?limit=` up to 200, 50 by default. For rows whose id is a UUID."""

    ordering = "-id"
    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 200

    def decode_cursor(self, request: Request) -> Cursor | None:
        """Read `?cursor=`; raises NotFound for a position that is no id, which the framework lets through."""
        cursor = super().decode_cursor(request)
        if cursor and cursor.position is not None:
            try:
                UUID(str(cursor.position))
            except ValueError as error:
                raise NotFound(self.invalid_cursor_message) from error
        return cursor

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"results": data, "next": self.get_next_link(), "previous": self.get_previous_link()})


def asked_filters(model: type[Model], asked: Mapping[str, str], names: Iterable[str]) -> dict[str, Any]:
    """Those of the filters `names`, fields of `model`, that an address asks for.

    Raises InvalidInput naming each whose value its column can't be compared with.
    """
    values: dict[str, Any] = {}
    problems: list[FieldProblem] = []
    for name in (name for name in names if name in asked):
        try:
            values[name] = _comparable(model, name, asked[name])
        except ValidationError as error:
            problems.append(FieldProblem(f"/{name}", "invalid", " ".join(error.messages)))
    if problems:
        raise InvalidInput("The list can't be filtered by this.", errors=problems)
    return values


def _comparable(model: type[Model], name: str, text: str) -> Any:
    if "\0" in text:
        raise ValidationError("Text may hold no NUL.")
    field = model._meta.get_field(name)
    assert isinstance(field, Field)
    return field.to_python(text)
