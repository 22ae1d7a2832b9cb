"""Looks after what was signed for work that is over: a transaction may be mined after everybody gave it up.

The network never happens in a transaction here: each row that is decided is noted by itself, and so whoever is
interrupted loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models import QuerySet

from attestations.chain.errors import ChainNotConfigured, ChainUnavailable
from attestations.chain.purposes import OVER
from attestations.models import ChainTransaction, Submission
from jobs.queue.handlers import TryAgain

if TYPE_CHECKING:
    from attestations.chain.client import Node

RECONCILE = "submissions.reconcile_transactions"
BATCH = 200
TAKEN_ALL_THE_SAME = (
    " The chain has taken its transaction all the same; submit the hash again to complete it."
)
Status = ChainTransaction.Status


def reconcile_transactions(*, checkpoint: Callable[[], None]) -> dict[str, int]:
    """Note what became of the oldest transactions of work that is over; how many, and those of the rejected mined.

    That work is submissions, sessions, and what is done by hand. Does nothing where no chain is configured, and leaves alone what was signed for another chain or by another key.
    `checkpoint` is called before each question, and may raise. Raises TryAgain `chain_unavailable`.
    """
    try:
        ended = _note_ends(checkpoint) if _given_up().exists() else 0
    except ChainNotConfigured:  # nobody to ask
        ended = 0
    except ChainUnavailable as reason:
        raise TryAgain(str(reason), code="chain_unavailable") from reason
    return {"ended": ended, "rejected_but_mined": _note_mined_of_rejected()}


def _given_up() -> QuerySet[ChainTransaction]:
    rows: QuerySet[ChainTransaction] = ChainTransaction.objects.filter(OVER, status=Status.PENDING)
    return rows


def _note_ends(checkpoint: Callable[[], None]) -> int:
    # Loaded where it is needed: no other process carries web3.
    from attestations.chain.client import open_node

    node = open_node()
    used = _confirmed_nonces(node)
    # Only those whose nonce is used up can be judged; so each batch leaves fewer, and none is stuck behind another.
    rows = _given_up().filter(chain_id=node.chain_id, sender=node.sender, nonce__lt=used).order_by("id")
    oldest = list(rows.defer("raw")[:BATCH])
    for row in oldest:
        checkpoint()
        _note_end(node, row)
    return len(oldest)


def _confirmed_nonces(node: Node) -> int:
    """How many of the key's nonces are used in blocks that are final."""
    final = max(node.block_number() - settings.CHAIN_CONFIRMATIONS + 1, 0)
    return node.mined_count(at_block=final)


def _note_end(node: Node, row: ChainTransaction) -> None:
    from attestations.chain.transactions import end

    receipt = node.receipt(row.transaction_id)
    if receipt is None:
        end(row, Status.DROPPED, error="Its nonce was used by another.")
    else:
        end(row, Status.MINED if receipt.is_success else Status.REVERTED, receipt=receipt)


def _note_mined_of_rejected() -> int:
    """Have the rejected submissions whose transaction was mined say so, once each; how many."""
    mined = ChainTransaction.objects.filter(
        status=Status.MINED,
        submission__status=Submission.Status.REJECTED,
        submission__transaction_id="",
    )
    rows = list(
        mined.select_related("submission").order_by("id").defer("raw", "submission__proof_json")[:BATCH]
    )
    return sum(_note_mined(row.submission, row) for row in rows)


def _note_mined(submission: Submission, row: ChainTransaction) -> int:
    longest = Submission._meta.get_field("failure_reason").max_length or 0
    reason = submission.failure_reason[: longest - len(TAKEN_ALL_THE_SAME)] + TAKEN_ALL_THE_SAME
    # Still rejected, and not said yet.
    silent = Submission.objects.filter(pk=submission.pk, status=Submission.Status.REJECTED, transaction_id="")
    return silent.update(
        transaction_id=row.transaction_id,
        chain_id=row.chain_id,
        contract_address=row.contract_address,
        block_number=row.block_number,
        failure_reason=reason,
    )
