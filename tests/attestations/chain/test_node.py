"""A node that is away, busy or talks nonsense: try again later, and never a word of its address or of the key."""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import time
import traceback
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from attestations.chain import configuration, rpc
from attestations.chain.client import open_node, open_registry
from attestations.chain.errors import ChainNotConfigured, ChainRefused, ChainUnavailable
from jobs.demo.processes import free_port
from tests.attestations.chain.chains import FIRST_KEY, SENDER, Chain, running_anvil
from tests.attestations.chain.proxies import lying
from tests.receivers import Conversation, Receiver, answer, slow_body, slow_chunks

API_KEY = "k3y-of-the-operator"
ADDRESS = "0x" + "12" * 20


def rpc_answer(body: bytes) -> Any:
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
        rpc_answer(b"[]"),
        rpc_answer(b'{"jsonrpc": "2.0", "id": 0}'),
        rpc_answer(b'{"jsonrpc": "2.0", "id": 0, "result": "garbage"}'),
        rpc_answer(b'{"jsonrpc": "2.0", "id": 0, "result": null}'),
        rpc_answer(b'{"jsonrpc": "2.0", "id": 0, "result": {"a": 1}}'),
        rpc_answer(b'{"jsonrpc": "2.0", "id": 0, "result": -7}'),
        rpc_answer(b'{"jsonrpc": "2.0", "id": 0, "error": "no"}'),
        rpc_answer(
            b'{"jsonrpc": "2.0", "id": 0, "error": {"code": -32005, "message": "limit of /v3/k3y-of-the-operator"}}'
        ),
        rpc_answer(b"\xff\xfe"),
        rpc_answer(b"[" * 100_000),
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
    with Receiver(rpc_answer(json.dumps({"jsonrpc": "2.0", "id": 0, "result": block}).encode())) as node:
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


@pytest.mark.parametrize("behaviour", [slow_body(), slow_chunks()])
def test_an_answer_that_drips_is_given_up_in_time(
    configured: Any, monkeypatch: pytest.MonkeyPatch, behaviour: Any
) -> None:
    monkeypatch.setattr(rpc, "TOTAL_SECONDS", 2.5)
    with Receiver(behaviour) as node:
        configured.CHAIN_RPC_URL = node.url
        began = time.monotonic()

        with pytest.raises(ChainUnavailable, match="has not answered within"):
            open_registry()

    assert time.monotonic() - began < 4


def test_a_node_is_asked_over_one_connection_that_is_closed_when_nobody_needs_it(configured: Any) -> None:
    seen: list[int] = []
    yes = rpc_answer(b'{"jsonrpc": "2.0", "id": 0, "result": "0x7"}')

    async def counting(conversation: Conversation) -> bool:
        seen.append(conversation.number)
        return bool(await yes(conversation))

    with Receiver(counting) as receiver:
        configured.CHAIN_RPC_URL = receiver.url
        descriptors = len(os.listdir("/proc/self/fd"))
        gc.disable()
        try:
            for _ in range(5):
                node = open_node()
                assert (node.block_number(), node.chain_id) == (7, 7)
                del node
            # One at most, of the server's, which learns of the end a moment later.
            assert len(os.listdir("/proc/self/fd")) < descriptors + 3
        finally:
            gc.enable()

    assert seen == [1, 2] * 5


@pytest.mark.parametrize(
    "path", ["/v3/s3cr%2Ft%2Bkey%3Dabc", "/v3/k3yk3y7", "/?key=k3yk3y7", "/?s3cr%2ft%2bkey%3dabc"]
)
def test_a_key_that_the_node_quotes_is_hidden(configured: Any, path: str) -> None:
    quoted = "K3YK3Y7 or k3yk3y7, s3cr/t+key=abc or s3cr%2Ft%2Bkey%3Dabc: which?"
    error = json.dumps({"jsonrpc": "2.0", "id": 0, "error": {"code": -32001, "message": quoted}})
    with Receiver(rpc_answer(error.encode())) as node:
        configured.CHAIN_RPC_URL = node.url + path

        with pytest.raises(ChainUnavailable) as problem:
            open_registry()

    shown = all_of(problem.value).lower()
    assert (quoted[:7].lower() in shown) == ("k3y" not in path)
    assert ("s3cr" in shown) == ("s3cr" not in path)
    assert "which?" in shown


def test_the_contracts_reason_is_known_though_the_address_has_its_words(configured: Any) -> None:
    error = {"code": 3, "message": "execution reverted: not the operator", "data": "0x"}
    body = json.dumps({"jsonrpc": "2.0", "id": 0, "error": error}).encode()
    with Receiver(rpc_answer(body)) as node:
        configured.CHAIN_RPC_URL = node.url.replace("http://", "http://operator:secret@")

        with pytest.raises(ChainRefused) as refused:
            open_node().estimate(data="0x")

    assert refused.value.code == "not_operator"


def test_what_is_short_is_hidden_as_a_word_only(configured: Any) -> None:
    configured.CHAIN_RPC_URL = "https://op:ran@node.example/v1"

    shown = configuration.without_secrets("op is not the operator of v1, nor ran it; v12 of node.example")

    assert shown == "… is not the operator of …, nor … it; v12 of …"


def test_the_key_is_hidden_however_it_is_written(configured: Any) -> None:
    configured.CHAIN_RPC_URL = "http://127.0.0.1:1"

    assert configuration.without_secrets(f"key {FIRST_KEY[2:].upper()}!") == "key …!"


@pytest.mark.parametrize("number", [hex(2**70), "-0x1", hex(2**63)])
@pytest.mark.parametrize("method", ["eth_chainId", "eth_blockNumber", "eth_getTransactionCount"])
def test_a_number_that_no_chain_has_is_nonsense(
    chain: Chain, configured: Any, method: str, number: str
) -> None:
    def lie(asked: str, _: Any, __: int) -> Any:
        return {"result": number} if asked == method else None

    with lying(chain.url, lie) as url:
        configured.CHAIN_RPC_URL = url
        node = open_node()

        with pytest.raises(ChainUnavailable, match="makes no sense"):
            _ = node.chain_id, node.block_number(), node.transaction_counts()


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
