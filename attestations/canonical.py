"""Canonical JSON and its digest: the same value gives the same bytes, here and after a stay in jsonb."""

from __future__ import annotations

import hashlib
import json
import re
from decimal import Decimal
from typing import Any

FRACTION = re.compile(r"\.\d")

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def canonical_json(value: Any) -> bytes:
    """Encode `value` as UTF-8 JSON: keys sorted by code point, no white space, no float that is an integer.

    jsonb keeps a number's value, not its spelling (1e2 comes back as 100), so a float that is a whole
    number is written as one. Raises ValueError for NaN and infinities.
    """
    text = _encode(value)
    # A float to be rewritten shows in the text as 1.0 or 1e+16; most documents have neither.
    if "e+" in text or FRACTION.search(text):
        text = _encode(_with_whole_numbers(value))
    return text.encode()


def digest_of(value: Any) -> str:
    """SHA-256 of the canonical JSON, 64 hex digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def _with_whole_numbers(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(Decimal(repr(value)))
    if isinstance(value, dict):
        return {key: _with_whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_whole_numbers(item) for item in value]
    return value
