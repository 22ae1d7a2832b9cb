"""Writes the rows of what is sent: each is there before its transaction first leaves, so that a crash loses none.

A nonce belongs to one transaction, and the key's publishers share its nonces: several processes and threads. Who
takes one holds the lock of the chain and sender meanwhile. Nothing here goes to the network.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from eth_account.signers.local import LocalAccount

from attestations.chain.client import Call, Receipt
from attestations.chain.errors import ChainUnavailable
from attestations.chain.fees import GWEI, Fees, beating
from attestations.chain.purposes import ABANDONED, Purpose
from attestations.chain.signing import sign
from attestations.models import ChainTransaction
from jobs.statements import lock_number

Status = ChainTransaction.Status


class NonceGone(Exception):
    """Its nonce is no longer the sender's to use."""


def store_new(
    purpose: Purpose,
    call: Call,
    *,
    signer: LocalAccount,
    chain_id: int,
    counts: tuple[int, int],
    gas: int,
    fees: Fees,
) -> ChainTransaction:
    """Take the lowest free nonce, sign and store; `counts` of the chain's were read before (mined, with waiting).

    A nonce whose transaction is abandoned is taken again, with fees that replace what may still wait there: otherwise
    everything behind it would wait, too.
    """
    with transaction.atomic(durable=True):
        _lock(chain_id, signer.address)
        nonce, abandoned = _free_nonce(chain_id, signer.address, *counts)
        for row in abandoned:
            fees = _beating_if_allowed(fees, fees_of(row))
            end(row, Status.DROPPED, error="Nobody wants it any more; the nonce is another's now.")
        return _store(purpose, call, signer=signer, chain_id=chain_id, nonce=nonce, gas=gas, fees=fees)


def store_replacement(
    stale: ChainTransaction, call: Call, *, signer: LocalAccount, gas: int, fees: Fees
) -> ChainTransaction:
    """Sign and store another with the nonce of `stale`, which may still be mined instead. Raises NonceGone."""
    with transaction.atomic(durable=True):
        _lock(stale.chain_id, stale.sender)
        if not ChainTransaction.objects.filter(pk=stale.pk, status=Status.PENDING).exists():
            raise NonceGone
        return _store(
            Purpose.of_row(stale),
            call,
            signer=signer,
            chain_id=stale.chain_id,
            nonce=stale.nonce,
            gas=gas,
            fees=fees,
        )


def sent_for(purpose: Purpose, *, chain_id: int, contract_address: str) -> list[ChainTransaction]:
    """All that was signed for a contract to record the digest for this tenant, the newest first.

    Those for others than this submission or session, too: one that was given up may have been mined all the same.
    """
    return list(
        ChainTransaction.objects.filter(
            tenant=purpose.tenant_id,
            sha256_hash=purpose.sha256_hash,
            chain_id=chain_id,
            contract_address=contract_address,
        ).order_by("-id")
    )


def waiting_before(row: ChainTransaction, *, first: int) -> list[ChainTransaction]:
    """What is still to be published with the nonces from `first` up to this one's: the newest of each, in their order."""
    return list(
        ChainTransaction.objects.filter(
            chain_id=row.chain_id,
            sender=row.sender,
            status=Status.PENDING,
            nonce__gte=first,
            nonce__lt=row.nonce,
        )
        .exclude(ABANDONED)
        .order_by("nonce", "-id")
        .distinct("nonce")
    )


def end(row: ChainTransaction, status: str, *, receipt: Receipt | None = None, error: str = "") -> None:
    """Note what became of a transaction."""
    facts: dict[str, Any] = {"status": status, "ended_at": Now(), "error": error[:500]}
    if receipt is not None:
        facts |= {"block_number": receipt.block_number, "gas_used": receipt.gas_used}
    ChainTransaction.objects.filter(pk=row.pk).update(**facts)
    row.status = status


def drop_others(rows: Iterable[ChainTransaction], mined: ChainTransaction) -> None:
    """Nobody wants the rest any more, now that one of the digest's was mined."""
    others = [row.pk for row in rows if row.pk != mined.pk]
    ChainTransaction.objects.filter(pk__in=others, status=Status.PENDING).update(
        status=Status.DROPPED, ended_at=Now(), error="Another of the digest's was mined."
    )


def fees_of(row: ChainTransaction) -> Fees:
    """What it offers."""
    return Fees(row.max_fee_per_gas, row.max_priority_fee_per_gas)


def _lock(chain_id: int, sender: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [lock_number(f"chain {chain_id} {sender}")])


def _free_nonce(
    chain_id: int, sender: str, mined: int, waiting: int
) -> tuple[int, QuerySet[ChainTransaction]]:
    """The lowest nonce that is free, and the abandoned rows that had it."""
    pending = ChainTransaction.objects.filter(
        chain_id=chain_id, sender=sender, status=Status.PENDING, nonce__gte=mined
    )
    held = set(pending.exclude(ABANDONED).values_list("nonce", flat=True))
    abandoned = pending.filter(ABANDONED)
    given_up = set(abandoned.values_list("nonce", flat=True)) - held
    nonce = min([*given_up, _first_beyond(waiting, held)])
    return nonce, abandoned.filter(nonce=nonce)


def _beating_if_allowed(fees: Fees, earlier: Fees) -> Fees:
    """Where the cap allows no better offer, the earlier one is left to wait: only a node that has lost it takes these."""
    try:
        return beating(fees, earlier, cap=settings.CHAIN_MAX_FEE_GWEI * GWEI)
    except ChainUnavailable:
        return fees


def _first_beyond(start: int, held: Iterable[int]) -> int:
    taken = set(held)
    while start in taken:
        start += 1
    return start


def _store(
    purpose: Purpose,
    call: Call,
    *,
    signer: LocalAccount,
    chain_id: int,
    nonce: int,
    gas: int,
    fees: Fees,
) -> ChainTransaction:
    signed = sign(signer, chain_id=chain_id, nonce=nonce, gas=gas, fees=fees, data=call.data, to=call.to)
    # The same transaction again, once dropped, is the same row: signing knows no chance.
    row: ChainTransaction
    row, _ = ChainTransaction.objects.update_or_create(
        transaction_id=signed.transaction_id,
        defaults={
            **purpose.columns,
            "chain_id": chain_id,
            "sender": signer.address,
            "nonce": nonce,
            "contract_address": call.to,
            "raw": signed.raw,
            "max_fee_per_gas": fees.max_fee,
            "max_priority_fee_per_gas": fees.priority,
            "status": Status.PENDING,
            "ended_at": None,
            "error": "",
        },
    )
    return row
