"""JSON as a page shows it: indented, coloured, and harmless whatever it holds. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

COLOURED_CHARS = 50_000
SHOWN_CHARS = 200_000

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


def document(title: str, value: Any) -> Document:
    """Lay out a JSON value for a page."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    text = DIRECTION_MARKS.sub(lambda mark: f"\\u{ord(mark[0]):04x}", text)
    shown = text[:SHOWN_CHARS]
    return Document(
        title=title,
        tokens=tokens_of(shown) if len(shown) <= COLOURED_CHARS else [("plain", shown)],
        chars=len(text),
        is_cut=len(text) > SHOWN_CHARS,
        is_empty=value is None or value == {} or value == [],
    )


def tokens_of(text: str) -> list[tuple[str, str]]:
    """Take JSON text apart; the texts of the tokens, joined, are `text` again."""
    return [(match.lastgroup or "plain", match[0]) for match in TOKEN.finditer(text)]
