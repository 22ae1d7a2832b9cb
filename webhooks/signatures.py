"""Webhook signatures in both forms that are spoken here. Pure.

Plain: `x-webhook-signature: sha256=<hex>`, HMAC-SHA256 of the raw body keyed with the whole secret string, as
GitHub does. Standard: `webhook-id`, `webhook-timestamp` and `webhook-signature` of Standard Webhooks 1.0
(https://github.com/standard-webhooks/standard-webhooks), keyed with the bytes that the secret encodes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable

PREFIX = "whsec_"
SECRET_BYTES = 32
TOLERANCE_SECONDS = 300

PLAIN = re.compile(rb"sha256=([0-9a-f]{64})")
TIMESTAMP = re.compile(r"[0-9]{1,12}")
WEBHOOK_ID = re.compile(r"[\x21-\x2d\x2f-\x7e]{1,200}")  # visible ASCII but for the dot, which separates
MOST_SIGNATURES = 16


def make_secret() -> str:
    """A new secret: `whsec_` and 32 random bytes in base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def sign_plain(secret: str, body: bytes) -> str:
    """The value of `x-webhook-signature`."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def sign_standard(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """One signature of the list in `webhook-signature`; `timestamp` is in seconds since 1970.

    Raises ValueError for a secret that encodes no bytes.
    """
    signed = hmac.new(_key_of(secret), f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(signed.digest()).decode()


def is_standard(secret: str) -> bool:
    """Whether a secret can sign in the standard form: it is base64, with or without `whsec_`."""
    try:
        return bool(_key_of(secret))
    except ValueError:
        return False


def _key_of(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("The secret is not base64.") from error


def matches_plain(header: str, secrets: Iterable[str], body: bytes) -> str | None:
    """The secret that `x-webhook-signature` was made with, or None. Every secret is tried, whichever matches."""
    given = PLAIN.fullmatch(header.encode("utf-8", "surrogateescape"))
    signature = given[1] if given else b""
    return _first(
        (
            secret,
            hmac.compare_digest(
                signature, hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode()
            ),
        )
        for secret in secrets
    )


def matches_standard(
    header: str, webhook_id: str, timestamp: str, secrets: Iterable[str], body: bytes, *, now: float
) -> str | None:
    """The secret that one of the signatures in `webhook-signature` was made with, or None.

    None too for an id that is none and for a timestamp more than TOLERANCE_SECONDS from `now` either way.
    """
    is_timely = bool(TIMESTAMP.fullmatch(timestamp)) and abs(int(timestamp) - now) <= TOLERANCE_SECONDS
    is_sound = is_timely and bool(WEBHOOK_ID.fullmatch(webhook_id))
    given = [text.encode("utf-8", "surrogateescape") for text in header.split(" ")[:MOST_SIGNATURES]]
    signed = f"{webhook_id}.{timestamp}.".encode("utf-8", "surrogateescape") + body
    found = _first((secret, _has_signed(secret, signed, given)) for secret in secrets)
    return found if is_sound else None


def _has_signed(secret: str, signed: bytes, given: list[bytes]) -> bool:
    """Whether one of those given is the secret's; never where it can't sign, for then anybody could make it."""
    try:
        key = _key_of(secret)
    except ValueError:
        key = b""
    signature = b"v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
    return _is_one_of(signature, given) and bool(key)


def _is_one_of(signature: bytes, given: list[bytes]) -> bool:
    # A list, so that every one is compared, whichever matches.
    return any([hmac.compare_digest(one, signature) for one in given])  # noqa: C419


def _first(tried: Iterable[tuple[str, bool]]) -> str | None:
    found = None
    for secret, does_match in tried:
        if does_match and found is None:
            found = secret
    return found
