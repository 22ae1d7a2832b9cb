"""Takes base64 out of attestations from before it was kept out; the only change that one may ever see."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.db import connection

from attestations.models import Attestation
from jobs.hygiene.cleaning import Store, clean_texts
from jobs.hygiene.sanitizer import sanitize_base64

logger = logging.getLogger(__name__)

TEXTS = ("error", "workflow_outputs")  # in which strings are read as texts


def clean_data(data: Any) -> Any:
    """The data of an attestation without base64; the same object where there is none."""
    clean = sanitize_base64(data)
    if clean is data or not isinstance(clean, dict):
        return clean
    return clean | {name: clean_texts(data[name]) for name in TEXTS if name in clean}


def rewrite_attestation(key: Any, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Store the cleaned data of an attestation with its digest, and keep the first digest; whether it was done.

    One that is not what was attested is left alone: a new digest would hide it.
    """
    attestation = Attestation.objects.defer("attestation_data").get(pk=key)
    attestation.attestation_data = before["attestation_data"]
    if not attestation.is_intact:
        logger.warning(
            "attestation is not intact and was not cleaned", extra={"attestation": str(attestation)}
        )
        return False
    first = attestation.original_digest or attestation.digest
    attestation.attestation_data = after["attestation_data"]
    _say_cleaning("on")
    Attestation.objects.filter(pk=key).update(
        attestation_data=attestation.attestation_data,
        digest=attestation.compute_digest(),
        original_digest=first,
    )
    _say_cleaning("off")
    return True


def _say_cleaning(word: str) -> None:
    """Tell the trigger that refuses changes; until the end of the transaction at most."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('affidavit.is_cleaning', %s, true)", [word])


STORES = [Store(model=Attestation, columns={"attestation_data": clean_data}, write=rewrite_attestation)]
