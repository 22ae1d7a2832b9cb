"""Takes base64 out of what is stored: a picture's bytes have no place in a record, its size and digest do. Pure."""

from __future__ import annotations

import binascii
import hashlib
import re
from typing import Any

from jobs.base64_runs import MIN_CHARS, URI_MIN_CHARS, Run, find_runs, joined
from jobs.base64_text import is_text
from jobs.content_types import PREFIX_BYTES, SIGNATURES, UNKNOWN, sniff

SHORTEST = URI_MIN_CHARS  # no shorter string holds anything to be removed
PREFIX_CHARS = (PREFIX_BYTES + 2) // 3 * 4
STRONG_BYTES = 3  # what two bytes prove, one random text in 65,536 proves

_HEAD = re.compile(r"[A-Za-z0-9+/_-]{60}")
_SMALL = re.compile(r"[A-Za-z0-9+/_-]++(?:\r?\n[A-Za-z0-9+/_-]++)*+={0,2}\s*+")
_OTHER_ALPHABET = str.maketrans("-_", "+/")


def sanitize_base64(value: Any) -> Any:
    """Replace base64, anywhere in a JSON value, by what it was.

    A string that is nothing else becomes `{"$removed": "base64", "bytes", "sha256", "content_type"}` of the decoded
    bytes; inside a longer text, and in the keys of objects, a text says the same. Which base64: data URIs of 64
    characters and more, files that are known by their signature likewise, everything else from MIN_CHARS on.
    The value itself is left alone, and is the answer where there is nothing to remove.
    """
    if type(value) is str:
        return value if len(value) < SHORTEST else _cleaned(value)
    removed = {}
    for text in _long_texts(value):
        clean = _cleaned(text)
        if clean is not text:
            removed[id(text)] = clean
    return _rebuilt(value, removed) if removed else value


def _long_texts(value: Any) -> list[str]:
    """The strings of a value, keys included, that are long enough. Without recursion: however deep it nests."""
    texts = []
    todo = [value]
    for item in todo:  # which grows meanwhile
        kind = type(item)
        if kind is str:
            if len(item) >= SHORTEST:
                texts.append(item)
        elif kind is dict:
            todo += item
            todo += item.values()
        elif kind is list or kind is tuple:
            todo += item
    return texts


def _rebuilt(value: Any, removed: dict[int, Any]) -> Any:
    """A copy of the containers of a value with some of its strings, known by their id, replaced."""
    root = [value]
    todo: list[Any] = [root]  # containers that are ours, and whose items are still the caller's
    while todo:
        ours = todo.pop()
        for place, item in list(ours.items() if type(ours) is dict else enumerate(ours)):
            kind = type(item)
            if kind is dict:
                ours[place] = {_key(key, removed): inner for key, inner in item.items()}
                todo.append(ours[place])
            elif kind is list or kind is tuple:
                ours[place] = list(item)
                todo.append(ours[place])
            elif id(item) in removed:
                ours[place] = removed[id(item)]
    return root[0]


def _key(key: Any, removed: dict[int, Any]) -> Any:
    clean = removed.get(id(key), key)
    return _in_words(clean) if type(clean) is dict else clean


def _cleaned(text: str) -> Any:
    """A text without its base64; itself where there is none."""
    if len(text) < MIN_CHARS:
        if _HEAD.match(text):
            return _cleaned_small(text)
        if ";base64," not in text and ";BASE64," not in text:
            return text
    elif (whole := _decoded_whole(text)) is not None:
        return _marker(whole)
    parts: list[str] = []
    settled = 0
    for run in find_runs(text):
        marker = _marker(_decoded(run.payload), run.declared)
        if _is_all(run, text):
            return marker
        parts += (text[settled : run.start], _in_words(marker))
        settled = run.end
    return "".join([*parts, text[settled:]]) if parts else text


def _is_all(run: Run, text: str) -> bool:
    """Whether there is nothing around a run but white space."""
    return not text[: run.start].strip() and not text[run.end :].strip()


def _decoded_whole(text: str) -> bytes | None:
    """The bytes of a long text that is standard base64, or a data URI of it, and nothing else.

    Decoding checks it on the way, so this saves the search that the general case needs.
    """
    if len(text) % 4 or not _HEAD.match(text) or (text[-1] != "=" and is_text(text)):
        return None
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None


def _cleaned_small(text: str) -> Any:
    """A text of SHORTEST characters and more that may be a small file; only its signature says so."""
    prefix = _decoded(joined(text[: PREFIX_CHARS]))
    is_file = any(
        len(magic) >= STRONG_BYTES and prefix[offset : offset + len(magic)] == magic
        for offset, magic, _, _ in SIGNATURES
    )
    if not is_file or not _SMALL.fullmatch(text):
        return text
    return _marker(_decoded(joined(text.rstrip()).rstrip("=")))


def _decoded(payload: str) -> bytes:
    """Decode base64 of either alphabet without its padding; of what was cut off, all that is whole."""
    if "-" in payload or "_" in payload:
        payload = payload.translate(_OTHER_ALPHABET)
    rest = len(payload) % 4
    if rest == 1:
        payload = payload[:-1]
    return binascii.a2b_base64(payload + "=" * (4 - rest) if rest > 1 else payload)


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
