"""Hides the values of sensitive fields from people at the monitor. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from fnmatch import translate
from functools import cache
from typing import Any

MASK = "••••••"
PARSED_CHARS = 1_000_000  # of a text that may be JSON; of a longer one only the names are looked for
NAME_CHARS = 100  # that are looked through for the end of one


class _Names(dict[str, bool]):
    """Whether a field of a name is hidden, found out once for each."""

    def __init__(self, fields: Sequence[str]) -> None:
        self._pattern = _pattern(tuple(fields))

    def __missing__(self, name: str) -> bool:
        self[name] = bool(self._pattern.match(name.lower()))
        return self[name]


@cache
def _pattern(fields: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(translate(field.lower()) for field in fields) or r"(?!)")


def is_masked(name: str, fields: Sequence[str]) -> bool:
    """Whether a field of this name is hidden; `fields` are names, also with * in them, in any case."""
    return _Names(fields)[name]


def is_pair(value: Any, fields: Sequence[str]) -> bool:
    """Whether it is a list of a masked name and a text, as headers are often kept."""
    return isinstance(value, list) and _is_pair(value, _Names(fields))


def mask(value: Any, fields: Sequence[str]) -> Any:
    """The JSON value with MASK for what is sensitive, at any depth; None and "" stay. Masking it again changes nothing.

    That is whatever stands under a masked name: in an object, in a pair like ["Authorization", "…"], in JSON that is
    kept as text, in the query of an address; and the password of an address, whatever the names.
    """
    return _masked(value, _Names(fields)) if fields else value


def _masked(value: Any, names: _Names) -> Any:
    if isinstance(value, str):
        # Most texts are words, and a payload may have a hundred thousand.
        return _masked_string(value, names) if value[:1] in _BEGINNINGS or "://" in value else value
    if isinstance(value, dict):
        return {
            name: MASK if names[name] and inner not in (None, "") else _masked(inner, names)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [value[0], MASK] if _is_pair(value, names) else [_masked(item, names) for item in value]
    return value


def _is_pair(value: list[Any], names: _Names) -> bool:
    return len(value) == 2 and all(isinstance(item, str) and item for item in value) and names[value[0]]


# Texts that hold more than a word.


# Of JSON, and of an address without its host.
_BEGINNINGS = frozenset("{[ \n\t\r/?")


def _masked_string(text: str, names: _Names) -> str:
    if text[:1] in ("{", "[", " ", "\n", "\t", "\r") and text.lstrip()[:1] in ("{", "["):
        return _masked_json(text, names)
    return _masked_addresses(text, names)


def _masked_json(text: str, names: _Names) -> str:
    """JSON that is kept as text: the text itself where nothing in it is hidden."""
    if len(text) > PARSED_CHARS:
        return _masked_text(text, names)
    try:
        value = json.loads(text)
        masked = _masked(value, names)
        if masked == value:
            return text
        told = json.dumps(masked, ensure_ascii=False)
    except (ValueError, RecursionError):  # cut off, or none
        return _masked_text(text, names)
    # Half a character can be written in JSON, but not in a page.
    return told.encode("utf-8", "replace").decode()


# Of no more than so many characters, and none given back: else a text of quotes would take minutes.
_NAME = re.compile(
    rf"""(?P<pair>\[\s*+)?"(?P<name>(?:[^"\\]|\\.){{0,{NAME_CHARS}}}+)"\s*+(?::|(?(pair),|(?!)))\s*+""",
    re.DOTALL,
)
# A value up to where it ends; an object or a list is taken to have no end.
_VALUE = re.compile(r""""(?:[^"\\]|\\.)*+"?|[{\[].*|[^,}\]]*""", re.DOTALL)
_PAIRED = re.compile(r""""(?:[^"\\]|\\.)*+(?:"(?=\s*+(?:\]|\Z))|\Z)""", re.DOTALL)


def mask_text(text: str, fields: Sequence[str]) -> str:
    """The same for text that begins as JSON and may be cut off, or be none: hides whatever follows a masked name."""
    return _masked_text(text, _Names(fields)) if fields else text


def _masked_text(text: str, names: _Names) -> str:
    parts, at = [], 0
    while found := _NAME.search(text, at):
        parts.append(text[at : found.end()])
        at = found.end()
        value = (_VALUE if ":" in found[0][found.end("name") - found.start() :] else _PAIRED).match(text, at)
        if value and value[0] not in ("", '""', "null") and names[found["name"]]:
            parts.append(f'"{MASK}"')
            at = value.end()
    return _masked_addresses("".join(parts) + text[at:], names)


# What stands before the host: `user:password`, or a token alone.
_PASSWORD = re.compile(r"""(?<=://)(?P<user>[^\s/?#@:"'<>\\]{0,200}+:)[^\s/?#"'<>\\]{1,2000}(?=@)""")
_TOKEN = re.compile(r"""(?P<scheme>(?i:https?)://)[^\s/?#@:"'<>\\]{1,2000}+(?=@)""")
_PARAMETER = re.compile(r"""[?&;#](?P<name>[^=&;#?\s"'<>\\]{1,200}+)=""")
_ARGUMENT = re.compile(r"""[^&#\s"'<>\\]*""")


def _masked_addresses(text: str, names: _Names) -> str:
    """The text with MASK for the passwords and the masked parameters of addresses in it."""
    has_host = "://" in text
    if has_host and "@" in text:
        text = _PASSWORD.sub(rf"\g<user>{MASK}", text)
        text = _TOKEN.sub(rf"\g<scheme>{MASK}", text)
    if "=" in text and (has_host or text[:1] in ("/", "?")):
        text = _masked_parameters(text, names)
    return text


def _masked_parameters(text: str, names: _Names) -> str:
    parts, at, begin = [], 0, 0
    while found := _PARAMETER.search(text, begin):
        begin = found.end()
        value = _ARGUMENT.match(text, begin) if names[found["name"]] else None
        if value and value[0]:
            parts += [text[at:begin], MASK]
            at = begin = value.end()
    return "".join(parts) + text[at:]


def unmask(edited: Any, original: Any, fields: Sequence[str]) -> Any:
    """Put back what MASK stands for in a value that was masked and then edited, by its place.

    A text with a MASK in it is put back whole, or not at all: else a password could be sent to another host. A MASK
    with nothing in its place in `original` stays as it is: somebody has typed it.
    """
    if edited == MASK:
        return MASK if original is None else original
    if isinstance(edited, str):
        is_as_shown = MASK in edited and isinstance(original, str) and edited == mask(original, fields)
        return original if is_as_shown else edited
    if isinstance(edited, dict):
        old = original if isinstance(original, dict) else {}
        return {name: unmask(inner, old.get(name), fields) for name, inner in edited.items()}
    if isinstance(edited, list):
        old_items = original if isinstance(original, list) else []
        return [
            unmask(item, old_items[index] if index < len(old_items) else None, fields)
            for index, item in enumerate(edited)
        ]
    return edited
