"""Runs anvil for tests, and turns the knobs that it has and no other chain does."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from attestations.chain.local import answers, anvil_command, find_anvil
from attestations.chain.local_state import restore_state
from config.local_chain import FIRST_KEY
from config.processes import end_with_parent
from jobs.demo.processes import free_port

SENDER = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
START_SECONDS = 20.0


class Chain:
    """A running anvil."""

    contract_address = ""

    def __init__(self, folder: Path, port: int = 0) -> None:
        program = find_anvil()
        if program is None:
            if not os.environ.get("CI"):
                pytest.skip("anvil is not installed: make setup, with npm")
            pytest.fail(
                "anvil is not installed, and CI must have it: npm ci --prefix attestations/chain/anvil"
            )
        self.folder, self.port = folder, port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        restore_state(folder)
        self.process = subprocess.Popen(anvil_command(program, folder, self.port), preexec_fn=end_with_parent)
        end = time.monotonic() + START_SECONDS
        while not answers(self.url):
            assert self.process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)

    @property
    def settings(self) -> dict[str, Any]:
        """What makes it the configured chain; the contract's address comes on top."""
        return {
            "CHAIN_RPC_URL": self.url,
            "PRIVATE_KEY": FIRST_KEY,
            "CHAIN_CONFIRMATIONS": 1,
            "CHAIN_RECEIPT_SECONDS": 20,
            "CHAIN_MAX_FEE_GWEI": 100,
        }

    def ask(self, method: str, *params: Any) -> Any:
        """Anything that JSON-RPC can ask; raises AssertionError for an error."""
        question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        answer = requests.post(self.url, json=question, timeout=20).json()
        assert "error" not in answer, answer
        return answer["result"]

    def mine(self, blocks: int = 1) -> None:
        self.ask("anvil_mine", hex(blocks))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


@contextmanager
def running_anvil(folder: Path, port: int = 0) -> Iterator[Chain]:
    chain = Chain(folder, port)
    try:
        yield chain
    finally:
        chain.stop()
