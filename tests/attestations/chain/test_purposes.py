"""A transaction is for a submission, a proof session or nobody, and whether anybody wants it follows from that."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError
from django.utils import timezone

from attestations.chain.purposes import ABANDONED, OVER, Purpose
from attestations.chain.transactions import sent_for, waiting_before
from attestations.models import ChainTransaction
from jobs.forensics.timeline import forensics_of
from jobs.models import Tenant, Workflow
from tests.factories import make_submission, make_tenant, make_transaction, make_workflow


def make_session(tenant: Tenant, **fields: Any) -> Workflow:
    return make_workflow(tenant, kind="proof", session_id="s-1", **fields)


def wanted_of_each_kind(tenant: Tenant) -> list[ChainTransaction]:
    return [
        make_transaction(make_submission(tenant, status="proof_publishing"), nonce=1),
        make_transaction(workflow=make_session(tenant), nonce=2),
        make_transaction(nonce=3),
    ]


def unwanted_of_each_kind(tenant: Tenant) -> list[ChainTransaction]:
    forgotten = make_session(tenant, status="completed")
    rows = [
        make_transaction(make_submission(tenant, status="complete"), nonce=11),
        make_transaction(make_submission(tenant, status="rejected"), nonce=12),
        make_transaction(workflow=make_session(tenant, status="completed"), nonce=13),
        make_transaction(workflow=make_session(tenant, status="failed"), nonce=14),
        make_transaction(workflow=make_session(tenant, status="cancelled"), nonce=15),
        make_transaction(workflow=forgotten, nonce=16),
        make_transaction(created_at=timezone.now() - timedelta(hours=2), nonce=17),
    ]
    forgotten.delete()
    return rows


def test_what_is_over_is_told_from_what_is_wanted(tenant: Tenant) -> None:
    wanted, unwanted = wanted_of_each_kind(tenant), unwanted_of_each_kind(tenant)

    assert set(ChainTransaction.objects.filter(OVER)) == set(unwanted)
    assert set(ChainTransaction.objects.filter(ABANDONED)) == set(unwanted)
    assert set(ChainTransaction.objects.exclude(ABANDONED)) == set(wanted)


def test_a_skipped_submission_is_abandoned_and_not_over(tenant: Tenant) -> None:
    skipped = make_submission(tenant, status="proof_publishing", skipped_reason="no chain configured")
    row = make_transaction(skipped)

    assert list(ChainTransaction.objects.filter(ABANDONED)) == [row]
    assert not ChainTransaction.objects.filter(OVER).exists()


def test_only_what_is_wanted_is_sent_for_those_that_come_after(tenant: Tenant) -> None:
    wanted = wanted_of_each_kind(tenant)
    unwanted_of_each_kind(tenant)

    assert waiting_before(make_transaction(nonce=30), first=0) == wanted


def test_a_digests_transactions_are_found_whatever_of_its_tenants_they_were_for(tenant: Tenant) -> None:
    submission, session = make_submission(tenant), make_session(tenant)
    digest = {"sha256_hash": submission.sha256_hash}
    mine = [make_transaction(submission), make_transaction(workflow=session, **digest)]
    by_hand = make_transaction(**digest)
    make_transaction(workflow=make_session(make_tenant()), **digest)
    make_transaction(workflow=session)
    place = {"chain_id": by_hand.chain_id, "contract_address": by_hand.contract_address}

    assert sent_for(Purpose.of_submission(submission), **place) == mine[::-1]
    assert sent_for(Purpose.of_session(session, submission.sha256_hash), **place) == mine[::-1]
    assert sent_for(Purpose(sha256_hash=submission.sha256_hash), **place) == [by_hand]


def test_a_rows_purpose_is_the_one_that_it_was_signed_for(tenant: Tenant) -> None:
    submission, session = make_submission(tenant), make_session(tenant)

    assert Purpose.of_row(make_transaction(submission)) == Purpose.of_submission(submission)
    assert Purpose.of_row(make_transaction(workflow=session, sha256_hash="ab" * 32)) == Purpose.of_session(
        session, "ab" * 32
    )
    assert Purpose.of_row(make_transaction(sha256_hash="ab" * 32)) == Purpose(sha256_hash="ab" * 32)


@pytest.mark.parametrize("wrong", ["both", "of nobody's tenant", "by hand for a tenant"])
def test_the_database_refuses_what_is_for_nothing_that_there_is(tenant: Tenant, wrong: str) -> None:
    submission, session = make_submission(tenant), make_session(tenant)

    with pytest.raises(IntegrityError, match="transaction_of_one_purpose"):
        match wrong:
            case "both":
                make_transaction(submission, workflow=session)
            case "of nobody's tenant":
                make_transaction(workflow=session, tenant=None)
            case _:
                make_transaction(tenant=tenant)


def test_the_database_refuses_what_is_no_digest(tenant: Tenant) -> None:
    with pytest.raises(IntegrityError, match="transaction_hash_is_sha256"):
        make_transaction(sha256_hash="AB" * 32)


def test_a_sessions_timeline_tells_of_its_transactions(tenant: Tenant) -> None:
    session = make_session(tenant)
    later = timezone.now() + timedelta(minutes=1)
    row = make_transaction(workflow=session, status="mined", block_number=7, ended_at=later)
    make_transaction(workflow=make_session(tenant))

    moments = [each for each in forensics_of(session).moments if each.type.startswith("transaction_")]

    assert [each.type for each in moments] == ["transaction_signed", "transaction_ended"]
    assert {each.data["transaction_id"] for each in moments} == {row.transaction_id}
