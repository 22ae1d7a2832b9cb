"""The keys that creators prove with."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from uuid import UUID

from attestations.models import CreatorKey
from attestations.proofs.mimc import commitment_of
from attestations.proofs.protocol import SCALAR_FIELD
from jobs.tenancy.sealing import seal, unseal

CREATOR_UNREADABLE = "The creator's key can't be opened: no key of ENCRYPTION_KEYS has sealed it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Creator:
    """A key and what it is publicly known by, both below the scalar field of BN254."""

    secret: int
    commitment: int

    def __repr__(self) -> str:
        return f"Creator(commitment={self.commitment:#066x})"


def creator_of(tenant_id: UUID) -> Creator:
    """The tenant's key, made when it is first asked for. Raises sealing.Unreadable."""
    key = CreatorKey.objects.filter(tenant=tenant_id).first() or _make_key(tenant_id)
    return Creator(secret=int(unseal(key.sealed_secret), 16), commitment=int(key.commitment, 16))


def _make_key(tenant_id: UUID) -> CreatorKey:
    secret = secrets.randbelow(SCALAR_FIELD - 1) + 1
    values = {"sealed_secret": seal(f"{secret:#066x}"), "commitment": f"{commitment_of(secret):#066x}"}
    # Two first submissions at once agree on the key that was stored first.
    key, _ = CreatorKey.objects.get_or_create(tenant_id=tenant_id, defaults=values)
    return key
