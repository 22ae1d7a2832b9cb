"""Where the local chain of a data folder listens: noted by the `manage.py up` that runs it, for processes beside it.

The note counts while that `up` lives, which a lock in the kernel tells: what a killed one leaves is nobody's chain.
No key is noted. That of the local chain is the same everywhere, and known to everybody.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import IO

# The first of the keys that anvil gives ether to: good for a chain that nobody else sees.
FIRST_KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
NOTE = "chain/running.json"

# A process that looks holds the lock for a moment; one that runs a chain, for good.
LOCK_SECONDS = 1.0

_held: dict[Path, IO[str]] = {}  # the locks live as long as this process


class AlreadyRunning(Exception):
    """Another process runs the local chain of this data folder."""


def note_chain(data_dir: Path, *, rpc_url: str, contract_address: str) -> None:
    """Have the processes of this data folder that start from now on find the chain. Raises AlreadyRunning."""
    path = data_dir / NOTE
    file = _held.get(path) or _hold(path)
    noted = json.dumps({"CHAIN_RPC_URL": rpc_url, "CONTRACT_ADDRESS": contract_address})
    file.seek(0)
    if file.read() != noted:
        file.seek(0)
        file.truncate()
        file.write(noted)
        file.flush()


def _hold(path: Path) -> IO[str]:
    """The note, locked from now on. Raises AlreadyRunning."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="utf-8", errors="replace")
    end = time.monotonic() + LOCK_SECONDS
    while not _is_locked(file):
        if time.monotonic() > end:
            file.close()
            raise AlreadyRunning(f"Another process runs the local chain of {path.parent.parent}.")
        time.sleep(0.01)
    _held[path] = file
    return file


def _is_locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def find_chain(data_dir: Path) -> dict[str, str]:
    """CHAIN_RPC_URL, CONTRACT_ADDRESS and PRIVATE_KEY of the chain that runs now; nothing where none does."""
    try:
        with (data_dir / NOTE).open() as file:
            if _is_free(file):
                return {}
            noted: dict[str, str] = json.load(file)
    except (FileNotFoundError, PermissionError, ValueError):  # none, another's, or being written just now
        return {}
    return {**noted, "PRIVATE_KEY": FIRST_KEY}


def _is_free(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
