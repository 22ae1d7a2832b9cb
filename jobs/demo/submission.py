"""The painted picture submitted over the REST API, followed to the chain, and read back from the contract."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from django.conf import settings

from jobs.demo.generation import Client, DemoFailed

STAGES = ("proof_generation", "proof_publishing", "complete")
NO_CHAIN = "no chain configured"
POLL_SECONDS = 0.1
READ_SECONDS = 60.0


def watch_submission(
    client: Client, submission_id: str, *, within_seconds: float
) -> Iterator[dict[str, Any]]:
    """The submission over and over until it has ended, or waits for a chain. Raises DemoFailed."""
    end = time.monotonic() + within_seconds
    while time.monotonic() < end:
        submission = client.submission(submission_id)
        yield submission
        if submission["status"] == "rejected":
            raise DemoFailed(f"The submission was rejected: {submission['failure_reason']}")
        if submission["status"] == "complete" or submission["skipped_reason"]:
            return
        time.sleep(POLL_SECONDS)
    raise DemoFailed(f"The submission is still {submission['status']} after {within_seconds:.0f} s.")


def read_contract(submission: dict[str, Any]) -> dict[str, Any]:
    """What the contract holds of the picture, with the transaction that it names. Raises DemoFailed.

    In a process of its own: the chain was started after this one has read its settings.
    """
    done = subprocess.run(
        [sys.executable, "manage.py", "chain_record", submission["sha256_hash"]],
        cwd=settings.BASE_DIR,
        env=os.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=READ_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise DemoFailed(f"The contract can't be read: {done.stderr.strip()}")
    record: dict[str, Any] = json.loads(done.stdout)
    if not record["transaction"]:
        raise DemoFailed("The contract tells of no transaction that has made its record.")
    return record


def check_work(
    workflow: dict[str, Any],
    attestations: list[dict[str, Any]],
    deliveries: list[dict[str, Any]],
    *,
    told: set[str],
) -> None:
    """Both jobs and their workflow are completed and attested, and the app was told. Raises DemoFailed."""
    if workflow["status"] != "completed":
        raise DemoFailed(f"The submission's workflow ended as {workflow['status']}: {workflow['error']}")
    types = [item["attestation_type"] for item in attestations]
    for attestation_type, count in (("worker_completion", 2), ("workflow_completion", 1)):
        if types.count(attestation_type) != count:
            found = types.count(attestation_type)
            raise DemoFailed(f"The submission has left {found} of {count} attestations {attestation_type}.")
    delivered = {item["type"] for item in deliveries if item["status"] == "delivered"}
    if missing := told - delivered:
        raise DemoFailed(f"The submission's webhook {', '.join(sorted(missing))} has not been delivered.")


def check_published(
    picture: bytes, submission: dict[str, Any], record: dict[str, Any], workflow: dict[str, Any]
) -> None:
    """Every link from the picture to the contract's record holds. Raises DemoFailed naming the one that does not."""
    links = [
        ("The submission's status", submission["status"], "complete"),
        ("Its sha256_hash", submission["sha256_hash"], hashlib.sha256(picture).hexdigest()),
        ("The proof it keeps", submission["proof_json"], None),
        ("The API's is_verified_on_chain", submission["is_verified_on_chain"], True),
        ("The contract's is_verified_on_chain", record["is_verified_on_chain"], True),
        ("The transaction's success", record["transaction"]["is_success"], True),
    ]
    links += [
        (f"The contract's {name}", record[name].lower(), (submission[name] or "").lower())
        for name in ("commitment", "submitter", "contract_address")
    ]
    links += [
        (f"The transaction's {name}", record["transaction"][name], submission[name])
        for name in ("transaction_id", "block_number")
    ]
    links += [("The evaluation", workflow["status_category"], "complete")]
    for what, found, expected in links:
        if found != expected:
            raise DemoFailed(f"{what} is {found!r}, not {expected!r}.")


def check_skipped(picture: bytes, submission: dict[str, Any]) -> None:
    """Without a chain the proof is made, and kept until there is one. Raises DemoFailed."""
    if submission["sha256_hash"] != hashlib.sha256(picture).hexdigest():
        raise DemoFailed("The submission has another sha256_hash than the picture.")
    if submission["skipped_reason"] != NO_CHAIN:
        raise DemoFailed(f"Publishing was skipped: {submission['skipped_reason']}")
    if submission["status"] != "proof_publishing" or not submission["proof_json"]:
        raise DemoFailed(f"The submission is {submission['status']}, and its proof is not kept.")
