"""The local chain's state on disk: what anvil writes when it ends, and the copy that is made while it runs.

anvil writes its file in place. A kill may cut that short, or leave the file as old as the chain's last start: the copy
is there for both.
"""

from __future__ import annotations

import gzip
import json
import logging
import os
import zlib
from pathlib import Path

logger = logging.getLogger("affidavit.chain")

STATE = "state.json"
COPY = "state.copy.json.gz"


def restore_state(folder: Path) -> None:
    """Before anvil starts: have its file be the newest whole state of the folder, which is made."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder / STATE
    block = _block_of(_read(state))
    if state.exists() and block is None:
        state.replace(state.with_suffix(".damaged"))
        logger.warning("the local chain's state was damaged and is set aside", extra={"path": str(state)})
    copied = _read_copy(folder / COPY)
    copied_block = _block_of(copied)
    if copied_block is not None and (block is None or copied_block > block):
        replace_file(state, copied)
        logger.warning("the local chain goes on from its copy", extra={"block": copied_block})


def keep_copy(folder: Path, dumped: bytes) -> None:
    """Keep a state as anvil dumps it: JSON, compressed."""
    replace_file(folder / COPY, dumped)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that a reader, and the next start after a kill, finds the old content or the new."""
    beside = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    beside.replace(path)


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _read_copy(path: Path) -> bytes:
    try:
        return gzip.decompress(_read(path))
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return b""


def _block_of(content: bytes) -> int | None:
    """The last block of a state; None where that is cut short, or none at all."""
    try:
        return int(json.loads(content)["best_block_number"])
    except (ValueError, LookupError, TypeError):
        return None
