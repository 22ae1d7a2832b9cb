"""`manage.py deploy_registry` prints an address, keeps what is good, and refuses without a chain."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from attestations.chain.client import open_registry
from attestations.chain.local import is_deployed
from tests.attestations.chain.chains import FIRST_KEY, SENDER, Chain
from tests.attestations.chain.proxies import lying


def deploy(*arguments: str) -> tuple[str, str]:
    """What it printed, and what it said beside."""
    out, err = io.StringIO(), io.StringIO()
    call_command("deploy_registry", *arguments, stdout=out, stderr=err)
    return out.getvalue().strip(), err.getvalue()


def test_it_prints_the_address_alone_and_the_cost_beside(chain: Chain) -> None:
    address, said = deploy()

    registry = open_registry(address)
    assert registry.address == address
    assert registry.operator() == SENDER
    assert " gas, 0.00" in said
    assert is_deployed(chain.url, address)


def test_one_with_the_same_key_is_kept(chain: Chain) -> None:
    assert deploy("--if-missing") == (chain.contract_address, "")


def test_one_is_deployed_where_none_stands(chain: Chain, settings: Any) -> None:
    settings.CONTRACT_ADDRESS = "0x" + "12" * 20
    assert not is_deployed(chain.url, settings.CONTRACT_ADDRESS)

    address, said = deploy("--if-missing")

    assert address not in (settings.CONTRACT_ADDRESS, chain.contract_address)
    assert said


@pytest.mark.parametrize("missing", ["CHAIN_RPC_URL", "PRIVATE_KEY"])
def test_without_a_chain_it_is_refused(settings: Any, missing: str) -> None:
    settings.CHAIN_RPC_URL, settings.PRIVATE_KEY = "http://127.0.0.1:1", FIRST_KEY
    setattr(settings, missing, "")

    with pytest.raises(CommandError, match="CHAIN_RPC_URL and PRIVATE_KEY must be set"):
        deploy()


def test_an_account_without_ether_is_said_so(chain: Chain) -> None:
    chain.ask("anvil_setBalance", SENDER, "0x0")

    with pytest.raises(CommandError, match=f"{SENDER} has 0.000000000 ether"):
        deploy()


def test_a_deployment_that_is_late_is_named_and_not_paid_twice(chain: Chain, settings: Any) -> None:
    chain.ask("evm_setAutomine", False)
    settings.CHAIN_RECEIPT_SECONDS = 0
    with pytest.raises(CommandError, match="No block has taken the deployment") as late:
        deploy()
    address = re.findall(r"0x[0-9a-fA-F]{40}\b", str(late.value))[-1]
    (waiting,) = chain.ask("txpool_content")["pending"].popitem()[1].values()
    assert waiting["hash"] in str(late.value)

    with pytest.raises(CommandError, match=r"wait for a block \(1\)") as refused:
        deploy()
    chain.mine()

    assert address in str(refused.value)
    settings.CONTRACT_ADDRESS = address
    assert deploy("--if-missing") == (address, "")


def test_a_question_that_fails_while_waiting_does_not_end_it(chain: Chain, settings: Any) -> None:
    def busy(method: str, _: Any, count: int) -> Any:
        return (429, b"") if method == "eth_getTransactionReceipt" and count == 1 else None

    with lying(chain.url, busy) as url:
        settings.CHAIN_RPC_URL = url
        address, _ = deploy()

    assert is_deployed(chain.url, address)


def test_a_deployment_that_may_have_been_sent_is_named(chain: Chain, settings: Any) -> None:
    def swallowed(method: str, _: Any, __: int) -> Any:
        return (lambda answer: "gone") if method == "eth_sendRawTransaction" else None

    with lying(chain.url, swallowed) as url:
        settings.CHAIN_RPC_URL = url
        with pytest.raises(CommandError, match="may have been sent") as unknown:
            deploy()

    address = re.findall(r"0x[0-9a-fA-F]{40}\b", str(unknown.value))[-1]
    chain.mine()
    assert is_deployed(chain.url, address)
