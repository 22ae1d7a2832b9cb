"""Finds base64 in text: data URIs, bare runs, runs wrapped in lines. Pure, and linear in the text.

A run of N characters covers every Nth place of the text, so only those places are looked at; what is found there is
followed to both of its ends. No pattern is tried again at each character of a run that is too short in the end.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import NamedTuple

from jobs.hygiene.base64_text import is_text

MIN_CHARS = 1_024  # of a bare run
URI_MIN_CHARS = 64  # of the payload of a data URI
LINE_MIN_CHARS = 60  # of wrapped base64: MIME has 76, PEM 64
JWT_HEADER_MAX_CHARS = 16_384
URI_HEADER_MAX_CHARS = 200
NEAR = 32

_ALPHABETS = {letters: re.compile(f"{letters}*+") for letters in ("[A-Za-z0-9+/]", "[A-Za-z0-9_-]")}
# `\/` and `\u002b` are how some encoders of JSON write `/` and `+`.
_ESCAPED = re.compile(r"(?:[A-Za-z0-9+/]++|\\/|\\u002[Bb])++")
_ANY = re.compile(r"[A-Za-z0-9+/_\-\\\r\n]*+")
# Line breaks, also those of JSON in a string.
_BREAK = re.compile(r"\r\n|\r|\n|\\r\\n|\\n")
_PADDING = re.compile(r"=(?:\r?\n)?=?(?![A-Za-z0-9=])|(?:\\u003[dD]){1,2}")
_WORD = re.compile(r"[A-Za-z]?[a-z]+")

_URI_HEADER = re.compile(r"data:([\w.+-]*(?:\\?/[\w.+-]*)?)(?:;[^;,\s\"'<>]*)*", re.IGNORECASE)
_URI_HEAD = re.compile(r"(?:[A-Za-z0-9+/_-]|%2[BbFf]|\\/|\\u002[Bb]|\r?\n|\\r\\n|\\n){32}")
_URI_PAYLOAD = re.compile(r"(?:[A-Za-z0-9+/_-]++|%2[BbFf]|\\/|\\u002[Bb])++")
_URI_PADDING = re.compile(r"(?:=|%3[Dd]|\\u003[dD]){1,2}")

_TOKEN_END = re.compile(r"""[\s"'`<>(){}\[\]\\|^]""")
_JWT = re.compile(r"eyJ[\w-]*+(?:\.[\w-]*+){2,4}", re.ASCII)


class Run(NamedTuple):
    """Base64 that stands at `text[start:end]`, padding and the head of a data URI included.

    `payload` is its own characters alone, `declared` the content type a data URI gives it.
    """

    start: int
    end: int
    payload: str
    declared: str = ""


def find_runs(text: str) -> Iterator[Run]:
    """The base64 in a text, from left to right."""
    settled = 0
    for uri in _data_uris(text):
        yield from _bare_runs(text, settled, uri.start)
        yield uri
        settled = uri.end
    yield from _bare_runs(text, settled, len(text))


def _data_uris(text: str) -> Iterator[Run]:
    settled = 0
    for mark in (";base64,", ";BASE64,"):
        if mark in text:
            break
    else:
        return
    at = text.find(mark)
    while at >= 0:
        uri = _data_uri(text, settled, at, at + len(mark))
        if uri:
            yield uri
            settled = uri.end
        at = text.find(mark, max(settled, at + len(mark)))


def _data_uri(text: str, settled: int, at: int, begin: int) -> Run | None:
    """The data URI whose header ends at `at` and whose payload begins at `begin`."""
    if not _URI_HEAD.match(text, begin):
        return None
    near = max(settled, at - URI_HEADER_MAX_CHARS)
    head = text[near:at]
    header = _URI_HEADER.fullmatch(head, max(head.lower().rfind("data:"), 0))
    if header is None:
        return None
    end = _end_of_payload(text, begin)
    padding = _URI_PADDING.match(text, end)
    stop = padding.end() if padding else end
    if stop - begin < URI_MIN_CHARS:
        return None
    declared = header[1].replace("\\", "").lower()
    return Run(near + header.start(), stop, joined(text[begin:end]), declared)


def _end_of_payload(text: str, begin: int) -> int:
    """Where the payload of a data URI ends: with its line, unless it is wrapped."""
    first = _URI_PAYLOAD.match(text, begin)
    if first is None:
        return begin
    line, end, width = first, first.end(), first.end() - begin
    while line.end() - line.start() == width >= LINE_MIN_CHARS:
        stop = _BREAK.match(text, end)
        following = _URI_PAYLOAD.match(text, stop.end()) if stop else None
        if following is None or following.end() - following.start() > width:
            break
        if following.end() - following.start() < width and not _is_last_line(text, *following.span()):
            break
        line, end = following, following.end()
    return end


def _is_last_line(text: str, start: int, end: int) -> bool:
    """Whether the line at hand is the end of the base64 above it, and not text that goes on below."""
    if end == len(text) or text[end] in "=%\"'":
        return True
    return bool(_BREAK.match(text, end)) and not _WORD.fullmatch(text, start, end)


def _bare_runs(text: str, start: int, stop: int) -> Iterator[Run]:
    """Base64 that nothing announces, unless it is something else or part of a URL or of a signed token."""
    settled = token_end = start
    for begin, end in _pieces(text, start, stop):
        if begin < token_end:
            continue
        token_end = _end_of_token(text, settled, begin, end)
        settled = end
        if token_end > begin:
            continue
        payload = joined(text[begin:end])
        padding = _PADDING.match(text, end, stop)
        if (padding and _fits(padding[0], payload)) or not is_text(payload):
            yield Run(begin, padding.end() if padding else end, payload)


