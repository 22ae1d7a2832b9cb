"""The chain that `manage.py up` keeps: nothing that is killed, cut short or written over costs it its state."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from attestations.chain import local
from attestations.chain.local import LocalChain, _read_address, is_deployed
from attestations.chain.local_state import COPY, STATE, keep_copy, restore_state
from config import local_chain
from jobs.local_services import NotServing
from tests.attestations.chain.chains import SENDER, Chain, running_anvil
from tests.receivers import Receiver, answer

OTHER = "0x" + "12" * 20


def state_of(block: int) -> bytes:
    return json.dumps({"best_block_number": block, "accounts": {}}).encode()


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Path:
    """The chain's, in a data folder of its own."""
    settings.DATA_DIR = tmp_path
    folder = tmp_path / "chain"
    folder.mkdir()
    return folder


@pytest.fixture
def deployable(proof_keys: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What deploys finds the run's keys; the notes that the test writes are let go of."""
    monkeypatch.setenv("PROOF_KEYS_DIR", str(proof_keys))
    yield
    for file in local_chain._held.values():
        file.close()
    local_chain._held.clear()


def pay(chain: Chain) -> str:
    """The id of a transaction that is in a block."""
    sent = str(chain.ask("eth_sendTransaction", {"from": SENDER, "to": OTHER, "value": "0x1"}))
    while chain.ask("eth_getTransactionReceipt", sent) is None:
        pass
    return sent


def kill(chain: Chain) -> None:
    chain.process.kill()
    chain.process.wait()


@pytest.mark.parametrize("damaged", [b"", b'{"block": {"num', b"\xff\xfe", b"null", b'{"accounts": {}}'])
def test_a_damaged_state_makes_way_for_the_copy(folder: Path, damaged: bytes) -> None:
    (folder / STATE).write_bytes(damaged)
    keep_copy(folder, gzip.compress(state_of(3)))

    restore_state(folder)

    assert (folder / STATE).read_bytes() == state_of(3)
    assert (folder / "state.damaged").read_bytes() == damaged


@pytest.mark.parametrize(("state", "copy", "kept"), [(2, 3, 3), (3, 2, 3), (0, 0, 0)])
def test_the_state_with_the_most_blocks_is_gone_on_from(
    folder: Path, state: int, copy: int, kept: int
) -> None:
    (folder / STATE).write_bytes(state_of(state))
    keep_copy(folder, gzip.compress(state_of(copy)))

    restore_state(folder)

    assert (folder / STATE).read_bytes() == state_of(kept)
    assert not (folder / "state.damaged").exists()


@pytest.mark.parametrize(
    "damage",
    [b"", b"nothing", gzip.compress(state_of(9))[:-12], gzip.compress(b"[")],
    ids=["empty", "no gzip", "cut", "no JSON"],
)
def test_a_damaged_copy_is_left_alone(folder: Path, damage: bytes) -> None:
    (folder / STATE).write_bytes(state_of(1))
    keep_copy(folder, damage)

    restore_state(folder)

    assert (folder / STATE).read_bytes() == state_of(1)


def test_a_folder_is_made_where_there_is_none(tmp_path: Path) -> None:
    restore_state(tmp_path / "chain")

    assert (tmp_path / "chain").stat().st_mode & 0o777 == 0o700
    assert not (tmp_path / "chain" / STATE).exists()


def test_a_killed_chain_goes_on_from_its_last_copy(folder: Path) -> None:
    with running_anvil(folder) as first:
        sent = pay(first)
        LocalChain(url=first.url, folder=folder).copy_state()
        kill(first)

    with running_anvil(folder, first.port) as again:
        assert again.ask("eth_getTransactionReceipt", sent)["status"] == "0x1"
        assert again.ask("eth_getBalance", OTHER, "latest") == "0x1"
        assert again.ask("eth_blockNumber") == "0x1"


def test_a_copy_is_made_when_blocks_have_come(folder: Path) -> None:
    with running_anvil(folder) as chain:
        known = LocalChain(url=chain.url, folder=folder)
        known.copy_state()
        (folder / COPY).unlink()

        known.copy_state()
        assert not (folder / COPY).exists()

        pay(chain)
        known.copies_after = 0.0
        known.copy_state()
        assert json.loads(gzip.decompress((folder / COPY).read_bytes()))["best_block_number"] == 1


def test_a_dump_is_followed_by_a_pause(folder: Path) -> None:
    with running_anvil(folder) as chain:
        known = LocalChain(url=chain.url, folder=folder, copies_after=float("inf"))

        known.copy_state()

        assert not (folder / COPY).exists()


def test_a_chain_that_is_away_is_not_copied(folder: Path) -> None:
    with running_anvil(folder) as chain:
        known = LocalChain(url=chain.url, folder=folder)
        kill(chain)

        known.copy_state()

    assert not (folder / COPY).exists()


def test_a_running_chain_writes_no_state_by_itself(folder: Path) -> None:
    with running_anvil(folder) as chain:
        pay(chain)

        assert "--state-interval" not in chain.process.args  # type: ignore[operator]
        assert not (folder / STATE).exists()


@pytest.mark.parametrize("noted", [b"", b"\xff\xfe\x80", b"0x12", OTHER[2:].encode(), b"0x" + b"g" * 40])
def test_a_damaged_note_is_no_address(folder: Path, noted: bytes) -> None:
    (folder / "contract_address").write_bytes(noted)

    assert _read_address(folder / "contract_address") == ""


@pytest.mark.parametrize("noted", [b"\xff\xfe\x80", OTHER.encode()])
def test_the_contract_is_deployed_where_none_is_known(folder: Path, deployable: None, noted: bytes) -> None:
    (folder / "contract_address").write_bytes(noted)
    with running_anvil(folder) as chain:
        env = LocalChain(url=chain.url, folder=folder).prepare()

        assert is_deployed(chain.url, env["CONTRACT_ADDRESS"])
    assert (folder / "contract_address").read_text() == env["CONTRACT_ADDRESS"]
    assert env["CHAIN_CONFIRMATIONS"] == "1"


def test_a_chain_that_has_lost_everything_gets_its_contract_again_at_the_same_address(
    folder: Path, deployable: None
) -> None:
    with running_anvil(folder) as first:
        known = LocalChain(url=first.url, folder=folder)
        before = known.prepare()
        kill(first)
    assert not (folder / STATE).exists()

    with running_anvil(folder, first.port) as again:
        after = known.prepare()

        assert after == before
        assert is_deployed(again.url, after["CONTRACT_ADDRESS"])
        assert again.ask("eth_blockNumber") == "0x1"
        assert known.prepare() == before
        assert again.ask("eth_blockNumber") == "0x1"


@pytest.mark.parametrize(
    "behaviour",
    [
        answer(200, body=b"<h1>hello</h1>"),
        answer(200, body=b"[]"),
        answer(500),
        answer(200, [("Content-Length", "100")], b"{"),
    ],
)
def test_without_an_answer_nothing_is_deployed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, behaviour: Any
) -> None:
    (folder / "contract_address").write_text(OTHER)
    monkeypatch.setattr(local, "ANSWER_SECONDS", 1.0)
    with Receiver(behaviour) as node:
        assert not local.answers(node.url)
        with pytest.raises(NotServing):
            LocalChain(url=node.url, folder=folder).prepare()

    assert (folder / "contract_address").read_text() == OTHER
