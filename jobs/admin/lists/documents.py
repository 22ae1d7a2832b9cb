"""Filters that look into JSON: `?payload=prompt=castle`, `?payload=size.width=1024`, `?payload=seed` (has one)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db.models import BooleanField, F, Func, Q, TextField, Value

from jobs.admin.lists import scans
from jobs.admin.lists.criteria import Criterion, Unusable
from jobs.hygiene.masking import is_masked

# Exponents of three digits, so that no number is more than PostgreSQL takes.
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
WORDS = {"true", "false", "null"}
DEPTH_MAX = 20

Path = tuple[str, ...]


class Holds(Func):
    """Whether a JSON column has one of some JSON values at a path; False, not NULL, where there is no such path."""

    output_field = BooleanField()
    template = "COALESCE(%(expressions)s, false)"
    arg_joiner = ""

    def __init__(self, column: str, path: Path, texts: Sequence[str]) -> None:
        texts_type: ArrayField[Any, Any] = ArrayField(TextField())
        super().__init__(
            F(column),
            Func(Value([*path], texts_type), template=" #> %(expressions)s::text[]"),
            Func(Value([*texts], texts_type), template=" = ANY(%(expressions)s::text[]::jsonb[])"),
        )


class Has(Func):
    """Whether a JSON column has anything at a path, null too."""

    output_field = BooleanField()
    template = "(%(expressions)s IS NOT NULL)"
    arg_joiner = ""

    def __init__(self, column: str, path: Path) -> None:
        value = Func(Value([*path], ArrayField(TextField())), template=" #> %(expressions)s::text[]")
        super().__init__(F(column), value)


class JsonCriterion(Criterion):
    """By what JSON columns hold; each value is a condition of its own, and all of those wanted are to hold."""

    is_split = False
    hint = "key=value, a.b=value, or key alone"
    roots: ClassVar[tuple[tuple[str, Path], ...]]  # columns, and where in them a path may begin

    @property
    def window(self) -> int:
        return scans.SEARCHED_DOCUMENTS

    def take(self) -> None:
        self.check([*self.wanted, *self.unwanted])
        for value in self.wanted:
            self.including &= self.any_of([value])
        if self.unwanted:
            self.excluding = ~self.any_of(self.unwanted)

    def any_of(self, values: list[str]) -> Q:
        found = Q()
        for value in values:
            path, texts = read_condition(value)
            for column, root in self.roots:
                whole = (*root, *path)
                found |= Q(Has(column, whole) if texts is None else Holds(column, whole, texts))
        return found


def read_condition(text: str) -> tuple[Path, list[str] | None]:
    """Take `a.b=value` apart: the path, and the JSON values that are meant, None for any. Raises Unusable."""
    keys, equals, value = text.partition("=")
    path = tuple(key.strip() for key in keys.split("."))
    if not all(path) or len(path) > DEPTH_MAX:
        raise Unusable(f"{text[:40]!r} names no key; write key=value, or a.b.c=value.")
    if masked := [key for key in path if is_masked(key, settings.MASKED_FIELDS)]:
        raise Unusable(f"{masked[0]!r} is masked here: rows are not looked for by what it holds.")
    return path, json_values(value) if equals else None


def json_values(text: str) -> list[str]:
    """The JSON values a typed word may mean: itself as a text, and the number or the word that it reads as."""
    as_text = json.dumps(text)
    return [as_text, text] if text in WORDS or NUMBER.fullmatch(text) else [as_text]


def by_json(name: str, *columns: str, title: str = "", inside: Sequence[Path] = ()) -> type[JsonCriterion]:
    """A filter that looks into these columns, at their top and `inside` of them at (column, key, …)."""

    class Document(JsonCriterion):
        parameter_name = name
        roots: ClassVar[tuple[tuple[str, Path], ...]] = (
            *((column, ()) for column in columns),
            *((each[0], each[1:]) for each in inside),
        )

    Document.title = title or name
    return Document
