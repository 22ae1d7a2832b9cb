"""The middle floor's records."""

from __future__ import annotations

from attestations.models.attestations import Attestation
from attestations.models.sessions import ProofSession
from attestations.models.submissions import ChainTransaction, CreatorKey, Submission

__all__ = ["Attestation", "ChainTransaction", "CreatorKey", "ProofSession", "Submission"]
