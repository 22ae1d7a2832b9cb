"""Where people look a transaction up, by chain."""

from __future__ import annotations

from django.conf import settings

EXPLORERS = {
    1: "https://etherscan.io",
    11155111: "https://sepolia.etherscan.io",
    17000: "https://holesky.etherscan.io",
    560048: "https://hoodi.etherscan.io",
    42161: "https://arbiscan.io",
    42170: "https://nova.arbiscan.io",
    421614: "https://sepolia.arbiscan.io",
    10: "https://optimistic.etherscan.io",
    11155420: "https://sepolia-optimism.etherscan.io",
    8453: "https://basescan.org",
    84532: "https://sepolia.basescan.org",
    137: "https://polygonscan.com",
    80002: "https://amoy.polygonscan.com",
    100: "https://gnosisscan.io",
    59144: "https://lineascan.build",
    534352: "https://scrollscan.com",
    43114: "https://snowtrace.io",
    56: "https://bscscan.com",
}


def explorer_url(chain_id: int | None, transaction_id: str) -> str | None:
    """The page of a transaction (0x and 64 hex digits); None for a chain that nobody explores, like the local one."""
    start = settings.CHAIN_EXPLORER_URL.rstrip("/") or EXPLORERS.get(chain_id or 0)
    return f"{start}/tx/{transaction_id}" if start and transaction_id else None
