"""System checks of the chain's settings. What is wrong is said without the settings' values: two hold secrets."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error

from attestations.chain.configuration import ADDRESS, is_key


def check_chain(**_: Any) -> list[CheckMessage]:
    """The node's address, the key and the contract's address, each where it is set."""
    problems: list[CheckMessage] = []
    if settings.CHAIN_RPC_URL and not _is_address(settings.CHAIN_RPC_URL):
        problems.append(
            Error(
                "CHAIN_RPC_URL is no address of a node.",
                hint="It starts with http:// or https://, like https://sepolia-rollup.arbitrum.io/rpc.",
                id="affidavit.E030",
            )
        )
    if settings.PRIVATE_KEY and not is_key(settings.PRIVATE_KEY):
        problems.append(
            Error(
                "PRIVATE_KEY is no private key of Ethereum.",
                hint="It is 32 bytes in hex: 64 digits, with or without 0x.",
                id="affidavit.E031",
            )
        )
    if settings.CONTRACT_ADDRESS and not ADDRESS.fullmatch(settings.CONTRACT_ADDRESS):
        problems.append(
            Error(
                "CONTRACT_ADDRESS is no address.",
                hint="It is 0x and 40 hex digits, as `manage.py deploy_registry` prints it.",
                id="affidavit.E032",
            )
        )
    return problems


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return False
