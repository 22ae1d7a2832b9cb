"""Shortens a JSON value that is too long to be kept, so that it still tells what happened. Pure.

Long strings lose their middle, and where that is not enough, arrays their tail. Keys, short values, ids and the
texts of errors stay, and what was cut is said in its place.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

# What an array is cut to, one after the other, until the strings that are left can be cut to fit.
ITEM_LEVELS = (None, 1_000, 100, 10, 1)
STRING_MIN_BYTES = 256  # no string is cut below this
KEPT_MAX_BYTES = 20_000  # up to this a text that is kept by its name is never cut
NOTE_BYTES = 64  # at least as long as what says that a string was cut

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def smart_truncate(value: Any, max_bytes: int) -> Any:
    """Shorten a value until its JSON in UTF-8 has `max_bytes` at most; itself where it has.

    A string becomes its head, ` … [truncated: n characters] … ` and its tail; an array ends with
    `{"$truncated": {"items": n}}`. What consists of nothing but keys, numbers and short strings can't be cut but
    in its arrays: one that is too long still is answered with one item in each and its strings at STRING_MIN_BYTES.
    """
    if _size(value) <= max_bytes:
        return value
    for items in ITEM_LEVELS:
        fewer = value if items is None else _with_fewer_items(value, items)
        fitted = _with_shorter_strings(fewer, max_bytes)
        if _size(fitted) <= max_bytes:
            return fitted
    return fitted


def _size(value: Any) -> int:
    return len(_encode(value).encode())


def _with_fewer_items(value: Any, items: int) -> Any:
    # Written out, here and below: a comprehension would take a second frame for each level.
    if isinstance(value, dict):
        named = {}
        for key, item in value.items():
            named[key] = _with_fewer_items(item, items)
        return named
    if isinstance(value, list):
        first = []
        for item in value[:items]:
            first.append(_with_fewer_items(item, items))
        rest = value[items:]
        # A few numbers are no longer than the word of them.
        return first + (rest if _size(rest) <= NOTE_BYTES else [{"$truncated": {"items": len(rest)}}])
    return value


def _with_shorter_strings(value: Any, max_bytes: int) -> Any:
    """Cut the longest strings to one length, as far as it takes and STRING_MIN_BYTES allow."""
    too_many = _size(value) - max_bytes
    if too_many <= 0:
        return value
    length = max(_common_length(sorted(_sizes(value), reverse=True), too_many) - NOTE_BYTES, STRING_MIN_BYTES)
    while True:
        shorter = _cut(value, length)
        if length == STRING_MIN_BYTES or _size(shorter) <= max_bytes:
            return shorter
        # Characters of several bytes, or escaped ones, stood where the string was kept.
        length = max(length * 3 // 4, STRING_MIN_BYTES)


def _sizes(value: Any, name: str = "") -> Iterator[int]:
    """The bytes of the strings that may be cut."""
    todo = [(name, value)]
    while todo:
        name, item = todo.pop()
        if isinstance(item, dict):
            todo += item.items()
        elif isinstance(item, list):
            todo += [(name, inner) for inner in item]
        elif isinstance(item, str) and len(item) * 6 > STRING_MIN_BYTES:
            size = _size(item)
            if size > _kept_bytes(name):
                yield size


def _kept_bytes(name: str) -> int:
    """What a string of this name keeps at least: ids and the texts of errors are what the rest is looked up by."""
    is_kept = name in ("code", "message") or name == "id" or name.endswith(("_id", "Id"))
    return KEPT_MAX_BYTES if is_kept else STRING_MIN_BYTES


def _common_length(sizes: list[int], too_many: int) -> int:
    """The length that the longest of these (longest first) are cut to, for so many bytes to go."""
    saved = 0
    for count, (size, following) in enumerate(zip(sizes, [*sizes[1:], 0], strict=False), start=1):
        gain = (size - following) * count
        if saved + gain >= too_many:
            return size - -(-(too_many - saved) // count)
        saved += gain
    return 0


def _cut(value: Any, length: int, name: str = "") -> Any:
    if isinstance(value, dict):
        named = {}
        for key, item in value.items():
            named[key] = _cut(item, length, key)
        return named
    if isinstance(value, list):
        items = []
        for item in value:
            items.append(_cut(item, length, name))
        return items
    if isinstance(value, str) and len(value) * 6 > STRING_MIN_BYTES:
        return _without_middle(value, max(length, _kept_bytes(name)))
    return value


def _without_middle(text: str, length: int) -> str:
    size = _size(text)
    if size <= length + NOTE_BYTES:
        return text
    kept = length * len(text) // size
    head = (kept + 1) // 2
    return f"{text[:head]} … [truncated: {len(text) - kept} characters] … {text[len(text) - kept + head :]}"
