"""A local chain of the benchmarks' own, with a registry on it and keys to prove with."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.test.utils import override_settings

from attestations.chain.deploying import deploy_registry
from attestations.chain.local import answers, anvil_command, find_anvil
from benchmarks.processes import free_port
from config.local_chain import FIRST_KEY

START_SECONDS = 20.0


@contextmanager
def configured_chain() -> Iterator[dict[str, str]]:
    """Run one, and have this process publish there; yields what makes other processes do so.

    Raises RuntimeError where anvil is not installed.
    """
    program = find_anvil()
    if program is None:
        raise RuntimeError("anvil is not installed: make setup, with npm")
    with tempfile.TemporaryDirectory(prefix="affidavit-bench-") as folder, _running(program, folder) as url:
        known = {
            "CHAIN_RPC_URL": url,
            "PRIVATE_KEY": FIRST_KEY,
            "PROOF_KEYS_DIR": str(Path(folder) / "proof_keys"),
        }
        with override_settings(**known):
            known["CONTRACT_ADDRESS"] = deploy_registry().address
            with override_settings(CONTRACT_ADDRESS=known["CONTRACT_ADDRESS"]):
                yield known


@contextmanager
def _running(program: Path, folder: str) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(anvil_command(program, Path(folder) / "chain", port))
    try:
        end = time.monotonic() + START_SECONDS
        while not answers(url):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("anvil does not answer")
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()
