"""A node that is away, busy or talks nonsense: try again later, and never a word of its address or of the key."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from attestations.chain import configuration
from attestations.chain.client import open_node, open_registry
from attestations.chain.errors import ChainNotConfigured, ChainUnavailable
from jobs.demo.processes import free_port
from tests.attestations.chain.chains import FIRST_KEY, SENDER, Chain, running_anvil
from tests.receivers import Receiver, answer

API_KEY = "k3y-of-the-operator"
ADDRESS = "0x" + "12" * 20


def rpc(body: bytes) -> Any:
    return answer(200, [("Content-Type", "application/json")], body)


@pytest.fixture
def configured(settings: Any) -> Any:
    settings.PRIVATE_KEY, settings.CONTRACT_ADDRESS = FIRST_KEY, ADDRESS
    return settings


def all_of(problem: BaseException) -> str:
    """What a log would show of it, the chain of causes included."""
    return "".join(traceback.format_exception(problem)) + repr(problem)


def test_a_node_that_is_down_is_unavailable_and_unnamed(configured: Any) -> None:
    configured.CHAIN_RPC_URL = f"http://user:{API_KEY}@127.0.0.1:{free_port()}/v3/{API_KEY}?key={API_KEY}"

    with pytest.raises(ChainUnavailable) as problem:
        open_registry()

    assert API_KEY not in all_of(problem.value)
    assert FIRST_KEY[2:] not in all_of(problem.value)
    assert "127.0.0.1" not in str(problem.value)


@pytest.mark.parametrize(
    "behaviour",
    [
        answer(429),
        answer(500, body=b"<h1>no</h1>"),
        answer(200, body=b"<h1>hello</h1>"),
        answer(200),
        answer(302, [("Location", "http://127.0.0.1:1/")]),
        rpc(b"[]"),
        rpc(b'{"jsonrpc": "2.0", "id": 0}'),
        rpc(b'{"jsonrpc": "2.0", "id": 0, "result": "garbage"}'),
        rpc(b'{"jsonrpc": "2.0", "id": 0, "result": null}'),
        rpc(b'{"jsonrpc": "2.0", "id": 0, "result": {"a": 1}}'),
        rpc(b'{"jsonrpc": "2.0", "id": 0, "result": -7}'),
        rpc(b'{"jsonrpc": "2.0", "id": 0, "error": "no"}'),
        rpc(
            b'{"jsonrpc": "2.0", "id": 0, "error": {"code": -32005, "message": "limit of /v3/k3y-of-the-operator"}}'
        ),
        rpc(b"\xff\xfe"),
        rpc(b"[" * 100_000),
    ],
)
def test_an_answer_of_no_use_is_unavailable(configured: Any, behaviour: Any) -> None:
    with Receiver(behaviour) as node:
        configured.CHAIN_RPC_URL = f"{node.url}/v3/{API_KEY}"

        with pytest.raises(ChainUnavailable) as problem:
            open_registry()

    assert API_KEY not in all_of(problem.value)


def test_blocks_that_authorities_sign_are_read(configured: Any) -> None:
    block = {"number": "0x1", "baseFeePerGas": "0x7", "extraData": "0x" + "ab" * 97}
    with Receiver(rpc(json.dumps({"jsonrpc": "2.0", "id": 0, "result": block}).encode())) as node:
        configured.CHAIN_RPC_URL = node.url

        assert open_node().base_fee() == 7


def test_it_follows_no_redirect_and_asks_once(configured: Any) -> None:
    with Receiver(answer(500)) as node:
        configured.CHAIN_RPC_URL = node.url

        with pytest.raises(ChainUnavailable):
            open_registry()

        assert len(node.requests) == 1
        assert node.requests[0].headers["user-agent"] == "Affidavit"


def test_no_proxy_or_netrc_of_the_environment_is_used(
    configured: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with Receiver(answer(500)) as node:
        configured.CHAIN_RPC_URL = node.url

        with pytest.raises(ChainUnavailable, match="500"):
            open_registry()

        assert "authorization" not in node.requests[0].headers


def test_an_address_that_is_none_is_said_without_it(configured: Any) -> None:
    configured.CHAIN_RPC_URL = f"not an address {API_KEY}"

    with pytest.raises(ChainUnavailable) as problem:
        open_registry()

    assert API_KEY not in all_of(problem.value)


def test_debug_logs_hold_no_address(chain: Chain, settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings.CHAIN_RPC_URL = f"{chain.url}/?key={API_KEY}"
    caplog.set_level(logging.DEBUG)

    open_registry().record_of(b"\1" * 32)

    assert API_KEY not in caplog.text


@pytest.mark.parametrize("missing", ["CHAIN_RPC_URL", "PRIVATE_KEY", "CONTRACT_ADDRESS"])
def test_what_is_not_configured_is_said_so(configured: Any, missing: str) -> None:
    configured.CHAIN_RPC_URL = "http://127.0.0.1:1"
    setattr(configured, missing, "")

    with pytest.raises(ChainNotConfigured, match="no chain configured"):
        open_registry()
    with pytest.raises(ChainNotConfigured, match="no chain configured"):
        configuration.submitter_address()


def test_the_submitter_is_the_keys_address(configured: Any) -> None:
    configured.CHAIN_RPC_URL = "http://127.0.0.1:1"

    assert configuration.submitter_address() == SENDER


@pytest.mark.parametrize(
    "key", ["hunter2-hunter2", "0x" + "0" * 64, "f" * 64, "0x" + "g" * 64, FIRST_KEY + "00"]
)
def test_a_malformed_key_is_not_shown(configured: Any, key: str) -> None:
    configured.CHAIN_RPC_URL, configured.PRIVATE_KEY = "http://127.0.0.1:1", key

    with pytest.raises(ImproperlyConfigured, match="PRIVATE_KEY") as problem:
        configuration.submitter_address()

    assert key not in all_of(problem.value)


def test_the_account_is_not_shown_either(configured: Any) -> None:
    assert FIRST_KEY[2:] not in repr(configuration.account())


def test_the_libraries_leave_the_recursion_limit_alone() -> None:
    """Raised as they raise it, deeply nested JSON ends the process."""
    assert sys.getrecursionlimit() < 5_000


def test_the_state_is_kept_over_a_restart(tmp_path: Any) -> None:
    with running_anvil(tmp_path) as first:
        first.ask("anvil_setBalance", ADDRESS, hex(5))
        sent = first.ask("eth_sendTransaction", {"from": SENDER, "to": ADDRESS, "value": "0x2"})
        while first.ask("eth_getTransactionReceipt", sent) is None:
            pass

    with running_anvil(tmp_path, first.port) as again:
        assert int(again.ask("eth_getBalance", ADDRESS, "latest"), 16) == 7
        assert again.ask("eth_getTransactionReceipt", sent)["status"] == "0x1"


def test_a_damaged_state_is_set_aside(tmp_path: Any) -> None:
    (tmp_path / "state.json").write_text('{"block": {"num')

    with running_anvil(tmp_path) as chain:
        assert chain.ask("eth_blockNumber") == "0x0"

    assert (tmp_path / "state.damaged").exists()
