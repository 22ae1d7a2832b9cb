"""Takes base64 out of what is stored: a picture's bytes have no place in a record, its size and digest do. Pure."""

from __future__ import annotations

import binascii
import hashlib
import re
from typing import Any

from jobs.content_types import PREFIX_BYTES, SIGNATURES, UNKNOWN, sniff
from jobs.hygiene.base64_runs import MIN_CHARS, URI_MIN_CHARS, find_runs, joined
from jobs.hygiene.base64_text import is_text

SHORTEST = URI_MIN_CHARS  # no shorter string holds anything to be removed
PREFIX_CHARS = (PREFIX_BYTES + 2) // 3 * 4
STRONG_BYTES = 3  # what two bytes prove, one random text in 65,536 proves

_HEAD = re.compile(r"[A-Za-z0-9+/_-]{60}")
_SMALL = re.compile(r"[A-Za-z0-9+/_-]++(?:\r?\n[A-Za-z0-9+/_-]++)*+={0,2}\s*+")
_URI = re.compile(r"data:([\w.+-]*(?:/[\w.+-]*)?)(?:;[^;,\s\"'<>]{0,100}){0,4};base64,", re.IGNORECASE)
_PLAIN = {int, float, bool, type(None)}  # what holds no text, which most of a value is
_ARRAYS = (list, tuple)
_STRONG = re.compile(
    b"|".join(
        b".{%d}%b" % (offset, re.escape(magic))
        for offset, magic, _, _ in SIGNATURES
        if len(magic) >= STRONG_BYTES
    ),
    re.DOTALL,
)


def sanitize_base64(value: Any, *, in_words: bool = False) -> Any:
    """Replace base64, anywhere in a JSON value, by what it was.

    A string that is nothing else becomes `{"$removed": "base64", "bytes", "sha256", "content_type"}` of the decoded
    bytes; inside a longer text, and in the keys of objects, a text says the same. Which base64: data URIs of 64
    characters and more, files that are known by their signature likewise, everything else from MIN_CHARS on.
    The value itself is left alone, and is the answer where there is nothing to remove. With `in_words` every string
    stays a string, for values in which others look for text.
    """
    removed = {}
    for text in _long_texts(value):
        clean = _cleaned(text)
        if clean is not text:
            removed[id(text)] = _in_words(clean) if in_words and isinstance(clean, dict) else clean
    return _rebuilt(value, removed) if removed else value


def sanitize_text(text: str) -> str:
    """Replace base64 in what has to stay a text."""
    if len(text) < SHORTEST:
        return text
    clean = _cleaned(text)
    return clean if isinstance(clean, str) else _in_words(clean)


def _long_texts(value: Any) -> list[str]:
    """The strings of a value, keys included, that are long enough. Without recursion: however deep it nests."""
    texts = []
    todo = [value]
    for item in todo:  # which grows meanwhile
        if type(item) in _PLAIN:
            continue
        if isinstance(item, str):
            if len(item) >= SHORTEST:
                texts.append(item)
        elif isinstance(item, dict):
            todo += item
            todo += item.values()
        elif isinstance(item, _ARRAYS):
            todo += item
    return texts


def _rebuilt(value: Any, removed: dict[int, Any]) -> Any:
    """A copy of the containers of a value with some of its strings, known by their id, replaced."""
    root = [value]
    todo: list[Any] = [root]  # containers that are ours, and whose items are still the caller's
    while todo:
        ours = todo.pop()
        for place, item in list(ours.items() if isinstance(ours, dict) else enumerate(ours)):
            if isinstance(item, dict):
                ours[place] = {_key(key, removed): inner for key, inner in item.items()}
                todo.append(ours[place])
            elif isinstance(item, _ARRAYS):
                ours[place] = list(item)
                todo.append(ours[place])
            elif id(item) in removed:
                ours[place] = removed[id(item)]
    return root[0]


def _key(key: Any, removed: dict[int, Any]) -> Any:
    clean = removed.get(id(key), key)
    return _in_words(clean) if isinstance(clean, dict) else clean


def _cleaned(text: str) -> Any:
    """A text without its base64; itself where there is none."""
    is_short = len(text) < MIN_CHARS
    marker = _whole(text) if not is_short else _small_file(text) if _HEAD.match(text) else None
    if marker is not None:
        return marker
    if is_short and ";base64," not in text and ";BASE64," not in text:
        return text
    parts: list[str] = []
    settled = 0
    for run in find_runs(text):
        marker = _marker(_decoded(run.payload), run.declared)
        if not parts and not text[: run.start].strip() and not text[run.end :].strip():
            return marker
        parts += (text[settled : run.start], _in_words(marker))
        settled = run.end
    return "".join([*parts, text[settled:]]) if parts else text


def _whole(text: str) -> dict[str, Any] | None:
    """The marker of a long text that is base64, or a data URI of it, from its first character to its last.

    Decoding checks it on the way, which saves the search that the general case needs.
    """
    uri = _URI.match(text)
    payload = text[uri.end() :] if uri else text
    if len(payload) < URI_MIN_CHARS or not _HEAD.match(payload):
        return None
    if not uri and not text.endswith("=") and is_text(text):
        return None
    content = _strictly_decoded(payload)
    return None if content is None else _marker(content, uri[1].lower() if uri else "")


def _small_file(text: str) -> dict[str, Any] | None:
    """The marker of a text that is a small file in base64 and nothing else; its signature has to say so."""
    if not _STRONG.match(_decoded(text[:PREFIX_CHARS])) or not _SMALL.fullmatch(text):
        return None
    return _marker(_decoded(joined(text.rstrip()).rstrip("=")))


def _strictly_decoded(payload: str) -> bytes | None:
    """Decode what has to be base64 of one alphabet throughout; None where it is not."""
    if "-" in payload or "_" in payload:
        if "+" in payload or "/" in payload:
            return None
        payload = _standard(payload)
    try:
        return binascii.a2b_base64(payload if payload.endswith("=") else _padded(payload), strict_mode=True)
    except ValueError:
        return None


def _decoded(payload: str) -> bytes:
    """Decode base64 without its padding; of what was cut off, all that is whole."""
    return binascii.a2b_base64(_padded(_standard(payload)))


def _standard(payload: str) -> str:
    return payload.replace("-", "+").replace("_", "/")


def _padded(payload: str) -> str:
    rest = len(payload) % 4
    if rest == 0:
        return payload
    return payload[:-1] if rest == 1 else payload + "=" * (4 - rest)


def _marker(content: bytes, declared: str = "") -> dict[str, Any]:
    known = sniff(content[:PREFIX_BYTES])
    return {
        "$removed": "base64",
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "content_type": known[0] if known else declared or UNKNOWN,
    }


def _in_words(marker: dict[str, Any]) -> str:
    """A marker for places where only text can stand."""
    return f"[removed base64: {marker['bytes']} bytes, {marker['content_type']}, sha256 {marker['sha256']}]"