def _fits(padding: str, payload: str) -> bool:
    """Whether it is the padding of this payload, and no equals sign that happens to follow."""
    return (len(payload) + (padding.count("=") or padding.count("003"))) % 4 == 0


def _end_of_token(text: str, settled: int, begin: int, end: int) -> int:
    """Where the URL or the token ends that the run at hand is part of; 0 where it is part of none."""
    scheme = text.rfind("://", settled, begin)
    if scheme >= 0 and not _TOKEN_END.search(text, scheme, begin):
        token_end = _TOKEN_END.search(text, begin)
        return token_end.start() if token_end else len(text)
    header = begin
    if text[begin - 1 : begin] == ".":
        header = text.rfind("eyJ", max(settled, begin - JWT_HEADER_MAX_CHARS), begin)
    token = _JWT.match(text, header) if header >= 0 else None
    return token.end() if token and token.end() >= end else 0


def _pieces(text: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Where MIN_CHARS and more of one alphabet stand, from left to right, in one line or in lines of one width."""
    for begin, end in _stretches(_ANY, text, start, stop):
        if any(text.find(sign, begin, end) >= 0 for sign in "\n\r\\"):
            yield from _of_lines(text, begin, end)
        else:
            yield from _of_one_line(text, begin, end)


def _stretches(kind: re.Pattern[str], text: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Where MIN_CHARS and more characters of a kind stand together."""
    settled, place = start, start + MIN_CHARS - 1
    while place < stop:
        end = _end(kind, text, place, stop)
        if end > place:
            begin = _beginning(kind, text, max(settled, place - MIN_CHARS + 1), place, end)
            if end - begin >= MIN_CHARS:
                yield begin, end
            settled = place = end
        place += MIN_CHARS


def _end(kind: re.Pattern[str], text: str, place: int, stop: int) -> int:
    found = kind.match(text, place, stop)
    return found.end() if found else place


def _beginning(kind: re.Pattern[str], text: str, earliest: int, place: int, end: int) -> int:
    """Where the characters of a kind begin that go on at `place`; any later place where they are too few anyway."""
    near = max(earliest, place - NEAR)
    if end - near < MIN_CHARS and _end(kind, text, near, place) < place:
        return place
    backwards = text[earliest:place][::-1]
    return place - _end(kind, backwards, 0, len(backwards))


def _of_one_line(text: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Split what stands together by alphabet; what comes first takes what two of them share."""
    found = [at for kind in _ALPHABETS.values() for at in _stretches(kind, text, begin, end)]
    if text.find("\\/", begin, end) >= 0 or text.find("\\u002", begin, end) >= 0:
        found += [run.span() for run in _ESCAPED.finditer(text, begin, end)]
    settled = begin
    for first, last in sorted(found, key=lambda at: (at[0], -at[1])):
        if last - max(first, settled) >= MIN_CHARS:
            yield max(first, settled), last
            settled = last


def _of_lines(text: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    if _longest_line(text[begin:end]) < LINE_MIN_CHARS:
        return
    while begin < end:
        stop = _BREAK.search(text, begin, end)
        line_end = stop.start() if stop else end
        last = max(_end_of_wrapped(name, text, begin, end) for name in _ALPHABETS)
        if last > line_end and last - begin >= MIN_CHARS:
            yield begin, last
        elif line_end - begin >= MIN_CHARS:
            yield from _of_one_line(text, begin, line_end)
        stop = _BREAK.match(text, max(last, line_end), end)
        begin = stop.end() if stop else end


def _longest_line(text: str) -> int:
    return max(map(len, text.replace("\\n", "\n").replace("\r", "\n").split("\n")))


def _end_of_wrapped(alphabet: str, text: str, begin: int, end: int) -> int:
    """Where the lines end that are as wide as the first, with a last one that is shorter; 0 where it stands alone."""
    kind = _ALPHABETS[alphabet]
    width = _end(kind, text, begin, end) - begin
    if not LINE_MIN_CHARS <= width < MIN_CHARS:
        return 0
    lines = _lines_of(alphabet, width).match(text, begin, end)
    if lines is None:
        return 0
    stop = _BREAK.match(text, lines.end(), end)
    last = _end(kind, text, stop.end(), end) if stop else 0
    return (
        last
        if stop and 0 < last - stop.end() < width and _is_last_line(text, stop.end(), last)
        else lines.end()
    )


@functools.lru_cache(maxsize=64)
def _lines_of(alphabet: str, width: int) -> re.Pattern[str]:
    line = f"{alphabet}{{{width}}}(?!{alphabet})"
    return re.compile(f"{line}(?:(?:{_BREAK.pattern}){line})*+")


def joined(text: str) -> str:
    """Base64 without its line breaks and escapes."""
    if "\n" in text or "\r" in text:
        text = text.replace("\n", "").replace("\r", "")
    if "\\" in text:
        text = text.replace("\\r", "").replace("\\n", "").replace("\\/", "/")
        text = text.replace("\\u002b", "+").replace("\\u002B", "+")
    if "%" in text:
        text = text.replace("%2B", "+").replace("%2b", "+").replace("%2F", "/").replace("%2f", "/")
    return text
