"""Several publishers with one key, and publishers that are killed: each digest is mined once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connection

from attestations.models import ChainTransaction, Submission
from tests.attestations.chain.chains import Chain
from tests.attestations.chain.conftest import Publish, make_published
from tests.attestations.chain.proving import Proved, prove
from tests.attestations.chain.test_registering import mined_of, statuses

KILLED_PUBLISHER = """
import json, os, signal, sys
import django
django.setup()
from attestations.chain.purposes import Purpose
from attestations.chain.registering import register
from attestations.models import Submission
from attestations.proofs.protocol import Statement

moment, calls = sys.argv[2], iter(range(1, 100))
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
submission = Submission.objects.get(pk=sys.argv[1])
register(
    Purpose.of_submission(submission),
    Statement(
        commitment=int(submission.commitment, 16),
        digest=bytes.fromhex(submission.sha256_hash),
        submitter=submission.submitter,
    ),
    json.loads(submission.proof_json),
    contract_address=os.environ["CONTRACT_ADDRESS"],
    stage=lambda name, seconds: die() if (moment, name) == ("sent", "send") else None,
    checkpoint=lambda: die() if (moment, next(calls)) == ("stored", 2) else None,
)
"""


def kill_a_publisher(submission: Submission, chain: Chain, moment: str) -> None:
    """Run a publisher in a process that is killed once its transaction is `stored`, or `sent`."""
    database = urlsplit(settings.DATABASE_URL)._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": database,
        "SECRET_KEY": settings.SECRET_KEY,
        "ENCRYPTION_KEYS": ",".join(settings.ENCRYPTION_KEYS),
        "PROOF_KEYS_DIR": str(settings.PROOF_KEYS_DIR),
        "CHAIN_RPC_URL": chain.url,
        "PRIVATE_KEY": settings.PRIVATE_KEY,
        "CONTRACT_ADDRESS": chain.contract_address,
    }
    done = subprocess.run(
        [sys.executable, "-c", KILLED_PUBLISHER, str(submission.pk), moment],
        cwd=settings.BASE_DIR,
        env=env,
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2_000:]


@pytest.mark.parametrize("moment", ["stored", "sent"])
def test_a_killed_publishers_transaction_is_the_only_one(
    publish: Publish, submission: Submission, chain: Chain, moment: str
) -> None:
    kill_a_publisher(submission, chain, moment)
    (left,) = ChainTransaction.objects.all()
    assert left.status == "pending"

    registration = publish(submission)

    assert registration.transaction_id == left.transaction_id
    assert mined_of(chain) == [left.transaction_id]
    assert statuses() == ["mined"]


def test_eight_publishers_share_one_key(transactional_db: None, publish: Publish, chain: Chain) -> None:
    proofs = [prove(f"picture {number}".encode()) for number in range(8)]
    work = [(make_published(what), what) for what in proofs]

    with ThreadPoolExecutor(len(work)) as pool:
        registrations = list(pool.map(lambda item: _publish_in_thread(publish, *item), work))

    assert sorted(mined_of(chain)) == sorted(registration.transaction_id for registration in registrations)
    mined = ChainTransaction.objects.filter(status="mined")
    assert len(mined) == len({row.nonce for row in mined}) == 8
    # One that took a nonce just as it was mined has given it up and taken another.
    assert set(statuses()) <= {"mined", "dropped"}


def test_eight_publishers_of_one_submission_leave_one_record(
    publish: Publish, submission: Submission, chain: Chain, proved: Proved
) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: _publish_in_thread(publish, submission, proved), range(8)))

    assert len({registration.transaction_id for registration in found}) == 1
    assert "pending" not in statuses()


def _publish_in_thread(publish: Publish, submission: Submission, what: Proved) -> Any:
    try:
        return publish(submission, what)
    finally:
        connection.close()
