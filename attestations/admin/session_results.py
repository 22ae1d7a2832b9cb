"""What came of a proof session, as its page shows it: proofs, their verification, transactions, the attestation."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils.safestring import SafeString

from attestations.canonical import canonical_json
from attestations.chain.explorers import explorer_url
from attestations.models import ChainTransaction, ProofSession
from jobs.admin.displays import anchor, badge, copyable, moment, page_url
from jobs.hygiene.masking import mask

TRANSACTIONS_MAX = 50


def transactions_of_session(session: ProofSession, results: dict[str, Any]) -> list[dict[str, Any]]:
    """The transactions that were signed for it, each by the name of what it records."""
    names = {proof["sha256Hash"]: proof["name"] for proof in results.get("generatedProofs", [])}
    rows = ChainTransaction.objects.filter(workflow=session.pk).defer("raw").order_by("id")
    return [
        {
            "name": names.get(row.sha256_hash, f"{row.sha256_hash[:10]}…"),
            "cell": _hash_of(row),
            "badge": badge(row.status),
            "block": f"{row.block_number:,}" if row.block_number is not None else "–",
            "gas": f"{row.gas_used:,}" if row.gas_used is not None else "–",
            "error": mask(row.error, settings.MASKED_FIELDS),
            "at": moment(row.created_at),
            "url": page_url(row),
        }
        for row in rows[:TRANSACTIONS_MAX]
    ]


def _hash_of(transaction: ChainTransaction) -> SafeString | None:
    """What leads to the transaction: its explorer's page, or its hash to be copied."""
    short = f"{transaction.transaction_id[:14]}…"
    url = explorer_url(transaction.chain_id, transaction.transaction_id)
    return anchor(url, short) if url else copyable(transaction.transaction_id, shown=short)


def proof_row(proof: dict[str, Any]) -> dict[str, Any]:
    """A proof as a row of a table; its size is that of its canonical JSON."""
    return {
        "name": proof["name"],
        "digest": copyable(proof["sha256Hash"], shown=f"{proof['sha256Hash'][:14]}…"),
        "bytes": len(canonical_json(proof["proof"])),
        "seconds": proof["seconds"],
    }


def verification_facts(found: dict[str, Any] | None) -> list[tuple[str, Any]]:
    """What the second phase has found; nothing before it is complete."""
    if not found:
        return []
    gas = found.get("gasEstimate")
    facts: list[tuple[str, Any]] = [
        ("Verified", f"{found['circuitsVerified']} proofs" if found["verified"] else "no"),
        (
            "Gas to record them",
            f"{gas:,}" if gas is not None else f"not asked: {found.get('gasSkipped', '')}",
        ),
    ]
    return facts


def attestation_facts(found: dict[str, Any] | None) -> list[tuple[str, Any]]:
    """What the third phase has done; nothing before it is complete."""
    if not found:
        return []
    if "skipped" in found:
        return [("Recorded on chain", f"skipped: {found['skipped']}")]
    sent = found["transactions"]
    how = "the contract has verified each proof itself" if found["verifiedOnChain"] else found.get("note")
    facts: list[tuple[str, Any]] = [
        ("Chain", str(found["chainId"])),
        ("Contract", copyable(found["contractAddress"])),
        ("Recorded", f"{len(sent)} digests, {sum(each['gasUsed'] or 0 for each in sent):,} gas"),
        ("Verified on chain", how),
    ]
    return [(name, value) for name, value in facts if value not in (None, "")]
