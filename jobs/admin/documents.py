"""JSON as a page shows it: indented, coloured, and harmless whatever it holds. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

COLOURED_CHARS = 50_000
SHOWN_CHARS = 200_000
FOLDED_CHARS = 20_000

TOKEN = re.compile(
    r"""(?P<key>"(?:[^"\\]|\\.)*")(?=:)
      | (?P<text>"(?:[^"\\]|\\.)*")
      | (?P<number>-?\d[\d.eE+-]*)
      | (?P<word>true|false|null)
      | (?P<plain>[^"\-\dtfn]+|.)""",
    re.VERBOSE | re.DOTALL,
)
# Marks that turn the direction of text could make a document read other than it is.
DIRECTION_MARKS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, kw_only=True)
class Document:
    """A JSON value under a title, as (kind, text) tokens that a template escapes one by one.

    Beyond COLOURED_CHARS the text is one plain token; beyond SHOWN_CHARS it is cut, and `chars` says of what.
    """

    title: str
    tokens: list[tuple[str, str]]
    chars: int
    is_cut: bool
    is_empty: bool

    @property
    def is_long(self) -> bool:
        """Whether a page shows it folded."""
        return self.chars > FOLDED_CHARS


def document(title: str, value: Any) -> Document:
    """Lay out a JSON value for a page."""
    text = laid_out(value, SHOWN_CHARS + 1)
    is_cut = len(text) > SHOWN_CHARS
    shown = text[:SHOWN_CHARS]
    return Document(
        title=title,
        tokens=tokens_of(shown) if len(shown) <= COLOURED_CHARS else [("plain", shown)],
        chars=_chars_of(value) if is_cut else len(text),
        is_cut=is_cut,
        is_empty=value is None or value == {} or value == [],
    )


def laid_out(value: Any, most: int | None = None) -> str:
    """A JSON value as indented text, in which nothing turns the direction of what follows; no more of it than asked.

    Laying out a megabyte takes longer than all else on a page.
    """
    if isinstance(value, str):
        parts = [json.dumps(value, ensure_ascii=False)]
    else:
        parts, length = [], 0
        for part in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(value):
            parts.append(part)
            length += len(part)
            if most is not None and length >= most:
                break
    text = "".join(parts)[:most]
    return DIRECTION_MARKS.sub(lambda mark: f"\\u{ord(mark[0]):04x}", text)


def _chars_of(value: Any) -> int:
    """How long a value is, without its indentation."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def tokens_of(text: str) -> list[tuple[str, str]]:
    """Take JSON text apart; the texts of the tokens, joined, are `text` again."""
    return [(match.lastgroup or "plain", match[0]) for match in TOKEN.finditer(text)]
