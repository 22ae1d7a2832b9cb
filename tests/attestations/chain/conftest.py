"""A real chain for the tests of this folder, and what they publish on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from attestations.chain.client import Registry, open_registry
from attestations.chain.purposes import Purpose
from attestations.chain.registering import Registration, register
from attestations.models import Submission
from tests.attestations.chain.chains import Chain
from tests.attestations.chain.proving import Proved, prove
from tests.factories import make_submission, make_tenant

Publish = Callable[..., Registration]


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
            Purpose.of_submission(submission),
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
