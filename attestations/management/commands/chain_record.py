"""`manage.py chain_record SHA256`: what the contract holds of a picture's digest, read from the chain itself."""

from __future__ import annotations

import json
import re
from argparse import ArgumentTypeError
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from attestations.chain.errors import ChainNotConfigured, ChainRefused, ChainUnavailable

if TYPE_CHECKING:
    from attestations.chain.client import Record, Registry

DIGEST = re.compile(r"[0-9a-f]{64}")


class Command(BaseCommand):
    help = "Print the contract's record of a SHA-256 as JSON; exits 1 where it holds none."
    requires_system_checks: list[str] = []  # noqa: RUF012  Django's own spelling

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("sha256_hash", metavar="SHA256", type=_digest)
        parser.add_argument(
            "--contract", metavar="ADDRESS", help="another registry than the one at CONTRACT_ADDRESS"
        )

    def handle(self, *args: Any, sha256_hash: str, contract: str | None, **options: Any) -> None:
        # web3 takes a second to load; --help should not.
        from attestations.chain.client import open_registry

        try:
            shown = _shown(open_registry(contract), bytes.fromhex(sha256_hash))
        except ChainNotConfigured as missing:
            raise CommandError(
                f"{missing}: CHAIN_RPC_URL, PRIVATE_KEY and CONTRACT_ADDRESS must be set."
            ) from missing
        except (ChainUnavailable, ChainRefused, ImproperlyConfigured) as problem:
            raise CommandError(str(problem)) from problem
        self.stdout.write(json.dumps(shown, indent=2))


def _shown(registry: Registry, digest: bytes) -> dict[str, Any]:
    record = registry.record_of(digest)
    if record is None:
        place = f"The contract at {registry.address} on chain {registry.node.chain_id}"
        raise CommandError(f"{place} holds no record of {digest.hex()}.")
    return {
        "sha256_hash": digest.hex(),
        "chain_id": registry.node.chain_id,
        "contract_address": registry.address,
        "commitment": f"{record.commitment:#066x}",
        "submitter": record.submitter,
        "time": datetime.fromtimestamp(record.time, UTC).isoformat(),
        "is_verified_on_chain": record.is_verified_on_chain,
        "proof_digest": record.proof_digest.hex(),
        "transaction": _transaction(registry, digest, record),
    }


def _transaction(registry: Registry, digest: bytes, record: Record) -> dict[str, Any] | None:
    """The one that has made the record, by the contract's event; None where the node does not tell of old events."""
    from attestations.chain.rpc import NodeSaysNo

    try:
        transaction_id = registry.find_attested(digest, record)
    except NodeSaysNo:
        return None
    receipt = registry.node.receipt(transaction_id) if transaction_id else None
    if receipt is None:
        return None
    return {
        "transaction_id": receipt.transaction_id,
        "block_number": receipt.block_number,
        "is_success": receipt.is_success,
        "gas_used": receipt.gas_used,
    }


def _digest(text: str) -> str:
    if not DIGEST.fullmatch(text):
        raise ArgumentTypeError("a SHA-256 is 64 hex digits, in lower case")
    return text
