"""What is configured of the chain, and the key that publishes. Nothing here goes to the network."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote, unquote_plus, urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from attestations.chain.errors import ChainNotConfigured
from attestations.chain.recursion import restore_recursion_limit

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

PRIVATE_KEY = re.compile(r"(0x)?[0-9a-fA-F]{64}")
ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
# Characters of a secret that is looked for within words.
LONG = 8
# A key is a number below the order of secp256k1, and not 0.
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def is_key(text: str) -> bool:
    """Whether it is a private key of Ethereum: 32 bytes in hex, with or without 0x, within the curve's order."""
    return bool(PRIVATE_KEY.fullmatch(text)) and 0 < int(text, 16) < ORDER


def account() -> LocalAccount:
    """The account that pays and publishes. Raises ChainNotConfigured; ImproperlyConfigured for what is no key."""
    if not settings.PRIVATE_KEY:
        raise ChainNotConfigured
    return _account_of(settings.PRIVATE_KEY)


def submitter_address() -> str:
    """The address (EIP-55) of PRIVATE_KEY. Raises ChainNotConfigured unless node, key and contract are all set;
    ImproperlyConfigured for what is no key.
    """
    if not (settings.CHAIN_RPC_URL and settings.CONTRACT_ADDRESS):
        raise ChainNotConfigured
    address: str = account().address
    return address


def rpc_url() -> str:
    """The node's address, which may hold a secret. Raises ChainNotConfigured."""
    if not settings.CHAIN_RPC_URL:
        raise ChainNotConfigured
    return str(settings.CHAIN_RPC_URL)


def without_secrets(text: str) -> str:
    """`text` without anything that came from the node's address or is the key, whoever has quoted it and how."""
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = re.sub(_as_quoted(secret), "…", text, flags=re.IGNORECASE)
    return text


def _secrets() -> set[str]:
    """The address of the node with all its parts, as they are written and as they are meant, and the key."""
    url = settings.CHAIN_RPC_URL
    parts = urlsplit(url)
    address = [url, parts.netloc, parts.hostname, parts.username, parts.password, parts.query]
    address += re.split(r"[/?&=]", f"{parts.path}?{parts.query}")
    meant = [read(piece) for piece in filter(None, address) for read in (unquote, unquote_plus)]
    return {*filter(None, [*address, *meant, settings.PRIVATE_KEY, settings.PRIVATE_KEY.removeprefix("0x")])}


def _as_quoted(secret: str) -> str:
    """The pattern of a secret; a short one is a whole word, for it may be a part of an innocent one."""
    pattern = re.escape(secret)
    return pattern if len(secret) >= LONG else rf"(?<![0-9a-z]){pattern}(?![0-9a-z])"


@lru_cache(maxsize=4)
def _account_of(key: str) -> LocalAccount:
    if not is_key(key):
        # The key itself is not in the text, nor in a traceback's chain.
        raise ImproperlyConfigured("PRIVATE_KEY is no private key: it must be 32 bytes in hex (64 digits).")
    # Costs 0.7 s and 25 MB, which only the processes that publish need to spend.
    from eth_account import Account

    restore_recursion_limit()
    signer: LocalAccount = Account.from_key(key)
    return signer
