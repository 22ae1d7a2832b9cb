"""A digest is registered once, by one mined transaction, whatever an earlier attempt left behind."""

from __future__ import annotations

from attestations.chain.client import Registry
from attestations.models import ChainTransaction, Submission
from tests.attestations.chain.chains import SENDER
from tests.attestations.chain.conftest import Publish
from tests.attestations.chain.proving import Proved


def test_a_proof_is_registered_and_the_contract_shows_it(
    publish: Publish, submission: Submission, registry: Registry, proved: Proved
) -> None:
    stages: dict[str, float] = {}

    registration = publish(submission, stage=stages.__setitem__)

    record = registry.record_of(proved.statement.digest)
    assert record is not None
    assert (record.commitment, record.submitter) == (proved.statement.commitment, SENDER)
    assert record.is_verified_on_chain
    assert registration.is_verified_on_chain
    assert registration.explorer_url is None
    row = ChainTransaction.objects.get()
    assert (row.status, row.transaction_id) == ("mined", registration.transaction_id)
    assert (row.block_number, row.gas_used) == (registration.block_number, registration.gas_used)
    assert row.ended_at
    assert stages.keys() == {"send", "confirm"}
