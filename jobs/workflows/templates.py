"""Fills `${variables.NAME}` and `${steps.NAME.result.PATH}` into a step's payload. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from typing import Any

PLACEHOLDER = re.compile(r"\$\{([^{}]*)\}")
VARIABLE = re.compile(r"variables\.([A-Za-z_][A-Za-z0-9_]*)")
STEP_RESULT = re.compile(r"steps\.([A-Za-z0-9_-]+)\.result((?:\.[A-Za-z0-9_-]+)*)")


class UnknownName(LookupError):
    """A placeholder names nothing that exists; `args[0]` is the placeholder's inside."""


def fill(value: Any, lookup: Callable[[str], Any]) -> Any:
    """Replace every placeholder in the strings of `value`, nested anywhere, by what `lookup` says.

    A string that is nothing but one placeholder becomes the value itself, of whatever type; inside longer
    text the value is written as text. Keys are left alone.
    """
    if isinstance(value, str):
        whole = PLACEHOLDER.fullmatch(value)
        if whole:
            return lookup(whole[1])
        return PLACEHOLDER.sub(lambda match: _as_text(lookup(match[1])), value)
    if isinstance(value, dict):
        return {key: fill(item, lookup) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, lookup) for item in value]
    return value


def placeholders(value: Any, pointer: str = "") -> Iterator[tuple[str, str]]:
    """Every (pointer, inside of a placeholder) in `value`; pointers are RFC 6901."""
    if isinstance(value, str):
        for match in PLACEHOLDER.finditer(value):
            yield pointer, match[1]
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from placeholders(item, f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from placeholders(item, f"{pointer}/{index}")


def resolve(payload: Any, variables: dict[str, Any], results: dict[str, Any]) -> Any:
    """Fill a step's payload from the user's variables and the results of earlier steps, by step name.

    One pass: what is filled in is never read as a template itself. Raises UnknownName for a name that does
    not exist or a path that leads nowhere.
    """

    def lookup(name: str) -> Any:
        if variable := VARIABLE.fullmatch(name):
            return _walk(variables, [variable[1]], name)
        if reference := STEP_RESULT.fullmatch(name):
            return _walk(results, [reference[1], *reference[2].split(".")[1:]], name)
        raise UnknownName(name)

    return fill(payload, lookup)


def unknown_names(
    payload: Any, variables: Collection[str] | None, earlier: Collection[str]
) -> list[tuple[str, str]]:
    """The (pointer, name) pairs that could not be filled in; `variables` None accepts every variable."""

    def is_known(name: str) -> bool:
        if variable := VARIABLE.fullmatch(name):
            return variables is None or variable[1] in variables
        reference = STEP_RESULT.fullmatch(name)
        return reference is not None and reference[1] in earlier

    return [(pointer, name) for pointer, name in placeholders(payload) if not is_known(name)]


def _walk(value: Any, path: list[str], name: str) -> Any:
    for part in path:
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise UnknownName(name)
    return value


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
