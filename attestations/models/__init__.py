"""The middle floor's records."""

from __future__ import annotations

from attestations.models.attestations import Attestation

__all__ = ["Attestation"]
