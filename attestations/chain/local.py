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

from django.conf import settings

from jobs.local_services import LocalService, NotServing

logger = logging.getLogger("affidavit.chain")

CHAIN_ID = 31337
# The first of the keys that anvil gives ether to, and that everybody knows: good for a chain that nobody else sees.
FIRST_KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
PACKAGE = Path(__file__).parent / "anvil"
MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
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
        prepare=lambda: _deploy(url, folder),
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
    question = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
    request = urllib.request.Request(
        url, json.dumps(question).encode(), headers={"Content-Type": "application/json"}
    )
    # No proxy of the environment's knows this machine's own addresses.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=ANSWER_SECONDS) as answer:
            return bool(json.load(answer).get("result") == hex(CHAIN_ID))
    except (urllib.error.URLError, OSError, ValueError):
        return False


def _deploy(url: str, folder: Path) -> dict[str, str]:
    """Put the contract there unless it is there; what every process is to know of the chain."""
    note = folder / "contract_address"
    known = {
        "CHAIN_RPC_URL": url,
        "PRIVATE_KEY": FIRST_KEY,
        "CONTRACT_ADDRESS": note.read_text() if note.exists() else "",
        "LOCAL_CHAIN": "true",
    }
    try:
        done = subprocess.run(
            [sys.executable, "manage.py", "deploy_registry", "--if-missing"],
            cwd=settings.BASE_DIR,
            env={**os.environ, **known},
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
    address = done.stdout.strip()
    note.write_text(address)
    return {**known, "CONTRACT_ADDRESS": address}


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
