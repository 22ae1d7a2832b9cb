"""The chain that `manage.py up` runs on this machine where none is configured: anvil, with its state kept.

Loaded by every process, so web3 stays out: a command of its own puts the contract there.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import re
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from django.conf import settings

from attestations.chain.local_state import STATE, keep_copy, replace_file, restore_state
from attestations.proofs.keys import MANIFEST
from attestations.proofs.provers import keys_dir
from config.local_chain import FIRST_KEY, AlreadyRunning, note_chain
from config.processes import end_with_parent
from jobs.local_services import LocalService, NotServing

logger = logging.getLogger("affidavit.chain")

CHAIN_ID = 31337
PACKAGE = Path(__file__).parent / "anvil"
MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
# The contract's view of this name, as a call begins.
VERIFYING_KEY_DIGEST = "0x1dfa2b01"
ANSWER_SECONDS = 5.0
DEPLOY_SECONDS = 120.0
# A dump holds the chain up, the longer the more blocks there are: at most this part of its time goes into them.
DUMPING = 0.1


def local_chain() -> LocalService | None:
    """The chain as `up` runs it; None where another is configured, none is wanted, or anvil is not installed."""
    if settings.CHAIN_RPC_URL or not settings.LOCAL_CHAIN:
        return None
    program = find_anvil()
    if program is None:
        logger.warning("no local chain: anvil is not installed (make setup, with npm)")
        return None
    folder = settings.DATA_DIR / "chain"
    port = _free_port()
    chain = LocalChain(url=f"http://127.0.0.1:{port}", folder=folder)
    return LocalService(
        name="chain",
        command=anvil_command(program, folder, port),
        before_start=lambda: restore_state(folder),
        is_ready=lambda: answers(chain.url),
        prepare=chain.prepare,
        tend=chain.copy_state,
    )


def find_anvil() -> Path | None:
    """The program itself, rather than the script around it, which would be one more process."""
    machine = MACHINES.get(platform.machine(), "")
    program = PACKAGE / "node_modules" / "@foundry-rs" / f"anvil-{sys.platform}-{machine}" / "bin" / "anvil"
    return program if os.access(program, os.X_OK) else None


def anvil_command(program: Path, folder: Path, port: int) -> list[str]:
    """What starts the chain that is kept in `folder`, which restore_state() has made ready."""
    return [
        str(program),
        *("--host", "127.0.0.1", "--port", str(port), "--no-cors", "--quiet"),
        *("--chain-id", str(CHAIN_ID), "--accounts", "1"),
        # Written when it ends, and not while it runs: all of it would be written again and again, idle or not.
        *("--state", str(folder / STATE)),
        *("--cache-path", str(folder / "cache")),
    ]


@dataclass
class LocalChain:
    """The chain that this process runs, at the same address whenever it is started again."""

    url: str
    folder: Path
    copied_block: str = ""
    copies_after: float = 0.0

    def prepare(self) -> dict[str, str]:
        """Put the contract there unless it is there; what every process is to know of the chain."""
        self.copied_block = ""
        note = self.folder / "contract_address"
        # Blocks come with transactions alone: a second confirmation might never come.
        known = {"CHAIN_RPC_URL": self.url, "PRIVATE_KEY": FIRST_KEY, "CHAIN_CONFIRMATIONS": "1"}
        noted = address = _read_address(note)
        if not (address and is_deployed(self.url, address)):
            address = _deploy(known)
        try:
            note_chain(settings.DATA_DIR, rpc_url=self.url, contract_address=address)
        except AlreadyRunning as other:
            raise NotServing(str(other)) from other
        if address != noted:
            replace_file(note, address.encode())
        return {**known, "CONTRACT_ADDRESS": address}

    def copy_state(self) -> None:
        """Copy the state where blocks have come since the last copy; nothing while the chain does not answer."""
        began = time.monotonic()
        try:
            block = _ask(self.url, "eth_blockNumber")
            if block == self.copied_block or began < self.copies_after:
                return
            dumped = bytes.fromhex(_ask(self.url, "anvil_dumpState").removeprefix("0x"))
        except NotServing:
            return  # it is started again, and then asked again
        keep_copy(self.folder, dumped)
        self.copied_block = block
        ended = time.monotonic()
        self.copies_after = ended + (ended - began) / DUMPING


def answers(url: str) -> bool:
    """Whether a chain with our number listens there."""
    try:
        return bool(_ask(url, "eth_chainId") == hex(CHAIN_ID))
    except NotServing:
        return False


def _ask(url: str, method: str, *params: Any) -> Any:
    """The node's result; None where it refuses. Raises NotServing where there is no answer."""
    question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    request = urllib.request.Request(
        url, json.dumps(question).encode(), headers={"Content-Type": "application/json"}
    )
    # No proxy of the environment's knows this machine's own addresses.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=ANSWER_SECONDS) as answer:
            return json.load(answer).get("result")
    except (OSError, HTTPException, ValueError, AttributeError) as problem:
        raise NotServing("The chain does not answer.") from problem


def _read_address(note: Path) -> str:
    """The contract's, as it was noted; empty where there is none."""
    address = note.read_text(encoding="utf-8", errors="replace").strip() if note.exists() else ""
    return address if re.fullmatch(r"0x[0-9A-Fa-f]{40}", address) else ""


def is_deployed(url: str, address: str) -> bool:
    """Whether a registry with this platform's verifying key stands there; asked without web3, which takes seconds.

    Raises NotServing where there is no answer: what is there is not to be deployed once more.
    """
    try:
        manifest = json.loads((keys_dir("groth16") / MANIFEST).read_bytes())
        digest = manifest["files"]["verifying"]["sha256"]
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return False  # deploying makes keys, or says what is wrong with them
    question = {"to": address, "data": VERIFYING_KEY_DIGEST}
    return bool(_ask(url, "eth_call", question, "latest") == f"0x{digest}")


def _deploy(env: dict[str, str]) -> str:
    """The address of a new contract, put there by a process of its own: `up` stays small."""
    try:
        done = subprocess.run(
            [sys.executable, "manage.py", "deploy_registry"],
            cwd=settings.BASE_DIR,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEPLOY_SECONDS,
            check=False,
            preexec_fn=end_with_parent,
        )
    except subprocess.TimeoutExpired as late:
        raise NotServing(f"The contract was not deployed within {DEPLOY_SECONDS:.0f} seconds.") from late
    if done.returncode != 0:
        raise NotServing(f"The contract could not be deployed: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
