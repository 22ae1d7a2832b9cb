"""The text of an API key: `afd_<8 id>_<43 random>_<6 checksum>`. Pure."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
import zlib
from dataclasses import dataclass, field

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_CHARS, SECRET_CHARS, CHECK_CHARS = 8, 43, 6
LENGTH = len("afd_") + ID_CHARS + 1 + SECRET_CHARS + 1 + CHECK_CHARS


@dataclass(frozen=True, slots=True)
class KeyText:
    """A key in clear: what the caller holds, and the id it is looked up by."""

    id: str
    text: str = field(repr=False)  # a repr ends in logs and tracebacks

    @property
    def digest(self) -> str:
        """SHA-256 of the whole text, 64 hex digits: all that is stored of it."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def matches(self, digest: str) -> bool:
        """Compare in constant time with a stored digest."""
        return hmac.compare_digest(self.digest, digest)


def make_key() -> KeyText:
    """Make a key with 256 random bits."""
    key_id = "".join(secrets.choice(ALPHABET) for _ in range(ID_CHARS))
    body = f"afd_{key_id}_{secrets.token_urlsafe(32)}"
    return KeyText(key_id, f"{body}_{_checksum(body)}")


def read_key(text: str) -> KeyText | None:
    """Take a key's text apart; None where it can't be one (a typo shows without asking the database)."""
    if len(text) != LENGTH or not text.isascii() or not text.startswith("afd_"):
        return None
    body, check = text[: -CHECK_CHARS - 1], text[-CHECK_CHARS:]
    key_id = text[4 : 4 + ID_CHARS]
    if not key_id.isalnum() or not hmac.compare_digest(_checksum(body), check):
        return None
    return KeyText(key_id, text)


def _checksum(body: str) -> str:
    """CRC-32 in base 62: scanners for leaked secrets can tell a real key from a look-alike."""
    number = zlib.crc32(body.encode())
    digits = []
    for _ in range(CHECK_CHARS):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
