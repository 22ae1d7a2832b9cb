"""What the middle floor's tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings as configured
from django.db import connection
from django.test import override_settings

from attestations.chain.deploying import deploy_registry
from attestations.proofs.ceremony import SYSTEMS
from attestations.proofs.circuit import statement_circuit
from attestations.proofs.keys import KeyFolder
from tests.attestations.chain.chains import Chain, running_anvil


@pytest.fixture(scope="session")
def session_proof_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of both proof systems, made once for all processes of the test run."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "proof_keys"
    for name, system in SYSTEMS.items():
        KeyFolder(path=folder / name, system=name, circuit=statement_circuit().digest).ensure(system.make)
    return folder


@pytest.fixture
def proof_keys(session_proof_keys: Path, settings: Any) -> Path:
    """Proofs are made and verified with the run's keys."""
    settings.PROOF_KEYS_DIR = session_proof_keys
    return session_proof_keys


@pytest.fixture
def no_chain(settings: Any) -> None:
    """A platform that publishes nowhere."""
    settings.CHAIN_RPC_URL = settings.PRIVATE_KEY = settings.CONTRACT_ADDRESS = ""


@pytest.fixture(scope="session")
def anvil(tmp_path_factory: pytest.TempPathFactory, session_proof_keys: Path) -> Iterator[Chain]:
    """One node for all tests, with a registry."""
    with running_anvil(tmp_path_factory.mktemp("chain")) as chain, override_settings(**chain.settings):
        with override_settings(PROOF_KEYS_DIR=session_proof_keys):
            chain.contract_address = deploy_registry().address
        yield chain


@pytest.fixture
def chain(anvil: Chain, proof_keys: Path, settings: Any) -> Iterator[Chain]:
    """The node, configured, with an empty registry; blocks come by themselves."""
    for name, value in anvil.settings.items():
        setattr(settings, name, value)
    settings.CONTRACT_ADDRESS = anvil.contract_address
    before = anvil.ask("evm_snapshot")
    anvil.ask("anvil_setNextBlockBaseFeePerGas", hex(10**9))
    anvil.mine()
    yield anvil
    anvil.ask("anvil_dropAllTransactions")
    anvil.ask("evm_revert", before)
    anvil.ask("evm_setAutomine", True)


@pytest.fixture
def for_children(transactional_db: None, proof_keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that a test starts find its database, keys and chain, as those of a cluster find the cluster's.

    Ask for `chain` or `no_chain` before it.
    """
    database = urlsplit(configured.DATABASE_URL)._replace(path=f"/{connection.settings_dict['NAME']}")
    monkeypatch.setenv("DATABASE_URL", database.geturl())
    monkeypatch.setenv("LOCAL_CHAIN", "false")
    monkeypatch.setenv("ENCRYPTION_KEYS", ",".join(configured.ENCRYPTION_KEYS))
    for setting in ("SECRET_KEY", "PROOF_KEYS_DIR", "CHAIN_RPC_URL", "PRIVATE_KEY", "CONTRACT_ADDRESS"):
        monkeypatch.setenv(setting, str(getattr(configured, setting)))
