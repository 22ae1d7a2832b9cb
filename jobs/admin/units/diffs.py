"""What has changed between two JSON values, line by line, for people to read. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from jobs.admin.documents import laid_out
from jobs.hygiene.masking import MASK, is_masked, is_pair, mask

CONTEXT_LINES = 3
COMPARED_LINES = 2_000  # of what differs; in more than that no lines are looked for that are the same
SHOWN_LINES = 600
LINE_CHARS = 4_000
CHANGED = f"{MASK} (changed)"


@dataclass(frozen=True, slots=True)
class DiffLine:
    """A line that is gone (`-`), new (`+`) or the same (` `), or how many of those are left out (`…`).

    Lines are counted from 1 in each text; 0 where the text does not have this one.
    """

    sign: str
    text: str
    old: int = 0
    new: int = 0


def diff_of(before: Any, after: Any) -> list[DiffLine]:
    """The difference between two JSON values as they are laid out; nothing where they are equal."""
    old, new = laid_out(before).split("\n"), laid_out(after).split("\n")
    if old == new:
        return []
    lines = list(_with_folds(list(_compared(old, new))))
    if len(lines) > SHOWN_LINES:
        lines = [*lines[:SHOWN_LINES], DiffLine("…", f"{len(lines) - SHOWN_LINES:,} more lines of it")]
    return lines


def mask_changes(before: Any, after: Any, fields: Sequence[str]) -> tuple[Any, Any]:
    """Both values with MASK for what is sensitive; what has changed below a mask is said to have in the second."""
    return _masked(before, before, fields), _masked(after, before, fields)


def _masked(value: Any, other: Any, fields: Sequence[str]) -> Any:
    if isinstance(value, dict):
        others = other if isinstance(other, dict) else {}
        return {
            name: _veiled(inner, others.get(name))
            if is_masked(name, fields) and inner not in (None, "")
            else _masked(inner, others.get(name), fields)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        items = other if isinstance(other, list) else []
        if is_pair(value, fields):
            return [value[0], _veiled(value[1], items[1] if len(items) == 2 else None)]
        return [
            _masked(item, items[index] if index < len(items) else None, fields)
            for index, item in enumerate(value)
        ]
    return _veiled_text(value, other, fields) if isinstance(value, str) else value


def _veiled_text(value: str, other: Any, fields: Sequence[str]) -> str:
    """A text with its masks; where they hide that it is another, it is said."""
    veiled: str = mask(value, fields)
    has_changed = isinstance(other, str) and value != other and veiled == mask(other, fields)
    return f"{veiled} (changed)" if has_changed else veiled


def _veiled(value: Any, other: Any) -> str:
    return MASK if value == other or other in (None, "") else CHANGED


def _compared(old: Sequence[str], new: Sequence[str]) -> Iterator[DiffLine]:
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])
    yield from _same(old, range(head), 0)
    yield from _middle(old, new, head, len(old) - tail, len(new) - tail)
    yield from _same(old, range(len(old) - tail, len(old)), len(new) - len(old))


def _common(old: Sequence[str], new: Sequence[str]) -> int:
    """How many lines are the same from the beginning."""
    count = 0
    for one, other in zip(old, new, strict=False):
        if one != other:
            break
        count += 1
    return count


def _same(old: Sequence[str], places: range, shift: int) -> Iterator[DiffLine]:
    return (DiffLine(" ", _cut(old[place]), place + 1, place + 1 + shift) for place in places)


def _middle(
    old: Sequence[str], new: Sequence[str], begin: int, old_end: int, new_end: int
) -> Iterator[DiffLine]:
    if old_end - begin + new_end - begin > COMPARED_LINES:  # it would take seconds to find what is common
        yield from _gone(old, begin, old_end)
        yield from _come(new, begin, new_end)
        return
    matcher = SequenceMatcher(None, old[begin:old_end], new[begin:new_end], autojunk=False)
    for word, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if word == "equal":
            yield from _same(old, range(begin + old_from, begin + old_to), new_from - old_from)
        else:
            yield from _gone(old, begin + old_from, begin + old_to)
            yield from _come(new, begin + new_from, begin + new_to)


def _gone(old: Sequence[str], begin: int, end: int) -> Iterator[DiffLine]:
    return (DiffLine("-", _cut(old[place]), old=place + 1) for place in range(begin, end))


def _come(new: Sequence[str], begin: int, end: int) -> Iterator[DiffLine]:
    return (DiffLine("+", _cut(new[place]), new=place + 1) for place in range(begin, end))


def _cut(line: str) -> str:
    rest = len(line) - LINE_CHARS
    return line if rest <= 0 else f"{line[:LINE_CHARS]}… ({rest:,} more characters)"


def _with_folds(lines: Sequence[DiffLine]) -> Iterator[DiffLine]:
    """Only the lines near a change, and how many there are between them."""
    changes = [place for place, line in enumerate(lines) if line.sign != " "]
    near = {place + step for place in changes for step in range(-CONTEXT_LINES, CONTEXT_LINES + 1)}
    skipped = 0
    for place, line in enumerate(lines):
        if place not in near:
            skipped += 1
            continue
        if skipped:
            yield _fold(skipped)
        skipped = 0
        yield line
    if skipped:
        yield _fold(skipped)


def _fold(count: int) -> DiffLine:
    return DiffLine("…", f"{count:,} {'line' if count == 1 else 'lines'} the same")
