"""A submission outlives the processes that work on it: proved once, and published by one transaction."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from attestations.chain.local_state import keep_copy
from config.local_chain import FIRST_KEY
from tests.attestations.chain.chains import SENDER, Chain
from tests.faults.books import check_books
from tests.faults.conftest import Platform, children, eventually

pytestmark = pytest.mark.faults

DIGEST = hashlib.sha256(b"a picture").hexdigest()
SUBMIT = f"""
from attestations.services.submissions import NewSubmission, submit
from jobs.tenancy.services import create_tenant
submit(create_tenant("acme"), NewSubmission(sha256_hash={DIGEST!r}, is_approved=True), actor_id="tests")
"""
GENERATING, PUBLISHING = "proof-generation", "proof-publishing"
DEPLOYED = 1  # transactions of the sender before anything is published


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tests of this module keep the proof keys that the first of them makes."""
    return tmp_path_factory.mktemp("proof_keys")


@pytest.fixture
def prepared(platform: Platform, keys: Path) -> Platform:
    """A platform with short leases, its database up, and no chain."""
    for name in ("CHAIN_RPC_URL", "PRIVATE_KEY", "CONTRACT_ADDRESS"):
        platform.env.pop(name, None)
    platform.env |= {"LEASE_SECONDS": "3", "PROOF_KEYS_DIR": str(keys)}
    platform.hold()
    return platform


@pytest.fixture
def chain(prepared: Platform, tmp_path: Path) -> Iterator[Chain]:
    """A real chain with a registry, on which the platform publishes."""
    chain = Chain(tmp_path / "chain")
    prepared.env |= {"CHAIN_RPC_URL": chain.url, "PRIVATE_KEY": FIRST_KEY}
    prepared.env["CONTRACT_ADDRESS"] = prepared.manage("deploy_registry")
    yield chain
    chain.process.kill()
    chain.process.wait()


def start_cluster(platform: Platform, queue: str) -> subprocess.Popen[bytes]:
    return platform.start("manage.py", "qcluster", Q_CLUSTER_NAME=queue)


def kill(cluster: subprocess.Popen[bytes]) -> None:
    """End every process of a cluster at once, as the kernel does when there is no memory left."""
    os.killpg(cluster.pid, signal.SIGKILL)
    cluster.wait()


def submission(platform: Platform) -> dict[str, Any]:
    return platform.query("SELECT * FROM attestations_submission")[0]


def wait_for_submission(platform: Platform, status: str) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        row = submission(platform)
        return row if row["status"] == status else None

    row: dict[str, Any] = eventually(found, within=40, what=f"{status} of the submission")
    return row


def transactions(platform: Platform) -> list[dict[str, Any]]:
    return platform.query("SELECT * FROM attestations_chaintransaction ORDER BY id")


def check_published_once(platform: Platform, chain: Chain, transaction_id: str) -> None:
    """One transaction of ours is on the chain, the one that was signed first, and all attempts are attested."""
    row = submission(platform)
    assert (row["status"], row["transaction_id"], row["proof_json"]) == ("complete", transaction_id, "")
    (sent,) = transactions(platform)
    assert (sent["status"], sent["transaction_id"]) == ("mined", transaction_id)
    assert int(chain.ask("eth_getTransactionCount", SENDER, "pending"), 16) == DEPLOYED + 1
    assert transaction_id in platform.manage("chain_record", DIGEST)
    check_books(platform, jobs=2)
    attempts = platform.query("SELECT kind, attempt FROM jobs_job WHERE step_index IS NOT NULL ORDER BY id")
    assert [job["attempt"] for job in attempts] == [1, 2]


