"""The chain that `manage.py up` runs: it is there when the platform is ready, comes back when killed, keeps its state."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from typing import Any

import psutil
import pytest
import requests

from attestations.chain.local import find_anvil
from tests.faults.conftest import Platform, children, eventually

needs_anvil = pytest.mark.skipif(
    find_anvil() is None and not os.environ.get("CI"), reason="anvil is not installed: make setup, with npm"
)
pytestmark = [pytest.mark.faults, needs_anvil]


def ask(url: str, method: str, *params: Any) -> Any:
    """The node's answer; None while there is none."""
    question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    try:
        return requests.post(url, json=question, timeout=5).json()["result"]
    except (requests.RequestException, ValueError, KeyError):
        return None


def chain_of(platform: Platform) -> dict[str, str]:
    """What the running platform notes of its chain."""
    noted: dict[str, str] = json.loads((platform.folder / "chain" / "running.json").read_text())
    return noted


def anvil_of(platform: Platform) -> psutil.Process:
    return next(process for process in children(platform.up) if process.name() == "anvil")


def publisher_of(platform: Platform) -> psutil.Process | None:
    """The cluster that publishes; None while there is none."""
    for process in children(platform.up):
        with contextlib.suppress(psutil.Error):
            if (
                "qcluster" in process.cmdline()
                and process.environ().get("Q_CLUSTER_NAME") == "proof-publishing"
            ):
                return process
    return None


def has_contract(known: dict[str, str]) -> bool:
    return len(ask(known["CHAIN_RPC_URL"], "eth_getCode", known["CONTRACT_ADDRESS"], "latest") or "") > 2


@pytest.fixture(autouse=True)
def _with_its_chain(platform: Platform) -> None:
    platform.env["LOCAL_CHAIN"] = "true"


def test_a_killed_chain_comes_back_where_it_was_with_its_contract(platform: Platform) -> None:
    platform.start_up()
    known = chain_of(platform)
    assert has_contract(known)
    first = anvil_of(platform)
    eventually(
        (platform.folder / "chain" / "state.copy.json.gz").exists, within=30, what="a copy of its state"
    )

    first.kill()

    eventually(lambda: has_contract(known), within=60, what="the chain with its contract")
    assert anvil_of(platform).pid != first.pid


def test_a_chain_that_has_lost_its_state_gets_its_contract_again(platform: Platform) -> None:
    platform.start_up()
    known, folder = chain_of(platform), platform.folder / "chain"

    first = anvil_of(platform)
    os.kill(platform.up.pid, signal.SIGSTOP)
    try:
        first.kill()
        (folder / "state.copy.json.gz").unlink(missing_ok=True)
        (folder / "state.json").write_text('{"block": {"num')
    finally:
        os.kill(platform.up.pid, signal.SIGCONT)

    eventually(lambda: has_contract(known), within=60, what="the chain with its contract")
    assert anvil_of(platform).pid != first.pid
    assert (folder / "state.damaged").exists()
    assert chain_of(platform) == known


def test_processes_that_know_another_contract_are_restarted(platform: Platform) -> None:
    platform.start_up()
    before, first = chain_of(platform), publisher_of(platform)
    (platform.folder / "chain" / "contract_address").write_bytes(b"\xff\xfe")

    anvil_of(platform).kill()

    def knows_another() -> bool:
        found = publisher_of(platform)
        return found is not None and found.environ()["CONTRACT_ADDRESS"] != before["CONTRACT_ADDRESS"]

    eventually(knows_another, within=90, what="a publisher that knows the new contract")
    after = chain_of(platform)
    assert has_contract(after)
    assert first is not None
    assert publisher_of(platform) != first


def test_the_chain_is_kept_over_a_restart_of_the_platform(platform: Platform) -> None:
    platform.start_up()
    before = chain_of(platform)
    first = anvil_of(platform)
    platform.up.send_signal(signal.SIGTERM)
    platform.up.wait(60)
    assert not first.is_running()

    platform.start_up()

    after = chain_of(platform)
    assert after["CONTRACT_ADDRESS"] == before["CONTRACT_ADDRESS"]
    assert has_contract(after)
    assert ask(after["CHAIN_RPC_URL"], "eth_blockNumber") == "0x1"


def test_the_publishers_know_the_chain_and_the_chain_ends_with_the_platform(platform: Platform) -> None:
    platform.start_up()
    known, chain, publisher = chain_of(platform), anvil_of(platform), publisher_of(platform)

    assert publisher is not None
    assert {name: publisher.environ()[name] for name in known} == known

    platform.up.kill()
    chain.wait(20)


def test_without_a_local_chain_the_platform_is_ready_all_the_same(platform: Platform) -> None:
    platform.env["LOCAL_CHAIN"] = "false"

    platform.start_up()

    assert not [process for process in children(platform.up) if process.name() == "anvil"]
