"""Who still counts on the keys of a proof system: proofs on their way, and the contract."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.db import connection

from attestations.models import Submission


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """Proofs that wait to be published, proofs that are being made, and the contract that verifies with the keys."""

    waiting: int
    coming: int
    contract_address: str

    def __bool__(self) -> bool:
        return bool(self.waiting or self.coming or self.contract_address)

    def __str__(self) -> str:
        proofs = f"proofs that wait to be published: {self.waiting}; that are being made: {self.coming}."
        if not self.contract_address:
            return proofs
        return (
            f"{proofs} The contract at {self.contract_address} verifies with them: "
            "other keys need a new contract (`manage.py deploy_registry`)."
        )


def use_of(system: str) -> Use:
    """What of this platform counts on the keys of a proof system."""
    status = Submission.Status
    return Use(
        waiting=_count(system, status.PROOF_PUBLISHING),
        coming=_count(system, status.PROOF_GENERATION),
        # The contract verifies groth16 and only records what else was proved with.
        contract_address=settings.CONTRACT_ADDRESS if system == "groth16" else "",
    )


def _count(system: str, status: Submission.Status) -> int:
    # Who contributes to a ceremony has the keys, and mostly no platform: its database is empty.
    if Submission._meta.db_table not in connection.introspection.table_names():
        return 0
    return Submission.objects.filter(proof_system=system, status=status).count()
