"""The demo names the link that does not hold between a picture and the contract's record of it."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

import pytest

from jobs.demo.generation import DemoFailed
from jobs.demo.submission import check_published, check_skipped, check_work

PICTURE = b"a picture"
SUBMITTER = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
TOLD = {"workflow.completed", "submission.complete"}


@pytest.fixture
def seen() -> dict[str, Any]:
    """What the demo sees of a submission that went well."""
    return {
        "submission": {
            "status": "complete",
            "sha256_hash": hashlib.sha256(PICTURE).hexdigest(),
            "proof_json": None,
            "is_verified_on_chain": True,
            "commitment": f"{7:#066x}",
            "submitter": SUBMITTER,
            "contract_address": SUBMITTER,
            "transaction_id": f"{8:#066x}",
            "block_number": 4,
        },
        "record": {
            "is_verified_on_chain": True,
            "commitment": f"{7:#066x}",
            "submitter": SUBMITTER.lower(),
            "contract_address": SUBMITTER,
            "transaction": {"transaction_id": f"{8:#066x}", "block_number": 4, "is_success": True},
        },
        "workflow": {"status": "completed", "status_category": "complete", "error": None},
    }


def test_a_published_picture_passes(seen: dict[str, Any]) -> None:
    check_published(PICTURE, **seen)


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        ("submission.status", "proof_publishing", "status"),
        ("submission.sha256_hash", "0" * 64, "sha256_hash"),
        ("submission.proof_json", {"system": "groth16"}, "proof it keeps"),
        ("submission.is_verified_on_chain", False, "API's is_verified_on_chain"),
        ("submission.transaction_id", f"{9:#066x}", "transaction_id"),
        ("submission.submitter", None, "submitter"),
        ("record.is_verified_on_chain", False, "contract's is_verified_on_chain"),
        ("record.commitment", f"{9:#066x}", "commitment"),
        ("record.submitter", "0x" + "0" * 40, "submitter"),
        ("record.contract_address", "0x" + "0" * 40, "contract_address"),
        ("record.transaction.is_success", False, "success"),
        ("record.transaction.block_number", 5, "block_number"),
        ("workflow.status_category", "incomplete", "evaluation"),
    ],
)
def test_a_broken_link_to_the_contract_is_named(
    seen: dict[str, Any], place: str, value: Any, named: str
) -> None:
    broken = copy.deepcopy(seen)
    *way, name = place.split(".")
    part: Any = broken
    for step in way:
        part = part[step]
    part[name] = value

    with pytest.raises(DemoFailed, match=named):
        check_published(PICTURE, **broken)


ATTESTATIONS = [
    {"attestation_type": "worker_completion"},
    {"attestation_type": "worker_completion"},
    {"attestation_type": "workflow_completion"},
]
DELIVERIES = [{"type": name, "status": "delivered"} for name in sorted(TOLD)]


def test_attested_and_told_work_passes(seen: dict[str, Any]) -> None:
    check_work(seen["workflow"], ATTESTATIONS, DELIVERIES, told=TOLD)


@pytest.mark.parametrize(
    ("status", "attestations", "deliveries", "named"),
    [
        ("failed", ATTESTATIONS, DELIVERIES, "failed"),
        ("completed", ATTESTATIONS[1:], DELIVERIES, "worker_completion"),
        ("completed", ATTESTATIONS[:2], DELIVERIES, "workflow_completion"),
        ("completed", ATTESTATIONS, DELIVERIES[1:], "submission.complete"),
        (
            "completed",
            ATTESTATIONS,
            [DELIVERIES[0] | {"status": "failed"}, DELIVERIES[1]],
            "submission.complete",
        ),
    ],
)
def test_a_missing_attestation_or_webhook_is_named(
    status: str, attestations: list[dict[str, Any]], deliveries: list[dict[str, Any]], named: str
) -> None:
    with pytest.raises(DemoFailed, match=named):
        check_work({"status": status, "error": None}, attestations, deliveries, told=TOLD)


def test_a_skipped_submission_keeps_its_proof() -> None:
    kept = {
        "status": "proof_publishing",
        "sha256_hash": hashlib.sha256(PICTURE).hexdigest(),
        "proof_json": {"system": "groth16"},
        "skipped_reason": "no chain configured",
    }

    check_skipped(PICTURE, kept)

    with pytest.raises(DemoFailed, match="not kept"):
        check_skipped(PICTURE, kept | {"proof_json": None})
    with pytest.raises(DemoFailed, match="sha256_hash"):
        check_skipped(b"another", kept)
    with pytest.raises(DemoFailed, match="another submitter"):
        check_skipped(PICTURE, kept | {"skipped_reason": "the proof is bound to another submitter"})
