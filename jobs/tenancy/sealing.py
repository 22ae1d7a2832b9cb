"""Secrets as they rest in the database: sealed with a key that is not in it.

Fernet is AES-128-CBC with an HMAC-SHA256 over it. The first of settings.ENCRYPTION_KEYS seals and all of them
open, so that a new key is put in front and the old one taken away once everything has been sealed anew.
"""

from __future__ import annotations

import functools

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class Unreadable(Exception):
    """None of the keys opens this: the one that sealed it has been taken away."""


def seal(text: str) -> str:
    """Seal a secret, or any text that holds one."""
    return _keys(tuple(settings.ENCRYPTION_KEYS)).encrypt(text.encode()).decode()


def unseal(sealed: str) -> str:
    """The text that was sealed; raises Unreadable."""
    return _unseal(sealed, tuple(settings.ENCRYPTION_KEYS))


@functools.lru_cache(maxsize=4)
def _keys(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


# A secret is opened for every message that it signs; doing so costs more than signing.
@functools.lru_cache(maxsize=2_048)
def _unseal(sealed: str, keys: tuple[str, ...]) -> str:
    try:
        return _keys(keys).decrypt(sealed).decode()
    except InvalidToken as error:
        raise Unreadable("No key of ENCRYPTION_KEYS opens this secret.") from error
