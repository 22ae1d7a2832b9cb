"""Reads what is typed into a list's search box: `status:failed -kind:x payload.prompt:"a castle" and words`. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

TOKEN = re.compile(r'(?:[^\s"]|"(?:[^"\\]|\\.)*"|")+')
QUALIFIER = re.compile(r"(?P<minus>-?)(?P<word>[a-z_]+)(?P<path>(?:\.[^\s:\"]+)?):(?P<value>.+)", re.DOTALL)
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
NOT = "__not"


@dataclass(frozen=True, slots=True)
class Qualifier:
    """One filter as it was typed: the parameter of the address and its value."""

    name: str
    value: str


def read_search(
    text: str, words: Mapping[str, str], *, with_path: frozenset[str]
) -> tuple[list[Qualifier], str]:
    """Take the qualifiers out of a search text; what is left is the search.

    `words` are the parameters by the words that may be typed for them; those of `with_path` take `word.a.b:value`.
    What looks like a qualifier and is none of them stays in the search: keys of attestations have colons too.
    """
    found, rest = [], []
    for token in TOKEN.findall(text):
        qualifier = _read(token, words, with_path)
        found += [qualifier] if qualifier else []
        rest += [] if qualifier else [token]
    return found, (" ".join(rest) if found else text)


def _read(token: str, words: Mapping[str, str], with_path: frozenset[str]) -> Qualifier | None:
    match = QUALIFIER.fullmatch(token)
    if not match or not (name := words.get(match["word"])):
        return None
    path = match["path"].removeprefix(".")
    if path and name not in with_path:
        return None
    value = _plain(match["value"], keeps_commas=name in with_path)
    return Qualifier(f"{name}{NOT}" if match["minus"] else name, f"{path}={value}" if path else value)


def _plain(value: str, *, keeps_commas: bool) -> str:
    """A value without its quotes; a comma inside quotes is no separator."""

    def unquote(match: re.Match[str]) -> str:
        inner = re.sub(r"\\(.)", r"\1", match[1], flags=re.DOTALL)
        return inner if keeps_commas else escape(inner)

    return QUOTED.sub(unquote, value)


def escape(value: str) -> str:
    """A value as it stands among others of a parameter."""
    return value.replace("\\", "\\\\").replace(",", "\\,")


def split(text: str) -> list[str]:
    r"""The values of a parameter: `a,b` are two, `a\,b` is one."""
    parts = re.findall(r"(?:[^,\\]|\\.|\\$)+", text, re.DOTALL)
    return [plain for part in parts if (plain := re.sub(r"\\(.)", r"\1", part, flags=re.DOTALL).strip())]
