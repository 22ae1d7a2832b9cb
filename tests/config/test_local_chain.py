"""Processes of a data folder find the local chain while the `up` that runs it lives, and no longer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from config.local_chain import FIRST_KEY, NOTE, AlreadyRunning, find_chain, note_chain

ADDRESS = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
HOLDER = """
import sys
from pathlib import Path
from config.local_chain import note_chain
note_chain(Path(sys.argv[1]), rpc_url="http://127.0.0.1:4000", contract_address=sys.argv[2])
print("noted", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "chain").mkdir()
    return tmp_path


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has noted its chain; killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), ADDRESS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "noted\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_running_chain_is_found_by_other_processes(folder: Path) -> None:
    with holder(folder):
        assert find_chain(folder) == {
            "CHAIN_RPC_URL": "http://127.0.0.1:4000",
            "CONTRACT_ADDRESS": ADDRESS,
            "PRIVATE_KEY": FIRST_KEY,
        }


def test_the_note_is_for_its_owner_and_holds_no_key(folder: Path) -> None:
    with holder(folder):
        assert (folder / NOTE).stat().st_mode & 0o777 == 0o600
        assert FIRST_KEY.removeprefix("0x") not in (folder / NOTE).read_text()


def test_what_a_killed_process_has_noted_is_no_chain(folder: Path) -> None:
    with holder(folder) as process:
        process.kill()
        process.wait()

    assert (folder / NOTE).exists()
    assert find_chain(folder) == {}


def test_a_second_process_may_not_note_another_chain(folder: Path) -> None:
    with holder(folder):
        with pytest.raises(AlreadyRunning):
            note_chain(folder, rpc_url="http://127.0.0.1:5000", contract_address=ADDRESS)

        assert find_chain(folder)["CHAIN_RPC_URL"] == "http://127.0.0.1:4000"


def test_a_chain_may_be_noted_after_another(folder: Path) -> None:
    with holder(folder):
        pass
    with holder(folder):
        assert find_chain(folder)["CONTRACT_ADDRESS"] == ADDRESS


def test_without_a_note_there_is_no_chain(tmp_path: Path) -> None:
    assert find_chain(tmp_path) == {}
