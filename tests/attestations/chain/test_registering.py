"""A digest is registered once, by one mined transaction, whatever an earlier attempt left behind."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction
from eth_account import Account

from attestations.chain.client import Node, Registry
from attestations.chain.errors import ChainRefused, ChainUnavailable
from attestations.chain.fees import Fees
from attestations.chain.purposes import Purpose
from attestations.chain.registering import register
from attestations.chain.signing import sign
from attestations.models import ChainTransaction, Submission
from attestations.proofs.groth16 import calldata_of
from jobs.models import Tenant
from tests.attestations.chain.chains import FIRST_KEY, SENDER, Chain
from tests.attestations.chain.conftest import Publish, make_published
from tests.attestations.chain.proving import Proved, prove
from tests.attestations.chain.test_contract import STRANGER, send


class Stop(Exception):
    """Stands for whatever ends an attempt: a lost lease, a deadline, a killed process."""


def stop_at(number: int) -> Any:
    """A checkpoint that raises at its n-th call: the first comes before the row, the second before it is sent."""
    calls = iter(range(1, 1_000))

    def checkpoint() -> None:
        if next(calls) == number:
            raise Stop

    return checkpoint


def rows() -> list[ChainTransaction]:
    return list(ChainTransaction.objects.order_by("id"))


def statuses() -> list[str]:
    return [row.status for row in rows()]


def mined_of(chain: Chain) -> list[str]:
    """Every transaction that is in a block, but for the deployment."""
    last = int(chain.ask("eth_blockNumber"), 16)
    blocks = [chain.ask("eth_getBlockByNumber", hex(number), False) for number in range(2, last + 1)]
    return [transaction for block in blocks for transaction in block["transactions"]]


def test_a_proof_is_registered_and_the_contract_shows_it(
    publish: Publish, submission: Submission, registry: Registry, proved: Proved
) -> None:
    stages: dict[str, float] = {}

    registration = publish(submission, stage=stages.__setitem__)

    record = registry.record_of(proved.statement.digest)
    assert record is not None
    assert (record.commitment, record.submitter) == (proved.statement.commitment, SENDER)
    assert registration.is_verified_on_chain
    assert registration.submitter == SENDER
    assert registration.explorer_url is None
    (row,) = rows()
    assert (row.status, row.transaction_id) == ("mined", registration.transaction_id)
    assert (row.block_number, row.gas_used) == (registration.block_number, registration.gas_used)
    assert row.ended_at
    assert stages.keys() == {"send", "confirm"}


def test_a_proof_system_that_no_contract_verifies_is_recorded_and_says_so(
    publish: Publish, submission: Submission, registry: Registry
) -> None:
    proved = prove(system="plonk")

    registration = publish(submission, proved)

    assert not registration.is_verified_on_chain
    record = registry.record_of(proved.statement.digest)
    assert record is not None
    assert not record.is_verified_on_chain


# --- Found again, never sent twice -----------------------------------------------------------------


def test_registering_again_finds_the_transaction(
    publish: Publish, submission: Submission, chain: Chain
) -> None:
    first = publish(submission)

    assert publish(submission) == first

    assert mined_of(chain) == [first.transaction_id]
    assert statuses() == ["mined"]


def test_without_a_row_it_is_found_by_the_contracts_event(
    publish: Publish, submission: Submission, chain: Chain
) -> None:
    first = publish(submission)
    ChainTransaction.objects.all().delete()

    assert publish(submission) == first

    assert mined_of(chain) == [first.transaction_id]


def test_what_was_stored_but_not_sent_is_sent_as_it_is(
    publish: Publish, submission: Submission, chain: Chain
) -> None:
    with pytest.raises(Stop):
        publish(submission, checkpoint=stop_at(2))
    (stored,) = rows()
    assert stored.status == "pending"
    assert mined_of(chain) == []

    registration = publish(submission)

    assert registration.transaction_id == stored.transaction_id
    assert mined_of(chain) == [stored.transaction_id]
    assert statuses() == ["mined"]


def test_nothing_is_stored_when_the_attempt_ends_before(publish: Publish, submission: Submission) -> None:
    with pytest.raises(Stop):
        publish(submission, checkpoint=stop_at(1))

    assert rows() == []


def test_what_the_node_has_forgotten_is_sent_again(
    publish: Publish, submission: Submission, chain: Chain, settings: Any
) -> None:
    chain.ask("evm_setAutomine", False)
    settings.CHAIN_RECEIPT_SECONDS = 0
    with pytest.raises(ChainUnavailable, match="No block has taken"):
        publish(submission)
    chain.ask("anvil_dropAllTransactions")
    chain.ask("evm_setAutomine", True)
    settings.CHAIN_RECEIPT_SECONDS = 20

    registration = publish(submission)

    assert mined_of(chain) == [registration.transaction_id]
    assert [row.transaction_id for row in rows()] == [registration.transaction_id]


def test_what_the_node_still_has_is_no_error(
    publish: Publish, submission: Submission, chain: Chain, settings: Any
) -> None:
    chain.ask("evm_setAutomine", False)
    settings.CHAIN_RECEIPT_SECONDS = 0
    with pytest.raises(ChainUnavailable):
        publish(submission)
    settings.CHAIN_RECEIPT_SECONDS = 20

    registration = publish(submission, stage=lambda name, _: chain.mine() if name == "send" else None)

    assert mined_of(chain) == [registration.transaction_id]
    assert statuses() == ["mined"]


# --- Fees and nonces -------------------------------------------------------------------------------


def test_what_has_waited_for_a_whole_attempt_is_replaced(
    publish: Publish, submission: Submission, chain: Chain, settings: Any
) -> None:
    chain.ask("evm_setAutomine", False)
    settings.CHAIN_RECEIPT_SECONDS = 0
    for _ in range(2):
        with pytest.raises(ChainUnavailable):
            publish(submission)
    settings.CHAIN_RECEIPT_SECONDS = 20

    registration = publish(submission, stage=lambda name, _: chain.mine() if name == "send" else None)

    first, second = rows()
    assert first.nonce == second.nonce
    assert second.max_fee_per_gas * 8 >= first.max_fee_per_gas * 9
    assert second.max_priority_fee_per_gas * 8 >= first.max_priority_fee_per_gas * 9
    assert mined_of(chain) == [second.transaction_id] == [registration.transaction_id]
    assert (first.status, second.status) == ("dropped", "mined")


def test_a_replacement_loses_to_the_first_when_that_is_mined(
    publish: Publish, submission: Submission, chain: Chain, settings: Any
) -> None:
    chain.ask("evm_setAutomine", False)
    settings.CHAIN_RECEIPT_SECONDS = 0
    with pytest.raises(ChainUnavailable):
        publish(submission)
    with pytest.raises(Stop):
        publish(submission, checkpoint=stop_at(2))
    chain.mine()
    settings.CHAIN_RECEIPT_SECONDS = 20

    registration = publish(submission)

    first, second = rows()
    assert registration.transaction_id == first.transaction_id
    assert (first.status, second.status) == ("mined", "dropped")
    assert mined_of(chain) == [first.transaction_id]


def test_a_base_fee_above_the_offer_calls_for_a_replacement(
    publish: Publish, submission: Submission, chain: Chain, settings: Any
) -> None:
    chain.ask("evm_setAutomine", False)
    settings.CHAIN_RECEIPT_SECONDS = 0
    with pytest.raises(ChainUnavailable):
        publish(submission)
    (first,) = rows()
    chain.ask("anvil_setNextBlockBaseFeePerGas", hex(first.max_fee_per_gas * 2))
    chain.mine()
    settings.CHAIN_RECEIPT_SECONDS = 20

    registration = publish(submission, stage=lambda name, _: chain.mine() if name == "send" else None)

    _, second = rows()
    assert registration.transaction_id == second.transaction_id
    assert second.max_fee_per_gas > first.max_fee_per_gas * 2


def test_nothing_is_sent_above_the_fee_that_is_allowed(
    publish: Publish, submission: Submission, chain: Chain, settings: Any
) -> None:
    settings.CHAIN_MAX_FEE_GWEI = 2
    chain.ask("anvil_setNextBlockBaseFeePerGas", hex(3 * 10**9))
    chain.mine()

    with pytest.raises(ChainUnavailable, match="CHAIN_MAX_FEE_GWEI"):
        publish(submission)

    assert rows() == []


def test_an_account_without_ether_is_named_with_what_it_lacks(
    publish: Publish, submission: Submission, chain: Chain
) -> None:
    chain.ask("anvil_setBalance", SENDER, hex(10**9))

    with pytest.raises(ChainUnavailable) as problem:
        publish(submission)

    assert f"{SENDER} has 0.000000001 ether on chain 31337" in str(problem.value)
    assert rows() == []


def test_a_nonce_that_somebody_else_has_used_is_given_up(
    publish: Publish, submission: Submission, chain: Chain
) -> None:
    with pytest.raises(Stop):
        publish(submission, checkpoint=stop_at(2))
    other = chain.ask("eth_sendTransaction", {"from": SENDER, "to": SENDER, "value": "0x1"})
    while chain.ask("eth_getTransactionReceipt", other) is None:
        pass

    registration = publish(submission)

    first, second = rows()
    assert (first.status, second.status) == ("dropped", "mined")
    assert second.nonce == first.nonce + 1
    assert mined_of(chain) == [other, registration.transaction_id]


def test_the_nonce_of_a_submission_that_is_over_is_taken_again(
    publish: Publish, submission: Submission, chain: Chain
) -> None:
    with pytest.raises(Stop):
        publish(submission, checkpoint=stop_at(2))
    Submission.objects.filter(pk=submission.pk).update(
        status="rejected", failed_at=submission.created_at, failure_reason="Enough.", proof_json=""
    )
    other = prove(b"another picture")

    registration = publish(make_published(other), other)

    abandoned, taken = rows()
    assert abandoned.nonce == taken.nonce
    assert (abandoned.status, taken.status) == ("dropped", "mined")
    assert taken.max_fee_per_gas * 8 >= abandoned.max_fee_per_gas * 9
    assert mined_of(chain) == [registration.transaction_id]


def test_a_nonce_before_which_one_is_missing_is_exchanged(
    publish: Publish, submission: Submission, chain: Chain, registry: Registry, settings: Any
) -> None:
    with pytest.raises(Stop):
        publish(submission, checkpoint=stop_at(2))
    other = prove(b"another picture")
    behind = make_published(other)
    with pytest.raises(Stop):
        publish(behind, other, checkpoint=stop_at(2))
    Submission.objects.filter(pk=submission.pk).update(
        status="rejected", failed_at=submission.created_at, failure_reason="Enough.", proof_json=""
    )
    settings.CHAIN_RECEIPT_SECONDS = 1
    with pytest.raises(ChainUnavailable):
        publish(behind, other)

    registration = publish(behind, other)

    # The one that waited behind the gap comes after it, and the contract refuses it.
    assert mined_of(chain)[0] == registration.transaction_id
    record = registry.record_of(other.statement.digest)
    assert record is not None
    first, second, third = statuses()
    assert (first, third) == ("dropped", "mined")
    assert second in {"dropped", "reverted"}


# --- Refusals --------------------------------------------------------------------------------------


def test_a_digest_that_is_somebody_elses_is_refused(
    publish: Publish, submission: Submission, registry: Registry, proved: Proved
) -> None:
    send(registry.node, registry.record_call(proved.statement.digest, 9, bytes(32)))

    with pytest.raises(ChainRefused) as refused:
        publish(submission)

    assert refused.value.code == "already_registered"
    assert rows() == []


def test_a_transaction_that_reverts_in_its_block_is_explained(
    publish: Publish, submission: Submission, registry: Registry, chain: Chain, proved: Proved
) -> None:
    stranger = Node(chain.url, Account.from_key(STRANGER))
    chain.ask("anvil_setBalance", stranger.sender, hex(10**19))
    theirs = prove(submitter=stranger.sender, secret=7)
    chain.ask("evm_setAutomine", False)

    def overtake(name: str, _: float) -> None:
        """Theirs comes first in the next block, for it pays more."""
        if name == "send":
            call = Registry(stranger, registry.address).attest_call(
                theirs.statement.digest, theirs.statement.commitment, calldata_of(theirs.proof)
            )
            fees = Fees(90 * 10**9, 80 * 10**9)
            signed = sign(
                stranger.account,
                chain_id=31337,
                nonce=0,
                gas=800_000,
                fees=fees,
                data=call.data,
                to=call.to,
            )
            stranger.send(signed.raw)
            chain.mine()

    with pytest.raises(ChainRefused) as refused:
        publish(submission, stage=overtake)

    assert refused.value.code == "already_registered"
    (row,) = rows()
    assert row.status == "reverted"
    assert row.gas_used
    record = registry.record_of(proved.statement.digest)
    assert record is not None
    assert record.submitter == stranger.sender


def test_a_tampered_proof_is_never_sent(publish: Publish, submission: Submission, proved: Proved) -> None:
    wrong = Proved(proved.statement, {**proved.proof, "a": ["0x1", "0x2"]})

    with pytest.raises(ChainRefused) as refused:
        publish(submission, wrong)

    assert refused.value.code == "proof_refused"
    assert rows() == []


def test_a_proof_that_is_none_is_refused(publish: Publish, submission: Submission, proved: Proved) -> None:
    wrong = Proved(proved.statement, {**proved.proof, "a": "nonsense"})

    with pytest.raises(ChainRefused) as refused:
        publish(submission, wrong)

    assert refused.value.code == "proof_refused"


def test_a_proof_for_another_submitter_is_refused(
    publish: Publish, submission: Submission, settings: Any
) -> None:
    settings.PRIVATE_KEY = STRANGER

    with pytest.raises(ChainRefused) as refused:
        publish(submission)

    assert refused.value.code == "proof_refused"


def test_an_address_without_a_contract_is_refused(publish: Publish, submission: Submission) -> None:
    with pytest.raises(ChainRefused) as refused:
        publish(submission, contract_address="0x" + "12" * 20)

    assert refused.value.code == "no_contract"


def test_a_contract_with_another_key_is_refused(
    publish: Publish, submission: Submission, proved: Proved
) -> None:
    other = Proved(proved.statement, {**proved.proof, "verifying_key": "0" * 64})

    with pytest.raises(ChainRefused) as refused:
        publish(submission, other)

    assert refused.value.code == "wrong_contract"


def test_a_contract_of_another_kind_is_refused(
    publish: Publish, submission: Submission, chain: Chain
) -> None:
    somewhere = "0x" + "34" * 20
    chain.ask("anvil_setCode", somewhere, "0x00")

    with pytest.raises(ChainRefused) as refused:
        publish(submission, contract_address=somewhere)

    assert refused.value.code == "wrong_contract"


def test_an_operators_record_by_somebody_else_is_refused(
    publish: Publish, submission: Submission, chain: Chain, settings: Any
) -> None:
    settings.PRIVATE_KEY = STRANGER
    stranger = Account.from_key(STRANGER).address
    chain.ask("anvil_setBalance", stranger, hex(10**18))

    with pytest.raises(ChainRefused) as refused:
        publish(submission, prove(system="plonk", submitter=stranger))

    assert refused.value.code == "not_operator"
    assert FIRST_KEY not in str(refused.value)


# --- Confirmations ---------------------------------------------------------------------------------


def test_it_waits_for_the_confirmations(
    publish: Publish, submission: Submission, chain: Chain, settings: Any
) -> None:
    settings.CHAIN_CONFIRMATIONS = 3
    mined: list[int] = []

    def mine() -> None:
        if rows() and rows()[0].status == "pending" and mined_of(chain):
            chain.mine()
            mined.append(1)

    publish(submission, checkpoint=mine)

    assert len(mined) == 2


def test_too_few_confirmations_are_said_so(
    publish: Publish, submission: Submission, chain: Chain, settings: Any
) -> None:
    settings.CHAIN_CONFIRMATIONS, settings.CHAIN_RECEIPT_SECONDS = 2, 0

    with pytest.raises(ChainUnavailable, match="No block has taken|has not had 2 confirmations"):
        publish(submission)

    assert statuses() == ["pending"]


def test_a_reorganised_chain_gets_it_again(
    publish: Publish, submission: Submission, chain: Chain, registry: Registry, proved: Proved, settings: Any
) -> None:
    settings.CHAIN_CONFIRMATIONS = 2
    seen: list[int] = []
    snapshot = chain.ask("evm_snapshot")

    def reorganise() -> None:
        """Once it is in a block, that block is gone; then the chain goes on."""
        if not seen and mined_of(chain):
            chain.ask("evm_revert", snapshot)
            assert registry.record_of(proved.statement.digest) is None
            seen.append(1)
        elif seen and mined_of(chain):
            chain.mine()

    registration = publish(submission, checkpoint=reorganise)

    assert seen
    assert mined_of(chain) == [registration.transaction_id]
    assert registry.record_of(proved.statement.digest) is not None
    assert statuses() == ["mined"]


def test_an_inner_transaction_is_a_mistake_of_ours(chain: Chain, proved: Proved, tenant: Tenant) -> None:
    """The network never happens inside one, and what is signed must be committed before it is sent."""
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        register(
            Purpose.of_submission(make_published(proved)),
            proved.statement,
            proved.proof,
            contract_address=chain.contract_address,
            stage=lambda name, seconds: None,
            checkpoint=lambda: None,
        )
