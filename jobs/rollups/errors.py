"""Tells which errors are the same, but for numbers, ids and the like. Pure."""

from __future__ import annotations

import hashlib
import re
from uuid import UUID

MESSAGE_MAX_CHARS = 500
CODE_MAX_CHARS = 100
READ_MAX_CHARS = 4_000  # what stands behind tells no two errors apart, and would cost time
CUT = "…"
TOKEN_DIGITS = 3  # a long word with as many is a token or a digest; with fewer it is a name

# What varies between two errors of one cause; where several fit at one place, the first wins.
_VARYING = re.compile(
    r"""
      \b[a-z][a-z0-9+.\-]{1,20}://(?:[^\s/@<>"']{1,200}@)?(?P<host>[^\s/?\#<>"']{0,200})[^\s<>"']*
    | (?P<email> \b[\w.+\-]{1,64}@[\w\-]{1,63}(?:\.[\w\-]{1,63})+ )
    | (?P<uuid> \b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b )
    | (?P<time> \b\d{4}-\d\d-\d\d(?:[t\ ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:z|[+\-]\d\d:?\d\d)?)?
              | \b\d\d:\d\d:\d\d(?:[.,]\d+)?\b )
    | (?P<ip> \b\d{1,3}(?:\.\d{1,3}){3}\b(?::\d{1,5}\b)?
            | (?<![\w:])(?:[0-9a-f]{0,4}:){3,7}[0-9a-f]{0,4}(?![\w:]) )
    | (?P<text> "[^"]{1,1000}" | (?<!\w)'[^']{1,1000}'(?!\w) | `[^`]{1,1000}` | “[^”]{1,1000}” )
    | (?P<path> (?<![\w<>/\\.])(?:[a-z]:)?(?:[/\\][\w.+\-@~]+){2,}[/\\]? )
    | (?P<hex> \b0x[0-9a-f]+\b | \b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{6,}\b )
    | (?P<token> (?<![\w\-])[\w\-]{16,} )
    | (?P<n> (?:(?<!\w)[+\-])?\d+(?:[.,]\d+)* )
    """,
    re.IGNORECASE | re.VERBOSE,
)
_DIGITS = re.compile(r"\d+")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def normalise(message: str) -> str:
    """The message with placeholders for what varies, on one line and not longer than MESSAGE_MAX_CHARS.

    What is normal already stays as it is. The loop ends: a placeholder has no digit, quote, slash, colon or @, and of
    these each change takes at least one.
    """
    text = _UNSTORABLE.sub("\ufffd", message[:READ_MAX_CHARS])
    while (changed := _shorten(_VARYING.sub(_placeholder, " ".join(text.split())))) != text:
        text = changed
    return text


def digest_of(code: str, message: str) -> str:
    """What two errors of one cause have in common."""
    return hashlib.sha256(
        f"{code[:CODE_MAX_CHARS]}\n{normalise(message)}".encode(errors="replace")
    ).hexdigest()


def fingerprint_of(tenant_id: UUID | None, name: str, code: str, message: str) -> UUID:
    """The key of the ErrorGroup of such an error of this kind or service; finish.sql and end_jobs.sql say the same."""
    whose = f"{tenant_id or ''}\n{name}\n{digest_of(code, message)}"
    return UUID(bytes=hashlib.sha256(whose.encode()).digest()[:16])


def _placeholder(found: re.Match[str]) -> str:
    if (host := found["host"]) is not None:
        return f"<url {host}>" if host else "<url>"
    if token := found["token"]:
        digits = sum(character.isdigit() for character in token)
        return "<id>" if digits >= TOKEN_DIGITS else _DIGITS.sub("<n>", token)
    return f"<{found.lastgroup}>"


def _shorten(text: str) -> str:
    return text if len(text) <= MESSAGE_MAX_CHARS else text[: MESSAGE_MAX_CHARS - len(CUT)].rstrip() + CUT
