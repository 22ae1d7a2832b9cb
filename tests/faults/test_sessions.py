"""A proof session ends in a true state, and those who watch it learn of it, whichever process is killed in mid-phase."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from tests.attestations.chain.chains import SENDER
from tests.faults.books import check_books
from tests.faults.conftest import Platform, children, eventually
from tests.faults.test_local_chain import ask, chain_of, needs_anvil
from tests.faults.watching import Watcher

pytestmark = pytest.mark.faults

PATIENCE_SECONDS = 90
DEPLOYED = 1  # transactions of the sender before anything is attested
DRAIN_SECONDS = 4
TOLD = """
SELECT type FROM jobs_event
 WHERE workflow_id IS NOT NULL AND type IN ('status', 'log', 'transaction', 'complete', 'error') ORDER BY id
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tests of this module keep the proof keys that the first of them makes."""
    return tmp_path_factory.mktemp("proof_keys")


@pytest.fixture
def url(request: pytest.FixtureRequest, platform: Platform, keys: Path) -> str:
    """The address of a running platform with a tenant, and with short leases; without a chain unless one is asked for."""
    for name in ("CHAIN_RPC_URL", "PRIVATE_KEY", "CONTRACT_ADDRESS"):
        platform.env.pop(name, None)
    platform.env |= {"LEASE_SECONDS": "3", "PROOF_KEYS_DIR": str(keys), "DRAIN_SECONDS": str(DRAIN_SECONDS)}
    platform.env["LOCAL_CHAIN"] = str(hasattr(request, "param")).lower()
    url = platform.start_up()
    platform.manage("create_tenant", "acme")
    return url


@pytest.fixture
def key(platform: Platform, url: str) -> str:
    return platform.manage("create_api_key", "acme", "--name", "t", "--scopes", "submit,read")


@pytest.fixture
def watcher(url: str, key: str) -> Watcher:
    """Whoever has started a session, and watches it."""
    watcher = Watcher(f"{url}/api/workflow?sessionId=s-1&proofType=groth16", key)
    watcher.start()
    return watcher


def program_of(platform: Platform, step: str) -> psutil.Process | None:
    """The program of a phase, frozen in the midst of it; None while there is none."""
    for process in children(platform.up):
        with contextlib.suppress(psutil.Error):
            if f"attestations.proofs.{step}" in process.cmdline():
                process.suspend()
                return process
    return None


def frozen(platform: Platform, step: str) -> psutil.Process:
    process: psutil.Process = eventually(
        lambda: program_of(platform, step), within=PATIENCE_SECONDS, what=f"the program {step}"
    )
    return process


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def steps(platform: Platform) -> list[tuple[str, int]]:
    """Status and attempts of each phase."""
    rows = platform.query(
        "SELECT status, attempt FROM jobs_job WHERE workflow_id IS NOT NULL ORDER BY step_index"
    )
    return [(row["status"], row["attempt"]) for row in rows]


def describe(url: str, key: str) -> dict[str, Any]:
    answer = httpx.get(
        f"{url}/api/workflow/sessions/s-1", headers={"Authorization": f"Bearer {key}"}, timeout=20
    )
    document: dict[str, Any] = answer.raise_for_status().json()
    return document


def check_told(platform: Platform, watcher: Watcher) -> None:
    """Its watcher has seen all that was stored, once and in order."""
    eventually(watcher.has_ended, within=PATIENCE_SECONDS, what="the end of the stream")
    assert [one.id for one in watcher.seen] == [str(place) for place in range(1, len(watcher.seen) + 1)]
    assert [one.event for one in watcher.seen] == [row["type"] for row in platform.query(TOLD)]


def test_a_phase_whose_worker_was_killed_runs_again(
    platform: Platform, url: str, key: str, watcher: Watcher
) -> None:
    program = frozen(platform, "verify")
    worker = program.parent()
    assert worker is not None

    worker.kill()

    eventually(lambda: is_gone(program), within=10, what="the end of its program")
    check_told(platform, watcher)
    assert watcher.seen[-1].event == "complete"
    assert steps(platform) == [("completed", 1), ("completed", 2), ("completed", 1)]
    assert describe(url, key)["verificationResults"]["circuitsVerified"] == 3
    check_books(platform, jobs=3)


@needs_anvil
@pytest.mark.parametrize("url", ["with its chain"], indirect=True)
def test_what_a_killed_phase_has_sent_is_not_sent_again(
    platform: Platform, url: str, key: str, watcher: Watcher
) -> None:
    program = frozen(platform, "attest")
    worker = program.parent()
    assert worker is not None
    with psycopg.connect(platform.database_url, autocommit=True) as connection:
        program.resume()
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while not connection.execute("SELECT 1 FROM attestations_chaintransaction").fetchone():
            assert time.monotonic() < ends_at, "nothing is sent"
            time.sleep(0.005)
        program.suspend()  # between the first transaction and the last

    worker.kill()

    check_told(platform, watcher)
    assert steps(platform) == [("completed", 1), ("completed", 1), ("completed", 2)]
    results = watcher.named("complete")[0]["attestationResults"]
    sent = platform.query("SELECT transaction_id, status FROM attestations_chaintransaction")
    assert [row["status"] for row in sent] == ["mined"] * 3
    hashes = {row["transaction_id"] for row in sent}
    assert hashes == {each["txHash"] for each in results["transactions"]}
    assert hashes == {each["txHash"] for each in watcher.named("transaction")}
    count = ask(chain_of(platform)["CHAIN_RPC_URL"], "eth_getTransactionCount", SENDER, "latest")
    assert int(count, 16) == DEPLOYED + 3
    check_books(platform, jobs=3)


def test_a_killed_program_is_an_error_of_which_those_learn_whose_web_process_was_killed_too(
    platform: Platform, url: str, key: str, watcher: Watcher
) -> None:
    program = frozen(platform, "verify")
    eventually(lambda: len(watcher.named("status")) >= 3, within=20, what="the second phase, told")
    connections = watcher.connections

    web = next(process for process in children(platform.up) if "web" in process.cmdline())
    for process in [web, *web.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):  # it may have died of the first one's death
            process.kill()
    program.kill()

    check_told(platform, watcher)
    assert watcher.connections > connections
    error = {"error": "verify was killed by signal 9", "phase": "verifying", "code": -1}
    assert (watcher.seen[-1].event, watcher.seen[-1].data) == ("error", error)
    assert steps(platform) == [("completed", 1), ("failed", 1), ("waiting", 0)]
    document = describe(url, key)
    assert (document["status"], document["progress"], document["error"]) == ("error", 33, error["error"])
    assert len(document["generatedProofs"]) == 3


def test_a_platform_that_is_stopped_in_mid_phase_goes_on_with_it_when_it_is_back(
    platform: Platform, url: str, key: str, watcher: Watcher
) -> None:
    program = frozen(platform, "verify")

    began = time.monotonic()
    platform.up.send_signal(signal.SIGTERM)
    platform.up.wait(DRAIN_SECONDS + 40)
    assert time.monotonic() - began < DRAIN_SECONDS + 20
    assert is_gone(program)
    again = platform.start_up()

    eventually(lambda: describe(again, key)["status"] != "running", within=PATIENCE_SECONDS, what="its end")
    assert steps(platform) == [("completed", 1), ("completed", 2), ("completed", 1)]
    second = Watcher(f"{again}/api/workflow?sessionId=s-1", key)
    assert not second.connect()
    assert second.seen[: len(watcher.seen)] == watcher.seen
    assert second.seen[-1].event == "complete"
