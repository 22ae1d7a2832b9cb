"""Reads request bodies as JSON, strictly: what could break later is refused here, with a reason."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from jobs.errors import DomainError, FieldProblem, InvalidInput, pointer_part

MAX_DEPTH = 64
# Beyond this PostgreSQL would write a number out in tens of thousands of digits, or refuse it.
LARGEST_NUMBER = 1e300
# What may be a NUL, half of a surrogate pair (jsonb takes neither) or a number without measure: a number of
# fewer than 200 digits before its point and two in its exponent stays below 1e298.
SUSPICIOUS = re.compile(rb"\\u(0000|[dD][89a-fA-F])|\d[eE]\+?\d{3}|\d{200}")


class BodyTooLarge(DomainError):
    """The body is longer than the platform reads."""

    code = "body_too_large"
    status = 413


class StrictJSONParser(BaseParser):
    """UTF-8 JSON of at most BODY_MAX_BYTES bytes, 64 levels, finite numbers, and text that jsonb can keep."""

    media_type = "application/json"

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        return parse_json(read_body(stream, settings.DATA_UPLOAD_MAX_MEMORY_SIZE))


def read_body(stream: Any, limit: int) -> bytes:
    """Read a request's body, `limit` bytes at most; raises BodyTooLarge without reading further."""
    # A body that was read before (see idempotency.py) comes as plain bytes, without its headers.
    declared = getattr(stream, "META", {}).get("CONTENT_LENGTH") or "0"
    if int(declared) > limit:
        raise BodyTooLarge(f"A body may have {limit} bytes.")
    body: bytes = stream.read(limit + 1)
    if len(body) > limit:
        raise BodyTooLarge(f"A body may have {limit} bytes.")
    return body


def parse_json(body: bytes) -> Any:
    """Decode a body; raises ParseError (400) for what is no JSON and InvalidInput (422) for what can't be kept."""
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_distinct)
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError as error:
        raise ParseError(f"The body is not UTF-8 (byte {error.start}).") from error
    except ValueError as error:
        raise ParseError(f"The body is not JSON: {error}.") from error
    # Both are cheap bounds from above: only a body that might be wrong is walked.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise _too_deep()
    if SUSPICIOUS.search(body):
        problems = list(_unstorable(value, ""))
        if problems:
            raise InvalidInput("The body holds what can't be stored.", errors=problems)
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are all different: with two of a name, which one counts is anybody's guess."""
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        double = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {double!r} appears twice in one object")
    return value


def _too_deep() -> InvalidInput:
    return InvalidInput.at("", "too_deep", f"JSON may be nested {MAX_DEPTH} levels deep.")


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level:
        items = [item for item in level if isinstance(item, dict | list)]
        depth += bool(items)
        level = [child for item in items for child in (item.values() if isinstance(item, dict) else item)]
    return depth


def _unstorable(value: Any, pointer: str) -> Iterable[FieldProblem]:
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
            yield FieldProblem(
                pointer, "text_invalid", "Text may hold no NUL and no half of a surrogate pair."
            )
    elif isinstance(value, int | float):
        if abs(value) > LARGEST_NUMBER:
            yield FieldProblem(pointer, "number_too_large", "A number may be up to 1e300.")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _unstorable(key, pointer)
            yield from _unstorable(item, f"{pointer}/{pointer_part(key)}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unstorable(item, f"{pointer}/{index}")
