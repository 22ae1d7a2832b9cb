"""The chain that `manage.py up` runs on this machine where none is configured: anvil, with its state kept.

Loaded by every process, so web3 stays out: a command of its own puts the contract there.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from django.conf import settings

from attestations.proofs.keys import MANIFEST
from attestations.proofs.provers import keys_dir
from config.local_chain import FIRST_KEY as FIRST_KEY
from config.local_chain import AlreadyRunning, note_chain
from jobs.local_services import LocalService, NotServing

logger = logging.getLogger("affidavit.chain")

CHAIN_ID = 31337
PACKAGE = Path(__file__).parent / "anvil"
MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
# The contract's view of this name, as a call begins.
VERIFYING_KEY_DIGEST = "0x1dfa2b01"
ANSWER_SECONDS = 2.0
DEPLOY_SECONDS = 120.0


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
    url = f"http://127.0.0.1:{port}"
    return LocalService(
        name="chain",
        command=anvil_command(program, folder, port),
        is_ready=lambda: answers(url),
        prepare=lambda: _prepare(url, folder),
    )


def find_anvil() -> Path | None:
    """The program itself, rather than the script around it, which would be one more process."""
    machine = MACHINES.get(platform.machine(), "")
    program = PACKAGE / "node_modules" / "@foundry-rs" / f"anvil-{sys.platform}-{machine}" / "bin" / "anvil"
    return program if os.access(program, os.X_OK) else None


def anvil_command(program: Path, folder: Path, port: int) -> list[str]:
    """What starts the chain that is kept in `folder`, which is made."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder / "state.json"
    _set_damaged_aside(state)
    return [
        str(program),
        *("--host", "127.0.0.1", "--port", str(port), "--no-cors", "--quiet"),
        *("--chain-id", str(CHAIN_ID), "--accounts", "1"),
        # Written when it ends and once a second, so that a kill loses no more.
        *("--state", str(state), "--state-interval", "1"),
        *("--cache-path", str(folder / "cache")),
    ]


def answers(url: str) -> bool:
    """Whether a chain with our number listens there."""
    return bool(_ask(url, "eth_chainId") == hex(CHAIN_ID))


def _ask(url: str, method: str, *params: Any) -> Any:
    """The node's answer; None where there is none."""
    question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    request = urllib.request.Request(
        url, json.dumps(question).encode(), headers={"Content-Type": "application/json"}
    )
    # No proxy of the environment's knows this machine's own addresses.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=ANSWER_SECONDS) as answer:
            return json.load(answer).get("result")
    except (urllib.error.URLError, OSError, ValueError):
        return None


def _prepare(url: str, folder: Path) -> dict[str, str]:
    """Put the contract there unless it is there; what every process is to know of the chain."""
    note = folder / "contract_address"
    address = note.read_text() if note.exists() else ""
    known = {"CHAIN_RPC_URL": url, "PRIVATE_KEY": FIRST_KEY}
    if not (address and is_deployed(url, address)):
        address = _deploy(known)
        note.write_text(address)
    try:
        note_chain(settings.DATA_DIR, rpc_url=url, contract_address=address)
    except AlreadyRunning as other:
        raise NotServing(str(other)) from other
    return {**known, "CONTRACT_ADDRESS": address}


def is_deployed(url: str, address: str) -> bool:
    """Whether a registry with this platform's verifying key stands there; asked without web3, which takes seconds."""
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
        )
    except subprocess.TimeoutExpired as late:
        raise NotServing(f"The contract was not deployed within {DEPLOY_SECONDS:.0f} seconds.") from late
    if done.returncode != 0:
        raise NotServing(f"The contract could not be deployed: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


def _set_damaged_aside(state: Path) -> None:
    """A file that a kill has cut short would keep anvil from starting ever again."""
    try:
        json.loads(state.read_bytes())
    except FileNotFoundError:
        return
    except ValueError:
        state.replace(state.with_suffix(".damaged"))
        logger.warning("the local chain's state was damaged; it begins anew", extra={"path": str(state)})


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
