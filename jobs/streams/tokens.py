"""Stream tokens: what a browser watches with, which can't send an API key and should not know it.

A token is no row: it is signed, names the key it was made with, and is worth what that key is worth. It travels in the
address, which ends in logs and histories; so it is good for streams alone, and not for long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.core import signing
from django.utils import timezone

from jobs.models import ApiKey

SALT = "affidavit.stream-token"
LONGEST_SECONDS = 3_600
USUAL_SECONDS = 600


@dataclass(frozen=True, slots=True)
class StreamToken:
    """What a token says."""

    key_id: str
    scopes: tuple[str, ...]
    expires_at: datetime

    @property
    def is_expired(self) -> bool:
        return self.expires_at <= timezone.now()

    def allows(self, scope: str) -> bool:
        """Whether this token carries `scope`."""
        return scope in self.scopes


def make_token(key: ApiKey, scopes: Sequence[str], *, seconds: int) -> tuple[str, datetime]:
    """Make a token of a key, for some of its scopes; when it expires, which is not after the key does."""
    expires_at = timezone.now().replace(microsecond=0) + timedelta(seconds=seconds)
    if key.expires_at:
        expires_at = min(expires_at, key.expires_at.replace(microsecond=0))
    said = {"key": key.pk, "scopes": list(scopes), "expires": int(expires_at.timestamp())}
    return signing.dumps(said, salt=SALT), expires_at


def read_token(text: str) -> StreamToken | None:
    """What a token says; None where it is not one of ours, or has expired."""
    try:
        said = signing.loads(text, salt=SALT)
    except signing.BadSignature:
        return None
    token = StreamToken(said["key"], tuple(said["scopes"]), datetime.fromtimestamp(said["expires"], UTC))
    return None if token.is_expired else token
