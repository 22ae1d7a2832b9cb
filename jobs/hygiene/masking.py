"""Hides the values of sensitive fields from people at the monitor. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate
from functools import cache
from typing import Any

MASK = "••••••"


@cache
def _pattern(fields: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(translate(field.lower()) for field in fields) or r"(?!)")


def is_masked(name: str, fields: Sequence[str]) -> bool:
    """Whether a field of this name is hidden; `fields` are names, also with * in them, in any case."""
    return bool(_pattern(tuple(fields)).match(name.lower()))


def mask(value: Any, fields: Sequence[str]) -> Any:
    """The JSON value with MASK for whatever stands under a masked name, at any depth; None and "" stay."""
    if isinstance(value, dict):
        return {
            name: MASK if is_masked(name, fields) and inner not in (None, "") else mask(inner, fields)
            for name, inner in value.items()
        }
    return [mask(item, fields) for item in value] if isinstance(value, list) else value


def unmask(edited: Any, original: Any) -> Any:
    """Put back what MASK stands for in a value that was masked and then edited, by its place.

    A MASK with nothing in its place in `original` stays as it is: somebody has typed it.
    """
    if edited == MASK:
        return MASK if original is None else original
    if isinstance(edited, dict):
        old = original if isinstance(original, dict) else {}
        return {name: unmask(inner, old.get(name)) for name, inner in edited.items()}
    if isinstance(edited, list):
        old_items = original if isinstance(original, list) else []
        return [
            unmask(item, old_items[index] if index < len(old_items) else None)
            for index, item in enumerate(edited)
        ]
    return edited