def test_a_publisher_killed_after_sending_sends_no_second_transaction(
    prepared: Platform, chain: Chain
) -> None:
    chain.ask("evm_setAutomine", False)
    prepared.manage("shell", "-v", "0", "-c", SUBMIT)
    start_cluster(prepared, GENERATING)
    publisher = start_cluster(prepared, PUBLISHING)
    (sent,) = eventually(lambda: transactions(prepared), within=40, what="a transaction")
    eventually(
        lambda: chain.ask("eth_getTransactionByHash", sent["transaction_id"]), within=30, what="its sending"
    )

    kill(publisher)
    proof = submission(prepared)["proof_json"]
    start_cluster(prepared, PUBLISHING)
    eventually(
        lambda: submission(prepared)["publishing_retry_count"] == 1, within=30, what="a second attempt"
    )
    assert (submission(prepared)["status"], submission(prepared)["proof_json"]) == ("proof_publishing", proof)
    chain.ask("evm_setAutomine", True)
    chain.mine()

    wait_for_submission(prepared, "complete")
    check_published_once(prepared, chain, sent["transaction_id"])


def test_a_publisher_killed_before_sending_sends_what_it_had_signed(prepared: Platform, chain: Chain) -> None:
    saved = bytes.fromhex(chain.ask("anvil_dumpState").removeprefix("0x"))
    prepared.manage("shell", "-v", "0", "-c", SUBMIT)
    start_cluster(prepared, GENERATING)
    publisher = start_cluster(prepared, PUBLISHING)

    with psycopg.connect(prepared.database_url) as holding:
        # Nothing can be stored until the node has stopped answering, and nothing is sent before it is stored.
        holding.execute("LOCK TABLE attestations_chaintransaction IN EXCLUSIVE MODE")
        eventually(lambda: is_storing(prepared), within=40, what="a signed transaction")
        chain.process.send_signal(signal.SIGSTOP)
    (signed,) = eventually(lambda: transactions(prepared), within=30, what="its row")
    kill(publisher)
    # What waits in the frozen node's socket dies with it.
    chain.process.kill()
    chain.process.wait()
    keep_copy(chain.folder, saved)
    again = Chain(chain.folder, chain.port)
    try:
        assert again.ask("eth_getTransactionByHash", signed["transaction_id"]) is None
        start_cluster(prepared, PUBLISHING)

        wait_for_submission(prepared, "complete")
        check_published_once(prepared, again, signed["transaction_id"])
    finally:
        again.stop()


def is_storing(platform: Platform) -> bool:
    """Whether somebody waits to insert a transaction."""
    waiting = platform.query(
        """
        SELECT count(*) AS n FROM pg_stat_activity
         WHERE wait_event_type = 'Lock' AND strpos(query, 'attestations_chaintransaction') > 0
           AND pid <> pg_backend_pid()
        """
    )
    return bool(waiting[0]["n"])


def test_a_killed_provers_proof_is_made_by_another_and_no_process_is_left(prepared: Platform) -> None:
    prepared.manage("shell", "-v", "0", "-c", SUBMIT)
    generator = start_cluster(prepared, GENERATING)
    child = eventually(lambda: find_child(generator), within=40, what="a process that makes a proof")
    child.suspend()
    assert submission(prepared)["proof_json"] == ""

    kill(generator)

    eventually(lambda: not child.is_running(), within=15, what="the end of the proving process")
    start_cluster(prepared, GENERATING)
    row = wait_for_submission(prepared, "proof_publishing")
    assert (row["generation_retry_count"], len(row["proof_digest"])) == (1, 64)
    keys_of_attempts = prepared.query(
        "SELECT attestation_key FROM attestations_attestation WHERE entity_type = 'job' ORDER BY id"
    )
    assert [row["attestation_key"].split(":")[0] for row in keys_of_attempts] == [
        "worker-failure",
        "worker-completion",
    ]


def find_child(cluster: subprocess.Popen[bytes]) -> psutil.Process | None:
    """The process that makes a proof for a cluster, once it has begun to work."""
    for process in children(cluster):
        try:
            if "attestations.proofs.child" in process.cmdline() and process.cpu_times().user > 0.2:
                return process
        except psutil.NoSuchProcess:
            continue
    return None
