"""A real chain for the tests of this folder, and what they publish on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings

from attestations.chain.client import Registry, open_registry
from attestations.chain.deploying import deploy_registry
from attestations.chain.registering import Registration, register
from attestations.models import Submission
from tests.attestations.chain.chains import Chain, running_anvil
from tests.attestations.chain.proving import Proved, prove
from tests.factories import make_submission, make_tenant

Publish = Callable[..., Registration]


@pytest.fixture(scope="session")
def anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """One node for all tests; each has a registry of its own."""
    with running_anvil(tmp_path_factory.mktemp("chain")) as chain:
        yield chain


@pytest.fixture
def chain(anvil: Chain, settings: Any) -> Iterator[Chain]:
    """The node, configured, with a registry of this test's own; blocks come by themselves, fees are low."""
    anvil.configure(settings)
    settings.CONTRACT_ADDRESS = deploy_registry().address
    yield anvil
    anvil.ask("anvil_dropAllTransactions")
    anvil.ask("evm_setAutomine", True)


@pytest.fixture
def registry(chain: Chain) -> Registry:
    return open_registry()


@pytest.fixture(scope="session")
def proved() -> Proved:
    """A proof of one statement for anvil's first account, made once: it costs a second."""
    return prove()


@pytest.fixture
def submission(transactional_db: None, proved: Proved) -> Submission:
    """One whose proof waits to be published; the database is a real one, for sending wants its own transactions."""
    return make_submission(
        make_tenant(),
        status="proof_publishing",
        sha256_hash=proved.statement.digest.hex(),
        commitment=f"{proved.statement.commitment:#066x}",
        submitter=proved.statement.submitter,
        proof_json=json.dumps(proved.proof),
    )


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
