"""A real chain for the tests of this folder, and what they publish on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from attestations.chain.client import Registry, open_registry
from attestations.chain.deploying import deploy_registry
from attestations.chain.registering import Registration, register
from attestations.models import Submission
from tests.attestations.chain.chains import Chain, running_anvil
from tests.attestations.chain.proving import Proved, prove
from tests.factories import make_submission, make_tenant

Publish = Callable[..., Registration]


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
def registry(chain: Chain) -> Registry:
    return open_registry()


@pytest.fixture(scope="session")
def proved(session_proof_keys: Path) -> Proved:
    """A proof of one statement for anvil's first account, made once."""
    with override_settings(PROOF_KEYS_DIR=session_proof_keys):
        return prove()


def make_published(what: Proved, **fields: Any) -> Submission:
    """A submission whose proof waits to be published."""
    fields = {
        "status": "proof_publishing",
        "sha256_hash": what.statement.digest.hex(),
        "commitment": f"{what.statement.commitment:#066x}",
        "submitter": what.statement.submitter,
        "proof_json": json.dumps(what.proof),
        **fields,
    }
    return make_submission(make_tenant(), **fields)


@pytest.fixture
def submission(transactional_db: None, proved: Proved) -> Submission:
    """One to publish; the database is a real one, for sending wants transactions of its own."""
    return make_published(proved)


@pytest.fixture
def publish(chain: Chain, proved: Proved) -> Publish:
    """Register a submission's proof, as its job would."""

    def run(submission: Submission, what: Proved = proved, **fields: Any) -> Registration:
        return register(
            submission,
            what.statement,
            what.proof,
            **{
                "contract_address": settings.CONTRACT_ADDRESS,
                "stage": lambda name, seconds: None,
                "checkpoint": lambda: None,
                **fields,
            },
        )

    return run
