"""Processes of a data folder find the local chain while the `up` that runs it lives, and no longer."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.conf import settings

from config.local_chain import FIRST_KEY, NOTE, AlreadyRunning, _held, find_chain, note_chain

ADDRESS = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
TAKES_PRECEDENCE = ("CHAIN_RPC_URL", "PRIVATE_KEY", "CONTRACT_ADDRESS")
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


def test_those_who_look_keep_nobody_from_noting(folder: Path) -> None:
    (folder / NOTE).write_text("{}")
    with (folder / NOTE).open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        threading.Timer(0.3, fcntl.flock, (looking.fileno(), fcntl.LOCK_UN)).start()

        with holder(folder):
            assert find_chain(folder)["CONTRACT_ADDRESS"] == ADDRESS


def test_a_process_may_note_its_chain_again(folder: Path) -> None:
    try:
        note_chain(folder, rpc_url="http://127.0.0.1:4000", contract_address="0x")
        note_chain(folder, rpc_url="http://127.0.0.1:4000", contract_address=ADDRESS)

        assert find_chain(folder)["CONTRACT_ADDRESS"] == ADDRESS
    finally:
        _held.pop(folder / NOTE).close()


def test_settings_take_the_local_chain_with_one_confirmation(folder: Path) -> None:
    """Blocks come there with transactions alone: more confirmations would be waited for for ever."""
    script = (
        "from config import settings as s; print(s.CHAIN_RPC_URL, s.CONTRACT_ADDRESS, s.CHAIN_CONFIRMATIONS)"
    )
    env = {
        **{name: value for name, value in os.environ.items() if name not in TAKES_PRECEDENCE},
        "AFFIDAVIT_DATA_DIR": str(folder),
        "LOCAL_CHAIN": "true",
        "CHAIN_CONFIRMATIONS": "12",
    }
    with holder(folder):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=env,
            capture_output=True,
            text=True,
            check=True,
            cwd=settings.BASE_DIR,
        )

    assert done.stdout.split() == ["http://127.0.0.1:4000", ADDRESS, "1"]


def test_without_a_note_there_is_no_chain(tmp_path: Path) -> None:
    assert find_chain(tmp_path) == {}
