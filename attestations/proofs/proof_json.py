"""The frame of a proof's JSON, the same for every proof system on BN254."""

from __future__ import annotations

import re
from typing import Any

from attestations.proofs.protocol import ProofFailed

DIGEST = re.compile(r"[0-9a-f]{64}")


def frame(system: str, parts: dict[str, Any], verifying_key: str) -> dict[str, Any]:
    return {"system": system, "curve": "BN254", **parts, "verifying_key": verifying_key}


def read_frame(data: Any, *, system: str, parts: set[str]) -> dict[str, Any]:
    """The parts and `verifying_key`; ProofFailed("proof_invalid") unless all of it is there and nothing else."""
    if not isinstance(data, dict) or data.keys() != {"system", "curve", "verifying_key"} | parts:
        raise ProofFailed("proof_invalid", f"a {system} proof has other fields")
    if data["system"] != system or data["curve"] != "BN254":
        raise ProofFailed("proof_invalid", f"this is not a {system} proof on BN254")
    if not isinstance(data["verifying_key"], str) or not DIGEST.fullmatch(data["verifying_key"]):
        raise ProofFailed("proof_invalid", "verifying_key is no SHA-256")
    return {name: data[name] for name in parts | {"verifying_key"}}
